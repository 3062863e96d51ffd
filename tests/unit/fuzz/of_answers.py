"""Readers of what commands of schedulers answer, with answers that were recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crh_batch.errors import CrhBatchError
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers import sge, sge_capacity, sge_queue, sge_site, slurm, slurm_capacity, slurm_site
from crh_batch.schedulers.sge_usage import SgeUsage
from crh_batch.schedulers.slurm_usage import SlurmUsage
from unit.fuzz.reader import Reader

RECORDED = Path(__file__).parents[2] / "recorded"


def of_answers() -> list[Reader]:
    tokens = sorted({"20261122k3f9", "abc", *_tokens()})
    profile = Profile(memory_resource="h_vmem")

    def answer(read: Callable[[Completed], object]) -> Callable[[bytes], object]:
        def reading(data: bytes) -> object:
            # As hosts/this_machine.py decodes it; the last byte decides on the exit status, for some look there first.
            said = data.decode("utf-8", "replace")
            status = (0, 0, 0, 0, 1, -9, None)[len(data) % 7]
            return read(Completed(("x",), status, said, said if status != 0 else ""))

        return reading

    def sacct(done: Completed) -> object:
        return slurm.parse_sacct(done), SlurmUsage().parse(done, tokens)

    def qacct(done: Completed) -> object:
        return sge_queue.parse_qacct(done, tokens), SgeUsage().parse(done, tokens, "h_vmem")

    def slurm_config(done: Completed) -> object:
        other = Completed((), 0, "", "")
        return slurm_site.parse_max_array_size(done), slurm_site.parse_site([done, other, other], "anna")

    def sinfo(done: Completed) -> object:
        return slurm_site.parse_partitions(done), slurm.Slurm().parse_limits([_SLURM_CONFIG, done], profile)

    def qconf(done: Completed) -> object:
        texts = (
            sge_site.parse_environment(done),
            sge_site.parse_memory_resources(done),
            sge_site.parse_queues(done, done),
        )
        sge.environments_of(done, texts[2])
        sge.Sge().parse_limits([_SGE_CONFIG, done, done, done], profile)
        sge_site.parse_max_array_size(sge_site.parse_config(done))
        return texts, sge_site.parse_site([done] * 7 + [done], "anna")

    return [
        Reader(
            "sbatch",
            _recorded("slurm/sbatch-"),
            answer(slurm.parse_submitted),
            (CrhBatchError,),
            ("schedulers.slurm.parse_submitted",),
        ),
        Reader(
            "squeue",
            _recorded("slurm/squeue-"),
            answer(slurm.parse_squeue),
            (CrhBatchError,),
            ("schedulers.slurm.parse_squeue", "schedulers.base.expand_tasks"),
        ),
        Reader(
            "sacct",
            _recorded("slurm/sacct-"),
            answer(sacct),
            (CrhBatchError,),
            (
                "schedulers.slurm.parse_sacct",
                "schedulers.slurm_usage.parse_time",
                "schedulers.slurm_usage.parse_duration",
                "schedulers.slurm_usage.parse_bytes",
                "schedulers.slurm_usage.parse_requested",
            ),
        ),
        Reader(
            "sinfo",
            _recorded("sites/slurm-partitions"),
            answer(sinfo),
            (CrhBatchError,),
            ("schedulers.slurm_site.parse_partitions", "schedulers.slurm_site.parse_minutes"),
        ),
        Reader(
            "scontrol and sacctmgr",
            [*_recorded("sites/slurm-config"), *_recorded("sites/slurm-associations")],
            answer(slurm_config),
            (CrhBatchError,),
            (
                "schedulers.slurm_site.parse_config",
                "schedulers.slurm_site.parse_max_array_size",
                "schedulers.slurm_site.parse_site",
            ),
        ),
        Reader(
            "sinfo by node",
            _recorded("sites/slurm-capacity"),
            answer(lambda done: slurm_capacity.parse_capacity(done, [])),
            (CrhBatchError,),
            ("schedulers.slurm_capacity.parse_capacity",),
        ),
        Reader(
            "qhost for what is idle",
            [*_recorded("sge/qhost-"), *_recorded("sites/sge-hosts"), *_recorded("sites/sge-capacity")],
            answer(lambda done: sge_capacity.parse_capacity(done, ["work@n1", "short"])),
            (CrhBatchError,),
            ("schedulers.sge_capacity.parse_capacity",),
        ),
        Reader(
            "qsub",
            _recorded("sge/qsub-"),
            answer(sge.parse_submitted),
            (CrhBatchError,),
            ("schedulers.sge.parse_submitted",),
        ),
        Reader(
            "qstat",
            _recorded("sge/qstat-"),
            answer(lambda done: sge_queue.parse_qstat(done, tokens)),
            (CrhBatchError,),
            ("schedulers.sge_queue.parse_qstat", "schedulers.sge_words.parse_xml"),
        ),
        Reader("qstat -j", _recorded("sge/qstat-j"), answer(sge_queue.stuck_tasks), (CrhBatchError,)),
        Reader(
            "qacct",
            _recorded("sge/qacct-"),
            answer(qacct),
            (CrhBatchError,),
            (
                "schedulers.sge_queue.parse_qacct",
                "schedulers.sge_usage.parse_time",
                "schedulers.sge_usage.parse_number",
                "schedulers.sge_usage.parse_bytes",
            ),
        ),
        Reader(
            "qconf and qhost",
            [*_recorded("sge/qconf-"), *_recorded("sge/qhost-"), *_recorded("sites/sge-")],
            answer(qconf),
            (CrhBatchError,),
            tuple(
                f"schedulers.sge_site.{name}"
                for name in (
                    "parse_config",
                    "parse_environment",
                    "parse_max_array_size",
                    "parse_megabytes",
                    "parse_minutes",
                    "parse_memory_resources",
                    "parse_queues",
                    "parse_site",
                )
            ),
        ),
    ]


_SLURM_CONFIG = Completed((), 0, "MaxArraySize = 1001\n", "")
_SGE_CONFIG = Completed((), 0, "max_aj_tasks 75000\n", "")


def _recorded(prefix: str) -> list[bytes]:
    directory, _, start = prefix.partition("/")
    found = {
        path.read_bytes()
        for case in sorted((RECORDED / directory).glob(f"{start}*"))
        for path in (case / "stdout", case / "stderr")
    }
    return sorted(found - {b""}, key=lambda data: (len(data), data))


def _tokens() -> list[str]:
    """Return the tokens of the recorded jobs, so that their rows are not passed over."""
    words = (
        b" ".join([*_recorded("slurm/s"), *_recorded("sge/q")])
        .replace(b"|", b" ")
        .replace(b"<", b" ")
        .replace(b">", b" ")
    )
    return sorted({word[4:].decode() for word in words.split() if word.startswith(b"crh-")})
