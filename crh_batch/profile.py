"""A cluster's settings: the keys, what each means, and what may stand there. Files: profile_files.py."""

from __future__ import annotations

import dataclasses
import difflib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from crh_batch.errors import ProfileError

# Keys that take one of some words; the empty one is found out.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "scheduler": ("", "slurm", "sge", "local"),
    "memory": ("mem", "mem-per-cpu", "none"),
}
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

    on: str = _key(
        "", "cluster to work on over SSH, as --on says it; several with commas; this machine's scheduler when empty"
    )
    host: str = _key("", "login node of the cluster, as ssh knows it; the name that --on gives when empty")
    roots: tuple[str, ...] = _key(
        [],
        "directories that both this machine and the cluster see, as HERE:THERE; a survey below none is sent there",
    )
    stage: str = _key(
        "",
        "directory there that surveys are sent to; crh-batch-stages in $SCRATCH there, or in the home, when empty",
    )
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
    interface: str = _key(
        "", "network interface by which dask workers reach their scheduler (ib0, eth1); found out when empty"
    )
    setup: tuple[str, ...] = _key([], "shell lines that run before the pilot: module load ...")
    extra_directives: tuple[str, ...] = _key([], "lines added to the job script's head: #SBATCH ... or #$ ...")
    crmod: str = _key("", "path of CRMod; found out when empty")
    crtomo: str = _key("", "path of CRTomo; found out when empty")
    container: str = _key("", "words put before each program: apptainer exec --bind /scratch /images/crtomo.sif")
    share_group: str = _key(
        "", "group, by name or number, that new batches are shared with, and whose members you trust; none when empty"
    )
    charged_attempts: int = _key(3, "attempts that may crash, run out of memory or be lost before a tomodir has failed")

    def __post_init__(self) -> None:
        """Refuse values that can't be used.

        Raises:
            ProfileError: which key, and what may stand there.
        """
        for check in (_check_texts, _check_choices, _check_numbers, _check_places, _check_together):
            check(self)

    @property
    def container_words(self) -> tuple[str, ...]:
        """What is put before each program, as an argv."""
        return tuple(shlex.split(self.container))

    @property
    def is_inside_container(self) -> Mapping[str, bool]:
        """For CRMod and CRTomo: whether its path is one inside the container, which nobody can look at from here."""
        return {
            name: bool(self.container) and os.path.isabs(path)
            for name, path in (("CRMod", self.crmod), ("CRTomo", self.crtomo))
        }

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions that are allowed; empty for the scheduler's default."""
        return tuple(part.strip() for part in self.partition.split(",") if part.strip())

    @property
    def clusters(self) -> tuple[str, ...]:
        """The clusters to work on over SSH; empty for this machine."""
        return tuple(name.strip() for name in self.on.split(",") if name.strip())

    @property
    def root_pairs(self) -> tuple[tuple[str, str], ...]:
        """Directories that both machines see: the path here, and the path there; the longest one here first."""
        pairs = [one.partition(":") for one in self.roots]
        normal = [(os.path.normpath(here), os.path.normpath(there)) for here, _, there in pairs]
        return tuple(sorted(normal, key=lambda pair: -len(pair[0])))

    def to_json(self) -> dict[str, Any]:
        """Return the plain form, as batch.json keeps it."""
        return dataclasses.asdict(self)


def _refuse(key: str, what: str, hint: str) -> NoReturn:
    raise ProfileError(f"{key}{what}", hint, "", key)


def _check_texts(profile: Profile) -> None:
    for one in dataclasses.fields(profile):
        value = getattr(profile, one.name)
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and ("\n" in text or "\r" in text or "\0" in text):
                _refuse(one.name, ": a line break can't stand in a value", "Write one line.")
    # They go into one line of the job script each; a blank would begin another option there.
    for key in ("partition", "account", "qos", "memory_resource", "parallel_environment"):
        words = getattr(profile, key).split(",") if key == "partition" else [getattr(profile, key)]
        for word in words:
            if len(word.split()) > 1:
                _refuse(key, f" = {getattr(profile, key)!r}: has a blank in a name", "Write one name.")
    try:
        shlex.split(profile.container)
    except ValueError as error:
        raise ProfileError(
            f"container = {profile.container!r}: {error}", "Quote it as for a shell.", "", "container"
        ) from error


def _check_choices(profile: Profile) -> None:
    for key, values in CHOICES.items():
        value = getattr(profile, key)
        if value not in values:
            near = difflib.get_close_matches(value, values, n=1)
            meant = f" Did you mean {near[0]!r}?" if near and near[0] else ""
            _refuse(key, f" = {value!r}: not known", "Known: " + ", ".join(map(repr, values)) + "." + meant)


def _check_numbers(profile: Profile) -> None:
    for key in _NOT_NEGATIVE:
        if getattr(profile, key) < 0:
            _refuse(key, f" = {getattr(profile, key)}: must not be negative", "Write 0 or more.")
    for key in ("max_pilots", "charged_attempts"):
        if getattr(profile, key) < 1:
            _refuse(key, f" = {getattr(profile, key)}: must be at least 1", "Write 1 or more.")


def _check_places(profile: Profile) -> None:
    if profile.stage and not profile.stage.startswith(("/", "~/")):
        _refuse("stage", f" = {profile.stage!r}: not an absolute path", 'Write "/scratch/me/stages" or "~/stages".')
    for one in profile.roots:
        here, _, there = one.partition(":")
        if not (os.path.isabs(here) and os.path.isabs(there)) or ":" in there:
            _refuse("roots", f" = {one!r}: not two absolute paths", 'Write "/path/here:/path/there".')


def _check_together(profile: Profile) -> None:
    """Refuse keys that contradict each other, be they from one file or from several."""
    if profile.time_minutes and profile.warn_s >= 60 * profile.time_minutes:
        _refuse(
            "warn_s",
            f" = {profile.warn_s}: not shorter than the time limit of {profile.time_minutes} minutes",
            "Pilots would stop claiming as soon as they start: lower warn_s, or raise time_minutes.",
        )
    if profile.max_memory_mb and profile.memory_mb > profile.max_memory_mb:
        _refuse(
            "memory_mb",
            f" = {profile.memory_mb}: more than max_memory_mb = {profile.max_memory_mb}",
            "Lower the one or raise the other.",
        )
    if profile.cores and profile.max_threads > profile.cores and profile.whole_nodes:
        _refuse(
            "max_threads",
            f" = {profile.max_threads}: more than the {profile.cores} cores of a job (cores)",
            "Lower the one or raise the other.",
        )
