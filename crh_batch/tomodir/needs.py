"""What is still to be run in a tomodir, and why: the one question that everything else here serves.

The answer comes from what the files hold, never from times of change: copies do not keep them, and the clocks of
a network filesystem's clients differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from crh_batch.errors import DataError, TomodirError
from crh_batch.tomodir.crmod_cfg import read_crmod_cfg
from crh_batch.tomodir.crtomo_cfg import DataSet, read_crtomo_cfg
from crh_batch.tomodir.error_dat import read_error_dat
from crh_batch.tomodir.exe_dir import list_exe
from crh_batch.tomodir.extent import Extent, dims
from crh_batch.tomodir.files import explain
from crh_batch.tomodir.inv_ctr import is_finished, read_progress
from crh_batch.tomodir.inversion import CRTOMO_CFG, MadeBefore, inversion_stage, missing_priors
from crh_batch.tomodir.modelling import (
    CRMOD_CFG,
    Modelling,
    look_at_modelling,
    modelling_stage,
    problem_of_volt,
)
from crh_batch.tomodir.references import is_outside, normalised, output_path
from crh_batch.tomodir.stage import Description, Size, StageNeed


def describe(path: str) -> Description:
    """Say what is still to be run in a tomodir, and why.

    - A finished inversion needs nothing, whatever an old error.dat says.
    - A modelling is needed when its volt.dat is not complete and its inputs are there; one that writes no volt.dat,
      unless exe/crh.json records that it was run with these inputs.
    - An inversion is needed when there is a crtomo.cfg, and possible when its volt.dat is there or is made by the
      modelling in the same go. One that needs another volt.dat waits while the modelling is run.

    A file outside the tomodir that another tomodir's run may make need not be there: the stage lists it as absent.

    Raises:
        TomodirError: it can't be run as it lies there; has the file, what is wrong and what to do. Nothing else is
            ever raised, whatever the files hold.
    """
    try:
        return _describe(path)
    except (OSError, ValueError) as cause:
        raise TomodirError(f"{path}: {explain(cause)}", "Check that it is a readable directory.", path) from cause


def _describe(path: str) -> Description:
    exe_names = list_exe(path)
    has_modelling = "crmod.cfg" in exe_names
    if "crtomo.cfg" in exe_names:
        return _with_inversion(path, exe_names, has_modelling)
    if has_modelling:
        return _modelling_alone(path, exe_names)
    raise TomodirError(
        f"{path} is no tomodir: it has neither {CRMOD_CFG} nor {CRTOMO_CFG}", "Name a tomodir, or a tree of them.", path
    )


def _modelling_alone(path: str, exe_names: list[str]) -> Description:
    modelling = look_at_modelling(path, exe_names)
    if modelling.blocked is not None:
        raise modelling.blocked
    if modelling.need is not None:
        return _to_run(path, (modelling.need,), modelling.why)
    cfg = read_crmod_cfg(os.path.join(path, CRMOD_CFG))[0]
    extent = _if_possible(lambda: modelling_stage(path, exe_names, cfg)) or _unknown(cfg.d2_5)
    return Description(path, (), extent.dims, extent.wavenumbers, "modelled", extent.size)


def _with_inversion(path: str, exe_names: list[str], has_modelling: bool) -> Description:
    data_sets = read_crtomo_cfg(os.path.join(path, CRTOMO_CFG))
    last_results = normalised(data_sets[-1].inv_dir)
    if is_outside(last_results):
        output_path(path, data_sets[-1].inv_dir, CRTOMO_CFG)  # says what is wrong with that
    inv_ctr = os.path.join(path, last_results, "inv.ctr")
    if is_finished(inv_ctr):
        extent = _if_possible(lambda: inversion_stage(path, exe_names, data_sets, None))
        extent = extent or _recorded(inv_ctr, data_sets)
        return Description(path, (), extent.dims, extent.wavenumbers, "finished", extent.size)
    modelling = look_at_modelling(path, exe_names) if has_modelling else Modelling()
    made = None
    if modelling.need is not None and modelling.result is not None:
        made = MadeBefore(modelling.result, modelling.config)
    unmade = _first_problem_of_volts(path, data_sets, made)
    if unmade is not None:
        return _waiting(path, modelling, *unmade)
    inversion = inversion_stage(path, exe_names, data_sets, made)
    stages = (inversion,) if modelling.need is None else (modelling.need, inversion)
    began = "an earlier inversion did not finish" if os.path.exists(inv_ctr) else "not inverted yet"
    reason = began if modelling.need is None else modelling.why
    for prior in missing_priors(path, data_sets):
        reason += f"; there is no prior model {prior}, so CRTomo does without"
    return _to_run(path, stages, reason)


def _first_problem_of_volts(path: str, data_sets: list[DataSet], made: MadeBefore | None) -> tuple[str, str] | None:
    """Return the first volt.dat that is not there or not whole, and what is wrong with it.

    Those of other tomodirs are passed over: whether they will be made is not known here.
    """
    earlier: list[str] = []
    for data_set in data_sets:
        volt = normalised(data_set.volt)
        known = is_outside(volt) or (made is not None and volt == made.volt)
        if not known and not volt.startswith(tuple(earlier)):
            problem = problem_of_volt(path, volt)
            if problem:
                return volt, problem
        earlier.append(normalised(data_set.inv_dir) + "/")
    return None


def _waiting(path: str, modelling: Modelling, volt: str, problem: str) -> Description:
    """Describe a tomodir whose inversion can't be run: the modelling alone, if it may lead there, or an error."""
    if modelling.need is not None and modelling.result is not None:
        # The user's own script makes one volt.dat from the other (noise, a selection), so this is half of the way.
        return _to_run(path, (modelling.need,), f"{modelling.why}; the inversion has to wait: {problem}")
    message = f"{path}: the inversion can't be run: {problem}"
    next_step = f"Put {volt} there."
    if modelling.need is not None:
        message += f", and {CRMOD_CFG} does not write it"
        next_step = "Set line 8 of crmod.cfg to T, or put the measurements there."
    elif modelling.blocked is not None and modelling.result in (None, volt):
        message += f", and it can't be modelled: {modelling.blocked.message}"
        next_step = modelling.blocked.next_step or next_step
    raise DataError(message, next_step, os.path.join(path, volt))


def _to_run(path: str, stages: tuple[StageNeed, ...], reason: str) -> Description:
    said = read_error_dat(os.path.join(path, "exe", "error.dat"))
    if said is not None:
        # It may be of any age and of any of the two programs, so it says something about the past alone.
        reason += f"; an earlier run failed: {said.text or 'its error.dat is empty'}"
    last = stages[-1]
    return Description(path, stages, last.dims, last.wavenumbers, reason, last.size)


def _if_possible(build: Callable[[], StageNeed]) -> Extent | None:
    """Return a stage's extent, or None where its inputs are not all there any more."""
    try:
        stage = build()
    except TomodirError:
        return None
    return Extent(stage.dims, stage.wavenumbers, stage.size)


def _recorded(inv_ctr: str, data_sets: list[DataSet]) -> Extent:
    """Return what the inversion itself wrote about its extent."""
    last = data_sets[-1]
    progress = read_progress(inv_ctr)
    size = Size(
        parameters=progress.parameters or 0,
        data=progress.data or 0,
        dc=last.dc_inv,
        resolution=last.resolution,
    )
    return Extent(dims(last.d2_5), (progress.wavenumbers or 0) if last.d2_5 else 1, size)


def _unknown(d2_5: int) -> Extent:
    return Extent(dims(d2_5), 0 if d2_5 else 1, Size())
