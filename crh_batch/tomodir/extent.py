"""How large a stage is: dimensions, wavenumbers and sizes, from its mesh and its measurements."""

from __future__ import annotations

import os
from dataclasses import dataclass

from crh_batch.errors import DataError
from crh_batch.tomodir.fourier import wavenumbers
from crh_batch.tomodir.measurements import read_measurements
from crh_batch.tomodir.mesh import read_mesh
from crh_batch.tomodir.stage import Size


@dataclass(frozen=True)
class Extent:
    """What planning needs to know of a stage.

    Attributes:
        dims: "2D" or "2.5D".
        wavenumbers: 1 for 2D; 0 when unknown.
        size: of mesh and data.
    """

    dims: str
    wavenumbers: int
    size: Size


def dims(d2_5: int) -> str:
    """Return the word for the switch of the .cfg files."""
    return "2.5D" if d2_5 else "2D"


def measure(tomodir: str, elem: str, elec: str, listing: str | None, d2_5: int) -> Extent:
    """Return the extent of a stage.

    Args:
        elem: path relative to the tomodir, as are the other two.
        listing: config.dat of a modelling, volt.dat of an inversion; None if it is not there yet. Then there are no
            data, and the wavenumbers of 2.5D are 0.
        d2_5: 0 for 2D, 1 for 2.5D.

    Raises:
        MeshError: the mesh or its electrodes are missing or damaged.
        DataError: the measurements are missing or cut short, or do not fit the electrodes.
    """
    mesh = read_mesh(os.path.join(tomodir, elem), os.path.join(tomodir, elec))
    if listing is None:
        size = Size(mesh.nodes, mesh.parameters, mesh.electrodes, mesh.bandwidth)
        return Extent(dims(d2_5), 0 if d2_5 else 1, size)
    place = os.path.join(tomodir, listing)
    measurements = read_measurements(place)
    if measurements.problem:
        raise DataError(f"{place} {measurements.problem}", "Put the whole file there.", place)
    if measurements.largest_electrode > mesh.electrodes:
        raise DataError(
            f"{place} uses electrode {measurements.largest_electrode}, but {elec} has {mesh.electrodes}",
            "Use the measurements and the electrodes of the same survey.",
            place,
        )
    number = 1
    if d2_5:
        try:
            number = wavenumbers(mesh.electrode_xz, measurements.pairs)
        except DataError as cause:
            raise DataError(f"{place}: {cause.message}", "Correct the measurement or the electrodes.", place) from cause
    size = Size(mesh.nodes, mesh.parameters, mesh.electrodes, mesh.bandwidth, measurements.count)
    return Extent(dims(d2_5), number, size)
