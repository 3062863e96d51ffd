"""CRMod and CRTomo on a cluster: those that are there, else this machine's, sent once and known by their sum."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crh_batch.errors import ProgramMissing
from crh_batch.hosts.base import FarHost
from crh_batch.hosts.transfers import transferring
from crh_batch.ledger.inputs import sha256_of
from crh_batch.profile import Profile

# What `file` would look for: programs that the kernel loads begin so; launchers on PATH begin with "#!".
_ELF = "7f454c46"
# What pilots take (pyproject.toml); login nodes often have an older one, and others to load.
_OLDEST_PYTHON = (3, 9)
# What ldd says of a library that isn't there, and of one that is there and too old.
_NO_LIBRARY = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_NO_VERSION = re.compile(r"version `([^']+)' not found")


@dataclass(frozen=True)
class ProgramThere:
    """A program on a cluster.

    Args:
        path: where it is there.
        sha256: its sum; empty for one inside a container, which nobody can look at from outside.
        source: where it is from, for people.
    """

    path: str
    sha256: str
    source: str

    @property
    def entry(self) -> dict[str, str]:
        """What batch.json there keeps of it."""
        if not self.sha256:
            return {"path": self.path, "sha256": "", "source": self.source}
        return {"file": self.file, "sha256": self.sha256, "source": self.source}

    @property
    def file(self) -> str:
        """Its name below ``bin/``."""
        return f"{posixpath.basename(self.path)}-{self.sha256[:12]}"


def find_programs_there(
    far: FarHost,
    names: Sequence[str],
    profile: Profile,
    stage_base: str,
    *,
    find_here: Callable[[str], str],
    say: Callable[[str], None],
) -> dict[str, ProgramThere]:
    """Return where programs are on a cluster; what isn't there is sent.

    Args:
        stage_base: the directory there below which programs of this machine are kept, for all batches.
        find_here: returns the path of a program of this machine, or raises ProgramMissing.
        say: for what the user should know.

    Raises:
        ProgramMissing: a program is neither there nor here, or this machine's can't run there.
        HostError: the cluster can't be reached, or its disk is full.
    """
    _check_python(far, profile, say)
    return {
        name: found_there(far, name, profile) or _sent(far, name, profile, stage_base, find_here, say) for name in names
    }


def _check_python(far: FarHost, profile: Profile, say: Callable[[str], None]) -> None:
    version = far.facts()["python"]
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST_PYTHON and not profile.setup:
        say(
            f"{far.name}: its python3 is {version}, and pilots need 3.9 or later: unless the compute nodes have one, "
            'load it in the profile, setup = ["module load python"]'
        )


def found_there(far: FarHost, name: str, profile: Profile) -> ProgramThere | None:
    """Return a program that is on a cluster: what the profile names, else what is on PATH there; None if there is none.

    Raises:
        ProgramMissing: the profile names one that isn't there.
        HostError: the cluster can't be reached.
    """
    configured = {"CRMod": profile.crmod, "CRTomo": profile.crtomo}[name]
    if profile.is_inside_container[name]:
        return ProgramThere(configured, "", configured)
    path = _absolute(far, configured) if configured else _on_path(far, name)
    if not path:
        return None
    size_and_sum = far.ask("digest", path=path)
    if int(size_and_sum["size"]) < 0 or far.run(["test", "-x", path]).exit_status != 0:
        raise ProgramMissing(
            f"{name}: {path}: not a file on {far.name} that can be executed",
            f"Mend {name.lower()} in the profile: it is a path on the cluster.",
            name,
        )
    return ProgramThere(path, str(size_and_sum["sha256"]), f"{far.name}:{path}")


def _absolute(far: FarHost, path: str) -> str:
    home = far.facts()["home"]
    return posixpath.normpath(posixpath.join(home, path[2:] if path.startswith("~/") else path))


def _on_path(far: FarHost, name: str) -> str:
    """Return the program of this name on PATH there; launchers that start it through a shell drop its exit status."""
    # argv, not text of ours, is what the shell gets.
    for found in far.run(["bash", "-c", 'type -ap -- "$0"', name]).stdout.splitlines():
        first = far.run(["od", "-A", "n", "-t", "x1", "-N", "4", found]).stdout
        if found.startswith("/") and first.replace(" ", "").strip() == _ELF:
            return found
    return ""


def _sent(
    far: FarHost,
    name: str,
    profile: Profile,
    stage_base: str,
    find_here: Callable[[str], str],
    say: Callable[[str], None],
) -> ProgramThere:
    try:
        here = find_here(name)
    except ProgramMissing as error:
        raise ProgramMissing(
            f"{name}: neither on {far.name} nor here: {error.message}",
            f'Name one that is there in the profile, {name.lower()} = "/path/there/{name}", or install one here.',
            name,
        ) from error
    _check_machine(far, name)
    sha256 = sha256_of(here)
    directory = f"{stage_base}/programs/{sha256}"
    path = f"{directory}/{name}"
    far.ask("make_directories", paths=[directory], mode=0o700)
    with transferring(f"sending {name} to {far.name}") as transfer:
        transfer.expect(os.path.getsize(here))
        sent = far.put(here, path, transfer.add)
    if sent:
        say(f"{name}: none on {far.name}, so this machine's was sent there: {here}")
    # In a container other libraries count, which nobody can look at from outside.
    if not profile.container:
        _check_libraries(far, name, path)
    return ProgramThere(path, sha256, here)


def make_sure(far: FarHost, name: str, program: ProgramThere) -> None:
    """Make sure that a program is on a cluster as it was when it was found; one of this machine is sent again.

    Raises:
        ProgramMissing: it isn't, and this machine hasn't got it.
        HostError: the cluster can't be reached, or its disk is full.
    """
    if not program.sha256 or far.ask("digest", path=program.path)["sha256"] == program.sha256:
        return
    here = program.source
    if not os.path.isfile(here) or sha256_of(here) != program.sha256:
        raise ProgramMissing(
            f"{name}: {program.path} on {far.name} is gone, or another program than when the batch was made",
            "Put that one back and run the command again, or crh-batch cancel, then submit anew.",
            name,
        )
    far.ask("make_directories", paths=[posixpath.dirname(program.path)], mode=0o700)
    with transferring(f"sending {name} to {far.name}") as transfer:
        transfer.expect(os.path.getsize(here))
        far.put(here, program.path, transfer.add)


def _check_machine(far: FarHost, name: str) -> None:
    there, here = far.facts()["machine"], os.uname().machine
    if there != here:
        raise ProgramMissing(
            f"{name}: none on {far.name}, and this machine's can't run there: it is for {here}, not {there}",
            f'Name one that is there in the profile: {name.lower()} = "/path/there/{name}".',
            name,
        )


def _check_libraries(far: FarHost, name: str, path: str) -> None:
    """Refuse a program that the loader there can't load; a login node is much like the others of its cluster.

    Raises:
        ProgramMissing: what it lacks.
    """
    if not far.has("ldd"):
        return
    done = far.run(["ldd", path])
    said = f"{done.stdout}\n{done.stderr}"
    lacking = dict.fromkeys(_NO_LIBRARY.findall(said) + _NO_VERSION.findall(said))
    if lacking:
        raise ProgramMissing(
            f"{name}: none on {far.name}, and this machine's can't run there: it lacks {', '.join(lacking)}",
            f"Load what has it in ~/.bash_profile there and in the profile's setup lines (module load gcc), or name a "
            f'{name} of the cluster in the profile: {name.lower()} = "/path/there/{name}".',
            name,
        )
