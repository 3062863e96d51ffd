"""The inversion stage: what the data sets of crtomo.cfg read and write."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace

from crh_batch.errors import ConfigError, DataError, MeshError
from crh_batch.tomodir.crtomo_cfg import DataSet
from crh_batch.tomodir.exe_dir import extra_inputs
from crh_batch.tomodir.extent import Extent, dims, measure
from crh_batch.tomodir.measurements import read_measurements
from crh_batch.tomodir.modelling import problem_of_volt
from crh_batch.tomodir.references import Found, input_file, is_outside, normalised, output_path, result_file
from crh_batch.tomodir.stage import Size, StageName, StageNeed

CRTOMO_CFG = "exe/crtomo.cfg"


@dataclass(frozen=True)
class MadeBefore:
    """A volt.dat that the modelling makes in the same go.

    Attributes:
        volt: relative to the tomodir.
        config: what will be measured in it, relative to the tomodir.
    """

    volt: str
    config: str


def inversion_stage(tomodir: str, exe_names: list[str], data_sets: list[DataSet], made: MadeBefore | None) -> StageNeed:
    """Return the stage as it would be run.

    Raises:
        TomodirError: an input is missing or damaged, or a path can't be followed.
    """
    inv_dirs: list[str] = []
    inputs = [CRTOMO_CFG]
    absent: dict[str, str] = {}
    extents = []
    for data_set in data_sets:
        named = _inputs_of(tomodir, data_set, made, inv_dirs)
        inputs += [one.name for one in named]
        absent.update((one.name, one.absent) for one in named if one.absent)
        extents.append(_extent_of(tomodir, data_set, made, absent))
        inv_dirs.append(_inv_dir(tomodir, data_set))
    inputs += extra_inputs(exe_names, StageName.INVERSION)
    largest = _combined(extents)
    unique = tuple(dict.fromkeys(inputs))
    return StageNeed(
        StageName.INVERSION,
        largest.dims,
        largest.wavenumbers,
        unique,
        tuple(name for name in unique if is_outside(name)),
        tuple(dict.fromkeys(["exe", *inv_dirs])),
        inv_dirs=tuple(inv_dirs),
        size=largest.size,
        absent=tuple(absent.items()),
        measurements=next((volt for one in data_sets if (volt := normalised(one.volt)) in absent), ""),
    )


def missing_priors(tomodir: str, data_sets: list[DataSet]) -> Iterator[str]:
    """Give the prior models that CRTomo will silently do without, because they are not there."""
    for data_set in data_sets:
        if data_set.dm0 is not None and not data_set.diff_inv:
            relative = normalised(data_set.dm0)
            if not is_outside(relative) and not os.path.exists(os.path.join(tomodir, relative)):
                yield relative


def _inputs_of(tomodir: str, data_set: DataSet, made: MadeBefore | None, earlier: list[str]) -> list[Found]:
    """Return the files that one data set reads.

    Args:
        earlier: result directories of the data sets before it; what lies there is made in the same run.
    """
    wanted = [(data_set.elem, MeshError), (data_set.elec, MeshError), (data_set.volt, DataError)]
    wanted += [(path, DataError) for path in (data_set.dd0, data_set.dfm0, data_set.boundaries_file) if path]
    if data_set.dm0 is not None:
        # Without a difference inversion CRTomo looks whether the file is there (seen). One that belongs to another
        # tomodir was meant to be there all the same.
        relative = normalised(data_set.dm0)
        if data_set.diff_inv or is_outside(relative) or os.path.exists(os.path.join(tomodir, relative)):
            wanted.append((data_set.dm0, DataError))
    found = []
    for path, missing in wanted:
        relative = normalised(path)
        if made is not None and relative == made.volt:
            continue
        if any(relative.startswith(f"{directory}/") for directory in earlier):
            continue
        if missing is MeshError:
            # No run makes a mesh, and without it nothing can be said about the stage.
            found.append(Found(input_file(tomodir, path, CRTOMO_CFG, missing)))
        else:
            found.append(_volt(tomodir, path) if path == data_set.volt else result_file(tomodir, path, CRTOMO_CFG))
    return found


def _volt(tomodir: str, path: str) -> Found:
    """Return the measurements; those of another tomodir count as absent while they are cut short."""
    found = result_file(tomodir, path, CRTOMO_CFG)
    if found.absent or not is_outside(found.name):
        return found
    problem = problem_of_volt(tomodir, found.name)
    return found._replace(absent=f"{tomodir}: the inversion can't be run: {problem}" if problem else "")


def _inv_dir(tomodir: str, data_set: DataSet) -> str:
    relative = output_path(tomodir, data_set.inv_dir, CRTOMO_CFG)
    if relative == "exe":
        raise ConfigError(
            f"{os.path.join(tomodir, CRTOMO_CFG)} lets CRTomo write its results between the inputs in exe/",
            "Name a directory of its own in setting 5.",
            os.path.join(tomodir, CRTOMO_CFG),
        )
    return relative


def _extent_of(tomodir: str, data_set: DataSet, made: MadeBefore | None, absent: Container[str]) -> Extent:
    volt = normalised(data_set.volt)
    listing: str | None = made.config if made is not None and volt == made.volt else volt
    if volt in absent:
        listing = None
    extent = measure(tomodir, normalised(data_set.elem), normalised(data_set.elec), listing, data_set.d2_5)
    if listing == volt and read_measurements(os.path.join(tomodir, volt)).text_after_count:
        raise DataError(
            f"{os.path.join(tomodir, volt)} has text after the number of measurements, which CRTomo takes for data",
            "Leave the number alone on the first line, or with T for individual errors.",
            os.path.join(tomodir, volt),
        )
    return replace(extent, size=replace(extent.size, dc=data_set.dc_inv, resolution=data_set.resolution))


def _combined(extents: list[Extent]) -> Extent:
    """Return an extent that is as large as each of them in everything: data sets run one after another."""
    if len(extents) == 1:
        return extents[0]
    sizes = [extent.size for extent in extents]
    return Extent(
        dims(any(extent.dims == dims(1) for extent in extents)),
        max(extent.wavenumbers for extent in extents),
        Size(
            nodes=max(size.nodes for size in sizes),
            parameters=max(size.parameters for size in sizes),
            electrodes=max(size.electrodes for size in sizes),
            bandwidth=max(size.bandwidth for size in sizes),
            data=max(size.data for size in sizes),
            dc=all(size.dc for size in sizes),
            resolution=any(size.resolution for size in sizes),
        ),
    )
