"""Promise: the small commands tell of batches that run elsewhere what they tell of others, and which part is where."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import crh_batch.engines.wait
import crh_batch.verify.compare
from crh_batch.hosts import reach
from crh_batch.ledger import arbiter
from crh_batch.ledger.arbiter import arbitrate
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.registration import register
from crh_batch.ledger.session import Session
from crh_batch.ledger.submissions import Submission, record_intent, record_submitted
from unit.cli.conftest import Run
from unit.hosts.pipe_host import PipeHost
from unit.ledger.making import INVERSION, begin, claim, dead_process, finish, write_files
from unit.mirror.staged import Staged, make_staged

pytestmark = pytest.mark.usefixtures("no_scheduler")
OUTPUT = "iteration 3 of the far one"


class Net:
    """The machines that can be reached; each has a queue of its own, in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.down: set[str] = set()
        self.made: list[PipeHost] = []

    def connect(self, name: str, asker: object) -> PipeHost:
        """As SshHost is made: nothing is connected to yet."""
        tools = self.root / name
        tools.mkdir(parents=True, exist_ok=True)
        squeue = tools / "squeue"
        if not squeue.exists():
            (tools / "queue").touch()
            squeue.write_text(f'#!/bin/sh\ncat "{tools}/queue"\n')
            squeue.chmod(0o755)
        host = PipeHost(name, env={"PATH": f"{tools}:/usr/bin:/bin"})
        host.is_down = name in self.down
        self.made.append(host)
        return host

    def queue(self, submission: Submission, state: str) -> None:
        """Let a queue tell the state of a job."""
        line = f"{submission.job_id}_0|{state}|crh-{submission.token}|None\n"
        (self.root / submission.host / "queue").write_text(line)

    @property
    def lines(self) -> int:
        """How many connections were made."""
        return sum(one.lines for one in self.made)


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    net = Net(tmp_path / "net")
    monkeypatch.setattr("crh_batch.hosts.ssh.SshHost", net.connect)
    monkeypatch.setattr(crh_batch.verify.compare, "_PAUSE_S", 0.01)
    monkeypatch.setattr(crh_batch.verify.compare, "is_of_this_machine", lambda place: True)
    before = arbiter._find
    yield net
    arbitrate(before)
    reach.close_all()


@pytest.fixture
def survey(tmp_path: Path, net: Net) -> Callable[..., Staged]:
    """Make a batch as submit leaves it: sent, and for each cluster a job."""

    def make(count: int, parts: int = 1) -> Staged:
        staged = make_staged(tmp_path, count, parts=parts)
        staged.close()
        paths = staged.batch.paths
        program = {"path": "/sw/CRTomo", "sha256": "2", "source": "far1:/sw/CRTomo"}
        said = json.loads(Path(paths.settings).read_text())
        Path(paths.settings).write_text(json.dumps({**said, "programs": {"CRMod": program, "CRTomo": program}}))
        Path(paths.pilot).write_bytes(b"pilot")
        for item in staged.batch.items:
            tomodir = staged.batch.tomodir(item)
            write_files(Path(tomodir), dict.fromkeys(INVERSION["inputs"], b"x"))
            assert register(tomodir, paths, item.item_id, this_process(), "inv") is None
        return staged

    return make


def submitted(net: Net, staged: Staged, number: int, state: str) -> Submission:
    """A job for a stage."""
    paths, host = staged.batch.paths, staged.stages[number - 1].host
    one = record_submitted(paths, record_intent(paths, "slurm", 0, 1, host=host, stage=number), str(10 + number))
    net.connect(host, None)
    net.queue(one, state)
    return one


def finished(staged: Staged, number: int, part: int = 0) -> None:
    """A result there."""
    there = staged.there[part]
    pilot = begin(there, who=dead_process())
    claim(there, pilot, number)
    provenance = json.dumps({"schema": 1, "batch": there.batch_id, "id": number}).encode()
    files = {"inv/inv.ctr": b"x", "exe/crh.inversion.out": OUTPUT.encode(), "exe/crh.json": provenance}
    finish(there, number, files, session=pilot)


def here(staged: Staged) -> str:
    return staged.batch.paths.root


# ------------------------------------------------------------------ status, show


def test_status_when_it_is_split_then_where_and_where_nobody_is(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(5, parts=2)
    submitted(net, staged, 1, "RUNNING")
    submitted(net, staged, 2, "TIMEOUT")
    finished(staged, 0)
    said = run("status", cwd=here(staged))
    assert said.code == 0
    assert "on far1: 3 tomodirs (1 finished), on far2: 2 tomodirs\n" in said.out
    assert "lives on far2, where 2 tomodirs are left: crh-batch --on far2 submit starts some" in said.err
    assert "on far1" not in said.err


def test_status_when_scripts_ask_then_the_counts_of_each_cluster(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(3, parts=2)
    finished(staged, 0)
    said = json.loads(run("status", "--json", "--all", cwd=here(staged)).out)
    one, other = said["clusters"]
    assert (one["on"], one["host"], one["counts"]["done"], one["counts"]["ready"]) == ("far1", "far1", 1, 1)
    assert (other["on"], other["counts"]["done"], other["counts"]["ready"]) == ("far2", 0, 1)
    assert one["seen"] > 1e9
    assert [row["on"] for row in said["tomodirs"]] == ["far1", "far2", "far1"]


def test_status_when_a_cluster_is_silent_then_what_was_known_and_since_when(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(2)
    finished(staged, 0)
    assert run("status", cwd=here(staged)).code == 0
    finished(staged, 1)
    net.down.add("far1")
    said = run("status", cwd=here(staged))
    assert said.code == 0
    assert "far1: can't be reached" in said.err and "this is what was known at " in said.err
    assert "(1 finished)" in said.out


def test_status_when_all_is_collected_then_no_cluster_is_asked(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(2)
    finished(staged, 0)
    finished(staged, 1)
    assert run("collect", cwd=here(staged)).code == 0
    before = net.lines
    assert run("status", cwd=here(staged)).code == 0
    assert run("collect", cwd=here(staged)).code == 0
    assert net.lines == before > 0


def test_show_when_it_runs_elsewhere_then_on_which_cluster(run: Run, net: Net, survey: Callable[..., Staged]) -> None:
    staged = survey(3, parts=2)
    finished(staged, 1, part=1)
    said = run("show", "td1", cwd=here(staged))
    assert said.out.startswith(f"td1: done in batch {staged.batch.batch_id} on far2\n")
    assert json.loads(run("show", "--json", "td1", cwd=here(staged)).out)["on"] == "far2"


# ------------------------------------------------------------------ log


def test_log_when_the_result_is_elsewhere_then_its_pack_alone_is_fetched(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(3)
    finished(staged, 0)
    finished(staged, 1)
    said = run("log", "td1", cwd=here(staged))
    assert (said.code, said.out.count(OUTPUT)) == (0, 1)
    assert len(os.listdir(staged.batch.paths.packs)) == 1
    # What is here needs nobody.
    net.down.add("far1")
    assert OUTPUT in run("log", "td1", cwd=here(staged)).out
    said = run("log", "td0", cwd=here(staged))
    assert (said.code, said.out) == (3, "")
    assert "far1: can't be reached" in said.err


def test_collect_when_a_cluster_is_silent_then_it_is_said_once(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(3, parts=2)
    finished(staged, 0)
    assert run("status", cwd=here(staged)).code == 0
    net.down.add("far2")
    said = run("collect", cwd=here(staged))
    assert said.code == 3
    assert said.err.count("far2: can't be reached") == 1
    assert "1 result put in place" in said.err


def test_log_when_the_stage_is_gone_then_it_says_so(run: Run, net: Net, survey: Callable[..., Staged]) -> None:
    staged = survey(2)
    finished(staged, 0)
    assert run("status", cwd=here(staged)).code == 0
    shutil.rmtree(staged.stages[0].top)
    said = run("log", "td0", cwd=here(staged))
    assert said.code == 3
    assert "isn't there any more" in said.err and "Traceback" not in said.err


def test_status_when_a_stage_is_gone_then_it_doesn_t_say_to_start_pilots_there(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(2, parts=2)
    shutil.rmtree(staged.stages[0].top)
    said = run("status", cwd=here(staged)).err
    assert "crh-batch cancel, then submit again" in said
    assert "--on far1 submit" not in said and "--on far2 submit" in said


def test_wait_when_nobody_is_left_then_the_ends_of_logs_are_brought(
    run: Run, net: Net, survey: Callable[..., Staged], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crh_batch.engines.wait, "_FIRST_LOOK_S", 0.0)
    staged = survey(2, parts=2)
    for number, words in ((1, "slurmstepd: error: out of luck"), (2, "python3: not found")):
        job = submitted(net, staged, number, "TIMEOUT")
        logs = Path(staged.there[number - 1].paths.logs, job.token)
        logs.mkdir()
        (logs / "0.log").write_text(f"{words}\n")
    said = run("wait", cwd=here(staged))
    assert said.code == 3
    assert "slurmstepd: error: out of luck" in said.err and "python3: not found" in said.err


# ------------------------------------------------------------------ verify


def verified(run: Run, staged: Staged, *arguments: str) -> tuple[int, dict[str, Any], str]:
    said = run("verify", "--json", *arguments, cwd=here(staged))
    return said.code, json.loads(said.out)["parts"][0], said.err


def test_verify_when_a_stage_is_unreadable_then_it_says_so_and_others_do(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(2)
    Path(staged.stages[0].directory, "stage.json").write_text("{")
    code, part, _ = verified(run, staged)
    assert (code, [one["kind"] for one in part["odd"]]) == (1, ["stage-unreadable"])
    for command in (("status",), ("collect",), ("show", "td0"), ("hold",), ("report",)):
        said = run(*command, cwd=here(staged))
        assert said.code == 3, command
        assert "stage.json: can't be read" in said.err and "Traceback" not in said.err
    said = run("prune", cwd=here(staged))
    assert said.code == 0 and "stage.json: can't be read" in said.out


def test_verify_when_a_cluster_is_silent_then_fix_mends_nothing(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(2)
    pilot = begin(staged.there[0], who=dead_process())
    claim(staged.there[0], pilot, 0)
    assert verified(run, staged)[0] == 1
    net.down.add("far1")
    code, part, err = verified(run, staged)
    # Nobody can say that the rest is well.
    assert (code, [one["kind"] for one in part["odd"]]) == (3, ["claim-of-the-dead"])
    assert "this is what was known at " in err
    code, part, err = verified(run, staged, "--fix")
    assert (code, part["mended"]) == (3, [])
    assert "far1: can't be reached" in err
    net.down.clear()
    code, part, _ = verified(run, staged, "--fix")
    assert (code, [one["kind"] for one in part["mended"]], part["odd"]) == (0, ["claim-of-the-dead"], [])


def test_verify_when_a_name_differs_then_it_comes_to_say_so(run: Run, net: Net, survey: Callable[..., Staged]) -> None:
    staged = survey(2)
    claim(staged.there[0], begin(staged.there[0], who=dead_process()), 0)
    other = Session.begin(staged.batch.paths, "client").token
    os.symlink(f"../../sessions/{other}.crh", staged.batch.paths.name(0, "claim.001"))
    claim(staged.there[0], begin(staged.there[0], "later", who=dead_process()), 1)
    said = run("status", cwd=here(staged))
    assert said.code == 3 and "Traceback" not in said.err
    code, part, _ = verified(run, staged)
    assert (code, part["odd"][0]["kind"]) == (1, "name-differs")
    assert other in part["odd"][0]["says"]


# ------------------------------------------------------------------ prune


def test_prune_when_a_batch_is_collected_then_its_stages_go_too(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(2, parts=2)
    finished(staged, 0)
    finished(staged, 1, part=1)
    assert run("collect", cwd=here(staged)).code == 0
    tops = [stage.top for stage in staged.stages]
    said = run("prune", cwd=here(staged))
    assert f", and {tops[0]} on far1, and {tops[1]} on far2\n" in said.out
    net.down.add("far2")
    said = run("prune", "--yes", cwd=here(staged))
    assert "far2: can't be reached" in said.out and said.out.startswith("keep ")
    assert all(os.path.isdir(top) for top in tops)
    net.down.clear()
    said = run("prune", "--yes", "--json", cwd=here(staged))
    (one,) = json.loads(said.out)["batches"]
    assert one["clusters"] == [{"on": "far1", "directory": tops[0]}, {"on": "far2", "directory": tops[1]}]
    assert not any(os.path.lexists(place) for place in (*tops, staged.batch.paths.directory))


def test_prune_when_only_packs_go_then_they_are_not_fetched_again(
    run: Run, net: Net, survey: Callable[..., Staged]
) -> None:
    staged = survey(3)
    finished(staged, 0)
    assert run("collect", cwd=here(staged)).code == 1
    # One that crashed and is given up: its output would come again.
    pilot = begin(staged.there[0], who=dead_process())
    claim(staged.there[0], pilot, 1)
    length = Path(staged.there[0].paths.pack(pilot.token)).write_bytes(b"output")
    pilot.append("fail", id=1, attempt=1, failure="crash", record={"offset": 0, "length": length, "sha256": "0" * 64})
    assert pilot.win(1, "fail.001.crash", "symlink")
    run("collect", cwd=here(staged))
    assert run("cancel", "td1", cwd=here(staged)).code == 0
    assert len(os.listdir(staged.batch.paths.packs)) == 2
    assert run("prune", "--packs", "--yes", cwd=here(staged)).code == 0
    assert os.listdir(staged.batch.paths.packs) == [f"{pilot.token}.pack"]
    finished(staged, 2)
    run("collect", cwd=here(staged))
    assert len(os.listdir(staged.batch.paths.packs)) == 2
