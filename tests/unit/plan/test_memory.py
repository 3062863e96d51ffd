"""Memory: the formula, with numbers worked out by hand from facts/crtomo.md, "Cost"."""

from __future__ import annotations

import pytest

from crh_batch.plan.memory import peak_bytes
from crh_batch.tomodir.stage import Size

MB = 1 << 20
SMALL = Size(nodes=1000, parameters=0, electrodes=20, bandwidth=30, data=0)
LARGE = Size(nodes=2200, parameters=2000, electrodes=40, bandwidth=50, data=500)
LARGE_DC = Size(nodes=2200, parameters=2000, electrodes=40, bandwidth=50, data=500, dc=True)
LARGE_RES = Size(nodes=2200, parameters=2000, electrodes=40, bandwidth=50, data=500, resolution=True)


@pytest.mark.parametrize(
    ("size", "wavenumbers", "threads", "inversion", "expected"),
    [
        # 16 (1000 * 20 * 2 + 1 * 31 * 1000) = 16 * 71 000
        (SMALL, 1, 1, False, 4 * MB + 1_136_000),
        # 16 (1000 * 20 * 10 + 3 * 31 * 1000) = 16 * 293 000
        (SMALL, 9, 3, False, 4 * MB + 4_688_000),
        # 16 (500 * 2000 + 2200 * 40 * 10 + 3 * 51 * 2200) = 16 * 2 216 600
        (LARGE, 9, 3, True, 4 * MB + 35_465_600),
        # Half of it for real numbers.
        (LARGE_DC, 9, 3, True, 4 * MB + 17_732_800),
        # And 32 * 2000 * 2000 for matrices of parameters by parameters.
        (LARGE_RES, 9, 3, True, 4 * MB + 35_465_600 + 128_000_000),
        # A modelling has neither data, nor resolution, nor a mode of real numbers: 16 (880 000 + 336 600).
        (LARGE, 9, 3, False, 4 * MB + 19_465_600),
        (LARGE_DC, 9, 3, False, 4 * MB + 19_465_600),
        (LARGE_RES, 9, 3, False, 4 * MB + 19_465_600),
    ],
)
def test_peak_bytes_when_the_size_is_known_then_as_the_formula_says(
    size: Size, wavenumbers: int, threads: int, inversion: bool, expected: int
) -> None:
    assert peak_bytes(size, wavenumbers, threads, inversion=inversion) == expected
