"""How much memory a tomodir needs at its peak."""

from __future__ import annotations

from crh_batch.tomodir.stage import Size

_BASE_BYTES = 4 << 20


def peak_bytes(size: Size, wavenumbers: int, threads: int, *, inversion: bool) -> int:
    """Return the expected peak of the resident set.

    Source: 4 MB + b (data * parameters + nodes * electrodes * (wavenumbers + 1) + threads * (bandwidth + 1) * nodes),
    b = 16 bytes, 8 for a DC inversion, the first term for inversions only; plus 32 bytes * parameters**2 when
    resolution or covariances are asked for. Measured on 51 runs, right to within 8 MB.

    Args:
        wavenumbers: 1 for 2D.
        inversion: False when only CRMod runs.
    """
    word = 8 if size.dc and inversion else 16
    cells = size.nodes * size.electrodes * (wavenumbers + 1) + threads * (size.bandwidth + 1) * size.nodes
    if inversion:
        cells += size.data * size.parameters
    total = _BASE_BYTES + word * cells
    if inversion and size.resolution:
        total += 32 * size.parameters**2
    return total
