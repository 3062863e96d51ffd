"""exe/: which of its files a program may read, besides those that a .cfg names.

CRTomo and CRMod look there for decouplings.dat, electrode_capacitances.dat, crt.noisemod and crt.lamnull, and newer
ones may look for more. So everything counts as an input that is not known to be written by a run.
"""

from __future__ import annotations

import os
import re

from crh_batch.errors import ConfigError
from crh_batch.tomodir.files import explain
from crh_batch.tomodir.stage import StageName

# Names in the programs (strings of CRTomo_stable and CRMod_stable 0.2.0), and what schedulers and shells leave.
_OUTPUT = re.compile(
    r"""
    error\.dat | .*\.pid | inv\..* | fort\.\d+ | tmp\..* | crh\.json | crh\.\w+\.(?:out|err) | cm0_inv\.H
    | stdout.* | stderr.* | nohup\.out | .*\.log | (?:slurm-|crmod|crtomo).*\.out | .*\.[oe]\d+ | core(?:\.\d+)?
    | \..*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# What the programs look for in exe/ by these names.
_LOOKED_FOR = frozenset(
    {"crtomo.cfg", "crmod.cfg", "decouplings.dat", "electrode_capacitances.dat", "crt.noisemod", "crt.lamnull"}
)
_OF_INVERSION = re.compile(r"crtomo\.cfg|crt\..*", re.DOTALL)
_OF_MODELLING = re.compile(r"crmod\.cfg")


def list_exe(tomodir: str) -> list[str]:
    """Return the names of the regular files in exe/, and of links to such, sorted.

    Raises:
        OSError: there is no exe/, or it can't be listed.
        ConfigError: something else stands where the programs look for a file; a run without it would be another one.
    """
    names = []
    with os.scandir(os.path.join(tomodir, "exe")) as entries:
        for entry in entries:
            problem = _problem_of(entry)
            if not problem:
                names.append(entry.name)
            elif entry.name in _LOOKED_FOR:
                raise ConfigError(
                    f"{entry.path}: {problem}", "Put the file there, or take away what stands there.", entry.path
                )
    return sorted(names)


def _problem_of(entry: os.DirEntry[str]) -> str:
    """Return why an entry is no file, empty if it is one."""
    try:
        if entry.is_file():
            return ""
        # False may stand for a link to nothing, or to where one may not look.
        entry.stat()
        return "is a directory" if entry.is_dir() else "is not a regular file"
    except OSError as error:
        return f"can't be read: {explain(error)}"


def extra_inputs(names: list[str], stage: StageName) -> list[str]:
    """Return those of exe/'s files that a stage may read, as paths relative to the tomodir.

    crt.lamnull is read and written by CRTomo, and so is crt.noisemod when mag_rel is negative (seen). CRMod reads
    neither, so a change by CRTomo does not make an old modelling look outdated.
    """
    others = _OF_INVERSION if stage is StageName.MODELLING else _OF_MODELLING
    return [f"exe/{name}" for name in names if not _OUTPUT.fullmatch(name) and not others.fullmatch(name)]
