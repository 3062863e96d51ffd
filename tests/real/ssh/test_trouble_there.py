"""What is wrong on the way to a cluster or on it: one clear message, and once it is mended the same command goes on."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusters.remote_cluster import Laptop, LoginNode, Said
from clusters.ssh_server import make_key
from conftest import wait_until
from crh_batch.demo import write_small_models
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.names import StateName
from crh_batch.ledger.submissions import read_submissions
from crh_batch.report.states import count
from gate import Gate

pytestmark = pytest.mark.slurm

MB = 1_000_000

MakeLaptop = Callable[..., Laptop]


@pytest.fixture
def laptop(slurm_login: LoginNode, make_laptop: MakeLaptop, programs: Path) -> Laptop:
    """A laptop that knows the login node."""
    return make_laptop(slurm_login)


@pytest.fixture
def survey(laptop: Laptop) -> Path:
    """Three small tomodirs on it."""
    directory = laptop.real / "survey"
    write_small_models(directory, 3, data=60, electrodes=16)
    return directory


def submit(laptop: Laptop, survey: Path, code: int = 0) -> Said:
    """Submit from the laptop."""
    return laptop.crh("--on", "levante", "submit", cwd=survey, code=code)


def message(said: Said) -> str:
    """Return the one message with its hint."""
    _, *messages = said.err.split("crh-batch: ")
    assert len(messages) == 1, said
    assert len(messages[0].splitlines()) <= 2, said
    return messages[0]


def finish(laptop: Laptop, survey: Path) -> None:
    """The same command goes on, and each tomodir runs once."""
    submit(laptop, survey)
    laptop.crh("wait", cwd=survey)
    laptop.crh("collect", cwd=survey)
    (directory,) = batches_of(str(survey))
    batch = Batch(directory)
    assert count(batch).counts[StateName.COLLECTED] == 3
    assert len(read_submissions(batch.paths)) == 1
    assert len(list(Path(batch.paths.names).glob("*/*.claim.*"))) == 3


def test_what_is_wrong_before_anything_is_sent_is_said_and_leaves_nothing(
    laptop: Laptop, slurm_login: LoginNode, survey: Path
) -> None:
    for trouble in (unknown_key, changed_key, wrong_user, no_such_host, no_sbatch, no_sbatch_though_named, no_python):
        with trouble(laptop, slurm_login) as (name, words):
            text = message(laptop.crh("--on", name, "submit", cwd=survey, code=3))
            assert name in text and all(word in text for word in words), f"{trouble.__name__}: {text}"
        assert not batches_of(str(survey)), trouble.__name__
        assert not slurm_login.stages.exists(), trouble.__name__
    finish(laptop, survey)


# What is called at the start, and words of the message.
Trouble = Iterator[tuple[str, list[str]]]


@contextmanager
def changed(path: Path, content: str) -> Iterator[None]:
    """Have other content in a file for a while."""
    right = path.read_text()
    path.write_text(content)
    yield
    path.write_text(right)


@contextmanager
def unknown_key(laptop: Laptop, login: LoginNode) -> Trouble:
    """Nobody has logged in there yet."""
    with changed(laptop.ssh.directory / "known_hosts", ""):
        yield "levante", ["SHA256:", "ssh levante"]


@contextmanager
def changed_key(laptop: Laptop, login: LoginNode) -> Trouble:
    """Somebody else answers at its address."""
    make_key(laptop.home / "other")
    other = (laptop.home / "other.pub").read_text()
    with changed(laptop.ssh.directory / "known_hosts", f"{login.server.known_hosts_line().split()[0]} {other}"):
        yield "levante", ["changed"]


@contextmanager
def wrong_user(laptop: Laptop, login: LoginNode) -> Trouble:
    """The user has another name there."""
    with changed(laptop.ssh.config, laptop.ssh.config.read_text()):
        laptop.set_way(login, user="nobody-of-here")
        yield "levante", ["was not let in", "nobody-of-here"]


@contextmanager
def no_such_host(laptop: Laptop, login: LoginNode) -> Trouble:
    """A slip of the pen."""
    yield "no-such.invalid", []


@contextmanager
def no_sbatch(laptop: Laptop, login: LoginNode) -> Trouble:
    """Its module isn't loaded at login."""
    login.set_programs(without=["sbatch"])
    yield "levante", ["no scheduler"]
    login.set_programs()


@contextmanager
def no_sbatch_though_named(laptop: Laptop, login: LoginNode) -> Trouble:
    """The same, and the profile says that there is one."""
    laptop.set_profile("levante", 'scheduler = "slurm"\n')
    login.set_programs(without=["sbatch"])
    yield "levante", ["sbatch"]
    login.set_programs()


@contextmanager
def no_python(laptop: Laptop, login: LoginNode) -> Trouble:
    """Its module isn't loaded at login."""
    login.set_programs(without=["python3"])
    yield "levante", ["python3"]
    login.set_programs()


@contextmanager
def small_filesystem(path: Path, size: int) -> Iterator[None]:
    """A filesystem with little room; the nodes see it too."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def leave_free(filesystem: Path, count: int) -> None:
    """Fill a filesystem but for so many bytes."""
    filler = filesystem / "filler"
    filler.unlink(missing_ok=True)
    filler.write_bytes(b"x" * (shutil.disk_usage(filesystem).free - count))


def test_full_disk_there(laptop: Laptop, survey: Path, tmp_path: Path) -> None:
    stages = tmp_path / "little room"
    laptop.set_profile("levante", f'stage = "{stages}"\n')
    with (survey / "00000" / "td00000" / "grid" / "elem.dat").open("a") as stream:
        stream.write(random.Random(1).randbytes(4 * MB).hex())
    with small_filesystem(stages, 60 * MB):
        # Not enough for the program; for the archive of 5 MB; for what is in it.
        for free in (MB // 10, 3 * MB, 6 * MB):
            leave_free(stages, free)
            text = message(submit(laptop, survey, 3))
            assert text.startswith(f"levante: {stages}/") and "No space left on device" in text
        (stages / "filler").unlink()
        finish(laptop, survey)


def test_wait_goes_on_when_the_login_node_ends_its_session(
    laptop: Laptop, slurm_login: LoginNode, survey: Path, gate: Gate
) -> None:
    laptop.set_profile("levante", gate.profile)
    submit(laptop, survey)
    waiting = laptop.start("wait", cwd=survey)
    log = slurm_login.server.log
    wait_until("wait is logged in", lambda: log.read_text().count("Accepted publickey") >= 2)
    slurm_login.server.cut()
    slurm_login.server.start()
    wait_until("wait is logged in again", lambda: "Accepted publickey" in log.read_text(), timeout_s=60)
    gate.open()
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, (out, err)
    laptop.crh("collect", cwd=survey)
