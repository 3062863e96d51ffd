"""The dask engine on one machine: two sizes of workers, a dashboard, and a port that opens to its key alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Crh, wait_until
from crh_batch.demo import TomodirSpec, write_tomodir
from crh_batch.engines.dask.place import Contact, latest_contact
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.submissions import read_submissions
from gate import Gate

ARGV = (sys.executable, "-m", "crh_batch", "submit", "--engine", "dask", "--local", "-j", "3", "-t", "2")


class Driven:
    """A survey with a foreground driver whose programs wait for a gate."""

    def __init__(self, survey: Path, gate: Gate) -> None:
        self.survey = survey
        self.gate = gate
        self.log = survey.parent / "driver.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(ARGV, cwd=survey, stderr=log, stdin=subprocess.DEVNULL)
        wait_until("the driver says where it is", self._contact_or_end, timeout_s=120)
        assert self.process.poll() is None, self.log.read_text()

    @property
    def batch(self) -> Batch:
        return Batch(batches_of(str(self.survey))[-1])

    def _contact_or_end(self) -> bool:
        return self._contact() is not None or self.process.poll() is not None

    def _contact(self) -> Contact | None:
        return latest_contact(self.batch.paths) if batches_of(str(self.survey)) else None

    @property
    def contact(self) -> Contact:
        found = self._contact()
        assert found is not None
        return found

    def workers(self) -> int:
        logs = Path(self.batch.paths.logs).glob("*/worker.out")
        return sum("at work for" in path.read_text() for path in logs)


@pytest.fixture
def gate(tmp_path: Path, programs: Path) -> Gate:
    return Gate(tmp_path / "gate", programs)


@pytest.fixture
def survey(tmp_path: Path, gate: Gate) -> Path:
    """Two widths of tomodirs behind the gate."""
    directory = tmp_path / "survey"
    for number, dims in enumerate(("2D", "2.5D", "2D")):
        spec = TomodirSpec(dims=dims, electrodes=12, layers=6, inversion=False)  # type: ignore[arg-type]
        write_tomodir(directory / f"td{number}", spec)
    (directory / "crh-batch.toml").write_text(f'scheduler = "local"\n{gate.profile}')
    return directory


@pytest.fixture
def driven(survey: Path, gate: Gate) -> Iterator[Driven]:
    one = Driven(survey, gate)
    yield one
    gate.open()
    one.process.terminate()
    one.process.wait(timeout=60)


def test_two_sizes_work_and_the_dashboard_shows_them(driven: Driven, crh: Crh) -> None:
    wait_until("workers of both sizes have come", lambda: driven.workers() >= 2, timeout_s=120)
    assert {one.cores for one in read_submissions(driven.batch.paths)} == {1, 2}
    link = crh("dashboard", cwd=driven.survey).stdout.strip()
    for page in ("status", "tomodirs"):
        with urllib.request.urlopen(link.replace("status", page), timeout=20) as answer:
            assert answer.status == 200
            assert b"tomodirs" in answer.read(), "the menu names the page of its own"
    driven.gate.open()
    assert driven.process.wait(timeout=90) == 0, driven.log.read_text()
    assert "was not made by" not in crh("verify", cwd=driven.survey).stdout
    said = driven.log.read_text()
    assert "Traceback" not in said and "dashboard: http://127.0.0.1:" in said
    assert json.loads(crh("status", "--json", cwd=driven.survey).stdout)["complete"]


def test_the_scheduler_opens_to_its_key_alone(driven: Driven) -> None:
    from distributed import Client
    from distributed.security import Security

    address = driven.contact.address
    assert address.startswith("tls://")
    host, port = address.removeprefix("tls://").rsplit(":", 1)

    async def join(where: str, security: Security | None) -> int:
        async with Client(where, asynchronous=True, security=security, timeout=5) as client:  # type: ignore[no-untyped-call]
            return len(client.scheduler_info()["workers"])

    with pytest.raises(Exception, match=r"Timed out|in <|handshake|onnect"):
        asyncio.run(join(f"tcp://{host}:{port}", None))
    stranger = Security.temporary()  # type: ignore[no-untyped-call]
    with pytest.raises(Exception, match=r"Timed out|in <|certificate|onnect"):
        asyncio.run(join(address, stranger))
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"\0" * 64)
        plain.settimeout(10)
        try:
            said = plain.recv(4096)
        except ConnectionResetError:
            said = b""
        assert not said or said[0] == 0x15, "nothing, or a TLS alert"

    directory = Path(driven.batch.paths.dask)
    places = list(directory.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in places} == {0o700}
    files = [path for place in places for path in place.iterdir() if not path.is_symlink()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    (key,) = (path.read_text() for path in files if path.name == "key.pem")
    body = key.split("\n")[1]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                assert body.encode() not in Path("/proc", pid, name).read_bytes()
            except OSError:
                continue


def test_ctrl_c_without_a_terminal_leaves_the_workers_to_finish(driven: Driven, crh: Crh) -> None:
    wait_until("workers of both sizes have come", lambda: driven.workers() >= 2, timeout_s=120)
    driven.process.send_signal(signal.SIGINT)
    assert driven.process.wait(timeout=60) == 130
    assert "the workers go on by themselves" in driven.log.read_text()
    driven.gate.open()
    crh("wait", "--timeout", "60", cwd=driven.survey)
    assert json.loads(crh("status", "--json", cwd=driven.survey).stdout)["complete"]
