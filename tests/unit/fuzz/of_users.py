"""Readers of what users write, and of what is remembered for them."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

from crh_batch.engines import history_file
from crh_batch.errors import HostError, ProfileError, UsageError
from crh_batch.hosts.ssh_options import read_options
from crh_batch.pilot.job import parse_time_left, surroundings
from crh_batch.plan.selection import parse_selection
from crh_batch.plan.shares import parse_shares
from crh_batch.plan.wishes import parse_deadline, parse_priorities
from crh_batch.profile_files import load_profile
from unit.fuzz.reader import Reader


def of_users(scratch: Path) -> list[Reader]:
    root = scratch / "profiles"
    root.mkdir()
    own = history_file.history_path()
    own.parent.mkdir(parents=True, exist_ok=True)
    profile = b'scheduler = "slurm"\ntime_minutes = 30\nsetup = ["module load gcc"]\nwhole_nodes = true\n'
    profile += b'container = "apptainer exec \'a b.sif\'"\npartition = "a, b"\n'
    ssh_config = (
        b"Host login\n  HostName 10.0.0.1\n  Port 2222\n  User anna\n  ProxyJump a@b:22,c\n  IdentityFile ~/%r\n"
    )
    ssh_config += (
        b'Host *\n  ServerAliveInterval 5\n  UserKnownHostsFile ~/a /b\n  IdentitiesOnly yes\nInclude "a b" *.c\n'
    )
    run = b'{"batch":"20261122-101500-aaaa","stage":"inversion","dims":"2.5D","wavenumbers":9,"threads":5,'
    run += b'"size":{"nodes":100,"parameters":80,"electrodes":10,"bandwidth":12,"data":40,"dc":true},"wall_s":5.5,'
    run += b'"peak_bytes":9}\n'

    def load(data: bytes) -> object:
        (root / "crh-batch.toml").write_bytes(data)
        return load_profile(str(root)).to_json()

    def past(data: bytes) -> object:
        own.write_bytes(data)
        found = history_file.read_history()
        history_file.unreadable_lines()
        return found.runs, found.accuracy()

    def times(data: bytes) -> object:
        text = data.decode("utf-8", "surrogateescape")
        first, *more = text.split("\n")
        keys = (
            "SLURM_JOB_ID",
            "SLURM_ARRAY_JOB_ID",
            "SLURM_ARRAY_TASK_ID",
            "SLURM_RESTART_COUNT",
            "SLURM_JOB_END_TIME",
        )
        surroundings(dict(zip(keys, more)), 1)
        surroundings(dict(zip(("JOB_ID", "SGE_TASK_ID", "RESTARTED"), more)), 1)
        return parse_time_left(first)

    def options(data: bytes) -> object:
        text = data.decode("utf-8", "surrogateescape")
        with warnings.catch_warnings():
            # Of regular expressions that may mean something else in a later Python.
            warnings.simplefilter("ignore")
            parse_all(text)
        return None

    def ssh(data: bytes) -> object:
        (root / "ssh_config").write_bytes(data)
        return read_options("login", config_file=str(root / "ssh_config"))

    def parse_all(text: str) -> None:
        for parse in (
            parse_selection,
            lambda one: parse_deadline(one, 1e9),
            lambda one: parse_priorities([one]),
            lambda one: parse_shares(one, ["a", "b"]),
        ):
            with contextlib.suppress(UsageError):
                parse(text)

    return [
        Reader("profile", [profile, b'profile = "x"\n'], load, (ProfileError,), ("profile_files.load_profile",)),
        Reader("ssh", [ssh_config], ssh, (HostError,), ("hosts.ssh_options.read_options",)),
        Reader("history", [run, run * 3], past, (), ("engines.history_file.read_history",)),
        Reader(
            "job times",
            [b"1-02:03:04\n5\n6\n7\n1\n1795367408", b"30:00\n", b"UNLIMITED"],
            times,
            (),
            ("pilot.job.parse_time_left",),
        ),
        Reader(
            "options",
            [b"1-5,7", b"all", b"2026-11-30 12:00", b"+2h", b"td.*=5", b"3", b"a=2,b=1"],
            options,
            (),
            (
                "plan.selection.parse_selection",
                "plan.wishes.parse_deadline",
                "plan.wishes.parse_priorities",
                "plan.shares.parse_shares",
            ),
        ),
    ]
