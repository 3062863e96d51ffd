"""How long a tomodir may take: a rough guess from the mesh, good enough to put the longest first.

The cost of one forward calculation is that of factorising a banded matrix (nodes * bandwidth**2) and of one solution an
electrode (nodes * bandwidth each), for each wavenumber. An inversion does that at each step, and beside it sums over
data * parameters for the sensitivities of each wavenumber.
"""

from __future__ import annotations

from crh_batch.tomodir.stage import Size

# Seconds an operation, fitted by eye to the runs of shared machines; one slow core. The number of steps of an inversion
# is not known beforehand: three iterations with a handful of line-search steps are usual.
_S_PER_FORWARD_CELL = 5.5e-9
_S_PER_SENSITIVITY = 3e-8
_INVERSION_STEPS = 20
_START_S = 0.01


def estimate_s(size: Size, wavenumbers: int, threads: int, *, inversion: bool) -> float:
    """Return a guess of one stage's wall time in seconds.

    Args:
        size: of the stage.
        wavenumbers: 1 for 2D.
        threads: those really used.
        inversion: False for a modelling.
    """
    rounds = -(-wavenumbers // max(threads, 1))
    band = size.bandwidth + 1
    forward = rounds * size.nodes * band * (band + size.electrodes) * _S_PER_FORWARD_CELL
    if not inversion:
        return _START_S + forward
    sensitivities = rounds * size.data * size.parameters * _S_PER_SENSITIVITY
    return _START_S + _INVERSION_STEPS * (forward + sensitivities)
