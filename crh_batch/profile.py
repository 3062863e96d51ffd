"""A cluster's settings, from TOML files.

Later files win key by key: /etc/crh-batch/profile.toml, the user's ``crh-batch/profile.toml`` in the configuration
directory, the survey's ``crh-batch.toml``; then the command line.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crh_batch.errors import ProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

SURVEY_FILE = "crh-batch.toml"
_NOT_NEGATIVE = (
    "time_minutes",
    "warn_s",
    "cores",
    "memory_mb",
    "max_memory_mb",
    "max_threads",
    "throttle",
    "follow_ups",
    "idle_minutes",
)


def _key(default: Any, description: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: tuple(default), metadata={"description": description})
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class Profile:
    """Settings of a cluster; each key's meaning stands beside it, and in docs/reference/profile.md."""

    scheduler: str = _key("", "slurm, sge, or local for pilots on this machine; found out when empty")
    partition: str = _key(
        "",
        "partition (SGE: queue) to submit to, or several with commas of which those are taken that fit; when empty "
        "the scheduler's default",
    )
    account: str = _key("", "account (SGE: project) to charge")
    qos: str = _key("", "quality of service (Slurm)")
    constraint: str = _key("", "features that nodes must have (SGE: a resource list for -l)")
    nice: int = _key(0, "lowers the priority of the jobs (SGE: -p with the sign turned)")
    time_minutes: int = _key(0, "time limit of an array task; the partition's default when 0")
    warn_s: int = _key(120, "seconds before the time limit at which pilots are told to stop claiming")
    whole_nodes: bool = _key(False, "ask for jobs of many cores, in which a pilot packs tomodirs of all widths")
    cores: int = _key(0, "cores a job where whole_nodes is true; those of a node when 0")
    memory: str = _key("mem", "how memory is asked for: mem, mem-per-cpu or none")
    memory_mb: int = _key(0, "memory a job, in MB of 2^20 bytes; from the meshes when 0")
    max_memory_mb: int = _key(
        0, "most memory a job, also for what has run out of memory; no limit but the nodes' when 0"
    )
    memory_resource: str = _key(
        "", "SGE: the resource that memory is asked by, a slot: h_vmem, mem_free; none when empty"
    )
    parallel_environment: str = _key(
        "", "SGE: the parallel environment for several cores of one node; found out when empty"
    )
    max_threads: int = _key(0, "most cores for one tomodir; what a node of the partition has when 0")
    max_pilots: int = _key(100, "most array tasks for one class of tomodirs")
    throttle: int = _key(0, "most array tasks of one array that run at a time; no limit when 0")
    follow_ups: int = _key(
        3, "arrays that submit --keep-going puts behind the first, each beginning when the one before has ended"
    )
    idle_minutes: int = _key(10, "how long a pilot stays that waits for results which other tomodirs need")
    scratch: str = _key("", "where private directories are made on nodes; $TMPDIR or /tmp when empty")
    setup: tuple[str, ...] = _key([], "shell lines that run before the pilot: module load ...")
    extra_directives: tuple[str, ...] = _key([], "lines added to the job script's head: #SBATCH ... or #$ ...")
    crmod: str = _key("", "path of CRMod; found out when empty")
    crtomo: str = _key("", "path of CRTomo; found out when empty")
    container: str = _key("", "words put before each program: apptainer exec --bind /scratch /images/crtomo.sif")
    charged_attempts: int = _key(3, "attempts that may crash, run out of memory or be lost before a tomodir has failed")

    def __post_init__(self) -> None:
        """Refuse values that can't be used.

        Raises:
            ProfileError: which key, and what may stand there.
        """
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            texts = value if isinstance(value, tuple) else (value,)
            for text in texts:
                if isinstance(text, str) and ("\n" in text or "\0" in text):
                    raise ProfileError(
                        f"{one.name}: a line break can't stand in a value", "Write one line.", "", one.name
                    )
        allowed = {"scheduler": ("", "slurm", "sge", "local"), "memory": ("mem", "mem-per-cpu", "none")}
        for key, values in allowed.items():
            if getattr(self, key) not in values:
                raise ProfileError(
                    f"{key} = {getattr(self, key)!r}: not known",
                    "Known: " + ", ".join(repr(value) for value in values) + ".",
                    "",
                    key,
                )
        for key in _NOT_NEGATIVE:
            if getattr(self, key) < 0:
                raise ProfileError(f"{key}: must not be negative", "Write 0 or more.", "", key)
        if self.time_minutes and self.warn_s >= 60 * self.time_minutes:
            raise ProfileError(
                f"warn_s = {self.warn_s}: not shorter than the time limit of {self.time_minutes} minutes",
                "Pilots would stop claiming as soon as they start: lower warn_s, or raise time_minutes.",
                "",
                "warn_s",
            )
        for key in ("max_pilots", "charged_attempts"):
            if getattr(self, key) < 1:
                raise ProfileError(f"{key}: must be at least 1", "Write 1 or more.", "", key)

        if self.max_memory_mb and self.memory_mb > self.max_memory_mb:
            raise ProfileError(
                f"memory_mb = {self.memory_mb}: more than max_memory_mb = {self.max_memory_mb}",
                "Lower the one or raise the other.",
                "",
                "memory_mb",
            )
        try:
            shlex.split(self.container)
        except ValueError as error:
            raise ProfileError(
                f"container = {self.container!r}: {error}", "Quote it as for a shell.", "", "container"
            ) from error

    @property
    def container_words(self) -> tuple[str, ...]:
        """What is put before each program, as an argv."""
        return tuple(shlex.split(self.container))

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions that are allowed; empty for the scheduler's default."""
        return tuple(part.strip() for part in self.partition.split(",") if part.strip())

    def to_json(self) -> dict[str, Any]:
        """Return the plain form, as batch.json keeps it."""
        return dataclasses.asdict(self)


def config_directory() -> Path:
    """Return the user's configuration directory of crh-batch (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "crh-batch"


def profile_files(root: str) -> list[Path]:
    """Return where profiles are looked for, the winning one last."""
    return [Path("/etc/crh-batch/profile.toml"), config_directory() / "profile.toml", Path(root) / SURVEY_FILE]


def load_profile(root: str, **overrides: Any) -> Profile:
    """Read the profile that holds for a survey.

    Args:
        root: the survey's directory.
        overrides: keys from the command line; None means not given.

    Raises:
        ProfileError: a file can't be read, has an unknown key (the nearest known one is named) or a wrong value.
    """
    values: dict[str, Any] = {}
    for path in profile_files(root):
        values.update(_read(path))
    values.update({key: value for key, value in overrides.items() if value is not None})
    return Profile(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = tomllib.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: can't be read: {error}", "Mend the file.", str(path)) from error
    return {key: _checked(path, key, value) for key, value in data.items()}


def _checked(path: Path, key: str, value: Any) -> Any:
    known = {one.name: one for one in dataclasses.fields(Profile)}
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Known keys: " + ", ".join(known) + "."
        raise ProfileError(f"{path}: unknown key {key}", hint, str(path), key)
    default = () if known[key].default is dataclasses.MISSING else known[key].default
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(line, str) for line in value):
        return tuple(value)
    if type(value) is not type(default):
        kind = {str: "a text", int: "a whole number", bool: "true or false", tuple: "a list of texts"}[type(default)]
        raise ProfileError(f"{path}: {key} = {value!r}: must be {kind}", "Mend the value.", str(path), key)
    return value
