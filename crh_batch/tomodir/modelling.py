"""The modelling stage: what crmod.cfg asks for, whether it was done, and what stands in its way."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from crh_batch.errors import ConfigError, DataError, MeshError, TomodirError
from crh_batch.tomodir.crmod_cfg import ModellingSet, read_crmod_cfg
from crh_batch.tomodir.exe_dir import extra_inputs
from crh_batch.tomodir.extent import measure
from crh_batch.tomodir.files import explain, read_ends
from crh_batch.tomodir.measurements import read_measurements
from crh_batch.tomodir.provenance import was_done
from crh_batch.tomodir.references import input_file, is_outside, normalised, output_path, result_file
from crh_batch.tomodir.stage import StageName, StageNeed

CRMOD_CFG = "exe/crmod.cfg"


@dataclass(frozen=True)
class Modelling:
    """What there is to say about a tomodir's modelling.

    Attributes:
        need: the stage, when it is to be run.
        why: why it is to be run, or would have to be; "" when it was done.
        blocked: what stands in its way; None otherwise.
        result: the volt.dat that it writes, relative to the tomodir; None if it writes none, or nobody knows.
        config: config.dat of ``need``, relative to the tomodir: it says what will be in ``result``.
    """

    need: StageNeed | None = None
    why: str = ""
    blocked: TomodirError | None = None
    result: str | None = None
    config: str = ""


def look_at_modelling(tomodir: str, exe_names: list[str]) -> Modelling:
    """Find out whether the modelling of a tomodir with a crmod.cfg is to be run."""
    result = None
    why = "no modelling without crmod.cfg"
    try:
        cfg = read_crmod_cfg(os.path.join(tomodir, CRMOD_CFG))[0]
        if cfg.volt is not None:
            result = normalised(cfg.volt)
            why = problem_of_volt(tomodir, result)
            if not why:
                return Modelling(result=result)
        stage = modelling_stage(tomodir, exe_names, cfg)
        if result is None:
            # Nothing that such a run leaves shows that it was one, so only our own record ends it.
            if was_done(tomodir, StageName.MODELLING, stage.inputs):
                return Modelling()
            why = "not modelled yet (it writes no volt.dat: line 8 of crmod.cfg is F)"
        return Modelling(stage, why, None, result, input_file(tomodir, cfg.config, CRMOD_CFG))
    except TomodirError as cause:
        return Modelling(None, why, cause, result)


def problem_of_volt(tomodir: str, volt: str) -> str:
    """Return why a volt.dat does not count as there, such as "no mod/volt.dat"; "" if it is whole.

    Raises:
        DataError: something is there that can't be read. It may be whole, so it is not to be made again.
    """
    place = os.path.join(tomodir, volt)
    try:
        problem = read_measurements(place).problem
    except DataError as error:
        if isinstance(error.__cause__, FileNotFoundError) and not os.path.lexists(place):
            return f"no {volt}"
        raise
    return f"{volt} {problem}" if problem else ""


def modelling_stage(tomodir: str, exe_names: list[str], cfg: ModellingSet) -> StageNeed:
    """Return the stage as it would be run.

    Raises:
        TomodirError: an input is missing or damaged, or a path can't be followed.
    """
    elem = input_file(tomodir, cfg.elem, CRMOD_CFG, MeshError)
    elec = input_file(tomodir, cfg.elec, CRMOD_CFG, MeshError)
    config = input_file(tomodir, cfg.config, CRMOD_CFG)
    rho, rho_absent = result_file(tomodir, cfg.rho, CRMOD_CFG)
    named = [elem, elec, config, rho]
    if cfg.boundaries_file is not None:
        named.append(input_file(tomodir, cfg.boundaries_file, CRMOD_CFG))
    extent = measure(tomodir, elem, elec, config, cfg.d2_5)
    if not rho_absent:
        _check_rho(os.path.join(tomodir, rho), extent.size.parameters)
    outputs = {
        reference: output_path(tomodir, reference, CRMOD_CFG)
        for reference in (cfg.volt, cfg.potentials, cfg.sensitivities)
        if reference is not None
    }
    result = outputs[cfg.volt] if cfg.volt is not None else None
    inputs = tuple(dict.fromkeys([CRMOD_CFG, *named, *extra_inputs(exe_names, StageName.MODELLING)]))
    if result in inputs:
        raise ConfigError(
            f"{os.path.join(tomodir, CRMOD_CFG)} lets the program write over its own input {result}",
            "Name another file in line 9.",
            os.path.join(tomodir, CRMOD_CFG),
            9,
        )
    directories = ["exe", *(posixpath.dirname(output) for output in outputs.values())]
    return StageNeed(
        StageName.MODELLING,
        extent.dims,
        extent.wavenumbers,
        inputs,
        tuple(name for name in named if is_outside(name)),
        tuple(dict.fromkeys(directory for directory in directories if directory)),
        result=result,
        size=extent.size,
        absent=((rho, rho_absent),) if rho_absent else (),
    )


def _check_rho(place: str, parameters: int) -> None:
    """Refuse a model for another mesh: CRMod says "# elements inconsistent" then (seen)."""
    try:
        words = read_ends(place, 256, 0).head.split()
    except (OSError, ValueError) as cause:
        raise DataError(f"{place}: {explain(cause)}", "Check the file.", place) from cause
    if not words or not words[0].isdigit() or len(words[0]) > 9 or int(words[0]) != parameters:
        found = words[0][:20].decode("ascii", "replace") if words else "nothing"
        raise DataError(
            f"{place} begins with {found}, but the mesh has {parameters} elements",
            "Use the model that belongs to this mesh.",
            place,
        )
