"""How many cores a tomodir gets.

2D runs gain little from a second thread (6.8 s instead of 7.8 s, measured), so they get one. 2.5D runs share their
wavenumbers out among threads, in rounds: 9 wavenumbers on 4 threads take three rounds, as on 3. So the right number is
the smallest with the fewest rounds.
"""

from __future__ import annotations

from typing import NamedTuple


class Threads(NamedTuple):
    """``cores`` that are really used, and the ``omp_threads`` to ask the program for so that it uses them."""

    cores: int
    omp_threads: int


def used_threads(asked: int, wavenumbers: int) -> int:
    """Return how many threads CRMod and CRTomo really use of those that OMP_NUM_THREADS allows.

    Source: measured with 9 wavenumbers (3 gives 3, 4 gives 3, 5 gives 4, 6 to 8 give 5, 9 and more give 9), which is
    the rule of CRTomo's main program: with n threads and k wavenumbers, n if n is 1 or 2; k if n >= k; else the first
    of k//1 + 1, k//2 + 1, ... (at most k//2 of them) that is below n; else n.
    """
    if asked <= 2:
        return asked
    if asked >= wavenumbers:
        return wavenumbers
    for divisor in range(1, wavenumbers // 2 + 1):
        candidate = wavenumbers // divisor + 1
        if candidate < asked:
            return candidate
    return asked


def threads_for(wavenumbers: int, most: int) -> Threads:
    """Return the smallest number of threads with the fewest rounds over the wavenumbers.

    Args:
        wavenumbers: 1 for 2D.
        most: cores at hand, at least 1.
    """
    if wavenumbers <= 1:
        return Threads(1, 1)
    best = Threads(1, 1)
    fewest = wavenumbers
    # OMP_NUM_THREADS may exceed the cores that it makes the program use by one or two: 6 makes it use 5.
    for asked in range(1, max(most, 1) + 3):
        used = used_threads(asked, wavenumbers)
        rounds = -(-wavenumbers // used)
        if used <= most and rounds < fewest:
            best, fewest = Threads(used, asked), rounds
    return best
