"""What a tomodir is: which directories are tomodirs, what is still to be run in them, and what came out of a run.

Everything here only reads, uses the standard library alone and runs on Python 3.9, because it travels to compute
nodes. ``describe`` answers before a run, ``JUDGES`` after it, ``read_progress`` in between.
"""

from __future__ import annotations

from crh_batch.tomodir.crmod_cfg import ModellingSet, read_crmod_cfg
from crh_batch.tomodir.crtomo_cfg import DataSet, read_crtomo_cfg
from crh_batch.tomodir.fourier import wavenumbers
from crh_batch.tomodir.measurements import Measurements, read_measurements, volt_is_complete
from crh_batch.tomodir.mesh import Mesh, read_mesh
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.outcome import (
    JUDGES,
    Exit,
    Judge,
    Outcome,
    Progress,
    judge_crmod,
    judge_crtomo,
    judge_exit_status,
    read_progress,
)
from crh_batch.tomodir.scan import find_tomodirs, is_tomodir
from crh_batch.tomodir.stage import Description, Size, StageName, StageNeed

__all__ = [
    "JUDGES",
    "DataSet",
    "Description",
    "Exit",
    "Judge",
    "Measurements",
    "Mesh",
    "ModellingSet",
    "Outcome",
    "Progress",
    "Size",
    "StageName",
    "StageNeed",
    "describe",
    "find_tomodirs",
    "is_tomodir",
    "judge_crmod",
    "judge_crtomo",
    "judge_exit_status",
    "read_crmod_cfg",
    "read_crtomo_cfg",
    "read_measurements",
    "read_mesh",
    "read_progress",
    "volt_is_complete",
    "wavenumbers",
]
