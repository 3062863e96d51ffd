"""The vocabulary of what a tomodir needs: stages, sizes, descriptions. Plain data, ready for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class StageName(str, Enum):
    """The two things that can be run in a tomodir, in this order."""

    MODELLING = "modelling"
    INVERSION = "inversion"


@dataclass(frozen=True)
class Size:
    """What memory and time depend on; numbers are 0 where they could not be found out.

    Attributes:
        nodes: of the mesh.
        parameters: model cells.
        electrodes: in elec.dat.
        bandwidth: of the matrix, the third number of elem.dat.
        data: measurements.
        dc: real numbers instead of complex ones, which takes half the memory.
        resolution: matrices of parameters by parameters are computed (mswitch with 2, 4 or 8 in it).
    """

    nodes: int = 0
    parameters: int = 0
    electrodes: int = 0
    bandwidth: int = 0
    data: int = 0
    dc: bool = False
    resolution: bool = False


@dataclass(frozen=True)
class StageNeed:
    """One stage that is to be run. Paths are relative to the tomodir, in POSIX form and normalised.

    Attributes:
        name: which one.
        dims: "2D" or "2.5D".
        wavenumbers: 1 for 2D; 0 when the measurements are absent.
        inputs: the files that the program reads. They begin with ``../`` when they lie outside, and are absolute
            if the .cfg has them so. What an earlier stage of the same go makes is not among them.
        outside: those of the inputs that do not lie in the tomodir.
        absent: those of the outside ones that are not there (yet), each with what is wrong and what to do. Whoever has
            seen all tomodirs knows whether another one is about to make them.
        make_dirs: directories that must be there when the program starts; CRMod makes none, and CRTomo only one
            level, through a shell.
        result: for a modelling, the volt.dat it writes; None if it writes none (line 8 is F).
        inv_dirs: for an inversion, where the data sets' results go, in their order. The last one's inv.ctr says
            whether all is finished.
        size: of this stage.
        measurements: the input that the number of data and the wavenumbers come from, when it is among ``absent``.
    """

    name: StageName
    dims: str
    wavenumbers: int
    inputs: tuple[str, ...]
    outside: tuple[str, ...] = ()
    make_dirs: tuple[str, ...] = ()
    result: str | None = None
    inv_dirs: tuple[str, ...] = ()
    size: Size = Size()
    absent: tuple[tuple[str, str], ...] = ()
    measurements: str = ""


@dataclass(frozen=True)
class Description:
    """What a tomodir is and what is still to be done in it.

    Attributes:
        path: as it was given.
        stages: what is to be run, in this order; empty when nothing is.
        dims: "2D" or "2.5D", of the inversion if there is one, else of the modelling.
        wavenumbers: of the same; 0 when it could not be found out and nothing is to be run.
        reason: why these stages, in words.
        size: of the same.
    """

    path: str
    stages: tuple[StageNeed, ...]
    dims: str
    wavenumbers: int
    reason: str
    size: Size
