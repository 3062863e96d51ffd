"""Write a tomodir from its spec: the texts, the directories; nothing that exists is ever overwritten."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from crh_batch.demo.config_files import crmod_cfg, crtomo_cfg, noisemod
from crh_batch.demo.grid import Grid, surface_line
from crh_batch.demo.measurements import Measurement, config_text, dipole_dipole
from crh_batch.demo.spec import TomodirSpec
from crh_batch.errors import UsageError

SUBDIRECTORIES = ("exe", "config", "rho", "grid", "mod", "inv")


def grid_of(spec: TomodirSpec) -> Grid:
    """Give the grid of a tomodir; 2.5D goes on beyond its boundaries, 2D is a closed box."""
    padding = spec.padding_cells
    if padding is None:
        padding = 5 if spec.dims == "2.5D" else 9
    return surface_line(
        spec.electrodes,
        spec.spacing_m,
        cells_per_spacing=spec.cells_per_spacing,
        layers=spec.layers,
        padding_cells=padding,
        mixed_boundary=spec.dims == "2.5D",
    )


def measurements_of(spec: TomodirSpec) -> list[Measurement]:
    """Give the measurements of a tomodir, in the order of its config.dat and volt.dat."""
    return dipole_dipole(spec.electrodes, spec.separations, spec.dipole_lengths)


def rho_text(spec: TomodirSpec, grid: Grid) -> str:
    """Give the text of rho/rho.dat: the number of cells, then magnitude (Ohm m) and phase (mrad) of each."""
    background = f"{spec.background_ohm_m:g} {spec.phase_mrad:g}\n"
    if spec.block is None:
        return f"{grid.cell_count}\n" + background * grid.cell_count
    inside = f"{spec.block.ohm_m:g} {spec.block.phase_mrad:g}\n"
    cells = (inside if spec.block.holds(x, depth) else background for x, depth in grid.centres())
    return f"{grid.cell_count}\n" + "".join(cells)


def tomodir_files(spec: TomodirSpec) -> dict[str, str]:
    """Give the text of each file of a tomodir, by its path below the tomodir."""
    grid = grid_of(spec)
    files = {"grid/elem.dat": grid.elem_text(), "grid/elec.dat": grid.elec_text()}
    if spec.modelling:
        files["exe/crmod.cfg"] = crmod_cfg(spec, grid)
        files["config/config.dat"] = config_text(measurements_of(spec))
        files["rho/rho.dat"] = rho_text(spec, grid)
    if spec.inversion:
        files["exe/crtomo.cfg"] = crtomo_cfg(spec, grid)
        if spec.noise is not None:
            files["exe/crt.noisemod"] = noisemod(spec.noise)
    if spec.volt_text is not None:
        files["mod/volt.dat"] = spec.volt_text
    return files


def write_tomodir(path: str | os.PathLike[str], spec: TomodirSpec) -> None:
    """Make one tomodir with all six subdirectories; missing directories above it are made too.

    Args:
        path: a directory that does not exist or is empty.
        spec: what the tomodir is made of.

    Raises:
        UsageError: there is something at ``path``; nothing was written.
    """
    require_unused(path)
    write_files(Path(path), tomodir_files(spec))


def write_files(tomodir: Path, files: Mapping[str, str]) -> None:
    """Make a tomodir's directories and files; exclusively, so that what appears meanwhile is not overwritten.

    Raises:
        UsageError: the filesystem refused; what was made until then stays.
    """
    with writing(tomodir):
        tomodir.mkdir(parents=True, exist_ok=True)
        for name in SUBDIRECTORIES:
            (tomodir / name).mkdir()
        for name, text in files.items():
            with (tomodir / name).open("x", encoding="ascii", newline="\n") as file:
                file.write(text)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError into a UsageError that names the file, or ``path`` where the error names none."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{error.filename or path} can't be written: {error.strerror}.",
            "Name a directory that you may write to, with room for a few hundred KB a tomodir.",
        ) from error


def require_unused(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is anything but an empty directory or nothing.

    Raises:
        UsageError: names the path and says to choose another one.
    """
    target = Path(path)
    if target.is_dir():
        with writing(target):
            if next(target.iterdir(), None) is None:
                return
        problem = "is a directory with something in it"
    elif target.exists() or target.is_symlink():
        problem = "exists and is not a directory"
    else:
        return
    raise UsageError(
        f"{os.fspath(path)} {problem}; synthetic tomodirs are not written over it.",
        "Name a new or an empty directory.",
    )
