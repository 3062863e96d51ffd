"""How many wavenumbers a 2.5D run needs, and so how many threads it can use."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

from crh_batch.errors import DataError

_LAGUERRE_POINTS = 4
_FEWEST_GAUSS_POINTS = 2
_MOST_GAUSS_POINTS = 26
_TOO_CLOSE_M = 1e-12


def wavenumbers(electrode_xz: Sequence[tuple[float, float]], pairs: Iterable[tuple[int, int]]) -> int:
    """Return the number of wavenumbers of a 2.5D modelling or inversion, 6 to 30.

    ``4 + min(max(int(6 log10(amax / amin)), 2), 26)``, where amin and amax are the smallest and the largest
    distance between a current and a potential electrode of the same measurement. Source: geophysics-ubonn/titatest,
    src/rwaven.f90; equal to what CRTomo wrote into all of 93 public inv.ctr files. (The published source rounds
    the distances down to whole metres; CRTomo_stable does not: seen with a mesh scaled from 0.001 to 10.)

    Args:
        electrode_xz: coordinates of electrode 1, 2, ... in m.
        pairs: current and potential electrodes used together, counted from 1.

    Raises:
        DataError: an electrode that does not exist, or no two electrodes apart; CRTomo and CRMod fail then (seen).
    """
    return _wavenumbers(tuple(electrode_xz), frozenset(pairs))


@lru_cache(maxsize=64)
def _wavenumbers(electrode_xz: tuple[tuple[float, float], ...], pairs: frozenset[tuple[int, int]]) -> int:
    if any(not 1 <= electrode <= len(electrode_xz) for pair in pairs for electrode in pair):
        raise DataError(f"a measurement uses an electrode beyond the {len(electrode_xz)} that there are")
    distances = [
        math.hypot(
            electrode_xz[current - 1][0] - electrode_xz[potential - 1][0],
            electrode_xz[current - 1][1] - electrode_xz[potential - 1][1],
        )
        for current, potential in pairs
    ]
    nearest, farthest = min(distances, default=0.0), max(distances, default=0.0)
    if not _TOO_CLOSE_M <= nearest <= farthest < math.inf:
        raise DataError("a current and a potential electrode of a measurement lie at the same place")
    # The program takes the whole part of a four-byte real, so 5.9999999999 counts as 6.
    (decades,) = struct.unpack("f", struct.pack("f", 6.0 * math.log10(farthest / nearest)))
    return _LAGUERRE_POINTS + min(max(int(decades), _FEWEST_GAUSS_POINTS), _MOST_GAUSS_POINTS)
