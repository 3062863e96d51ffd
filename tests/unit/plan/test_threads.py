"""Threads: those that are used, not those that are asked for."""

from __future__ import annotations

import pytest

from crh_batch.plan.threads import Threads, threads_for, used_threads


@pytest.mark.parametrize(
    ("asked", "used"),
    # Measured with 9 wavenumbers: facts/crtomo.md, "Cost".
    [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (8, 5), (9, 9), (10, 9), (12, 9), (24, 9)],
)
def test_used_threads_when_there_are_nine_wavenumbers_then_as_measured(asked: int, used: int) -> None:
    assert used_threads(asked, 9) == used


@pytest.mark.parametrize(
    ("wavenumbers", "most", "expected"),
    [
        # 2D: a second thread gains little.
        (1, 1, Threads(1, 1)),
        (1, 64, Threads(1, 1)),
        (0, 64, Threads(1, 1)),
        (9, 1, Threads(1, 1)),
        # 5 rounds instead of 9.
        (9, 2, Threads(2, 2)),
        (9, 3, Threads(3, 3)),
        # A fourth thread takes 3 rounds as well.
        (9, 4, Threads(3, 3)),
        # Five that are used take two rounds, and six must be asked for to have them.
        (9, 5, Threads(5, 6)),
        (9, 8, Threads(5, 6)),
        (9, 9, Threads(9, 9)),
        (9, 64, Threads(9, 9)),
        (6, 3, Threads(3, 3)),
        (30, 64, Threads(30, 30)),
        (13, 4, Threads(4, 5)),
    ],
)
def test_threads_for_when_these_cores_are_at_hand_then_the_fewest_with_the_fewest_rounds(
    wavenumbers: int, most: int, expected: Threads
) -> None:
    assert threads_for(wavenumbers, most) == expected


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 128])
def test_threads_for_when_any_number_of_wavenumbers_comes_then_it_fits_and_no_smaller_number_is_as_fast(
    most: int,
) -> None:
    for wavenumbers in range(2, 31):
        cores, omp_threads = threads_for(wavenumbers, most)
        assert 1 <= cores <= most
        assert used_threads(omp_threads, wavenumbers) == cores
        rounds = -(-wavenumbers // cores)
        for asked in range(1, most + 1):
            used = used_threads(asked, wavenumbers)
            if used <= most:
                assert -(-wavenumbers // used) >= rounds
                assert used >= cores or -(-wavenumbers // used) > rounds


@pytest.mark.parametrize("most", [0, -1])
def test_threads_for_when_no_core_is_known_then_one(most: int) -> None:
    assert threads_for(9, most).cores == 1
