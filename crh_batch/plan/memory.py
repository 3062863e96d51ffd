"""How much memory a tomodir needs at its peak."""

from __future__ import annotations

from crh_batch.tomodir.stage import Size

_BASE_BYTES = 4 << 20
# The formula was right to within 8 MB in 51 measured runs up to 166 MB; larger ones were not measured.
_MARGIN = 1.25
_SLACK_BYTES = 32 << 20
# What a pilot takes beside its programs.
PILOT_BYTES = 64 << 20
_BUCKET_BYTES = 256 << 20


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


def request_bytes(peak: int, side_by_side: int = 1) -> int:
    """Return what to ask of a scheduler for a pilot that runs ``side_by_side`` such tomodirs, in whole buckets."""
    wanted = PILOT_BYTES + side_by_side * (int(peak * _MARGIN) + _SLACK_BYTES)
    return -(-wanted // _BUCKET_BYTES) * _BUCKET_BYTES
