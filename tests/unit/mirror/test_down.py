"""What a stage's ledger has comes here: names, sessions, packs; each once, and never a name without its session."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import HostError, LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.pack import Record, open_record
from crh_batch.ledger.session import Session, read_events
from crh_batch.mirror import taking
from crh_batch.mirror.down import bring_down, fetch_logs
from unit.hosts.pipe_host import PipeHost
from unit.ledger.making import begin, claim, finish, make_names
from unit.mirror.staged import Staged, names_of, packs_of, sessions_of

Make = Callable[..., Staged]


def test_bring_down_when_pilots_have_worked_then_states_are_those_of_there(stage_batch: Make) -> None:
    staged = stage_batch(5)
    pilot = begin(staged.there[0])
    claim(staged.there[0], pilot, 0)
    finish(staged.there[0], 1, {"inv/rho.mag": b"1"})
    assert bring_down(staged.stages[0], staged.far[0]) > 0
    found = dict(states(staged.batch.paths, staged.batch.items.ids, staged.batch.settings))
    assert [found[number].name for number in range(3)] == [StateName.RUNNING, StateName.DONE, StateName.READY]
    assert names_of(staged.batch) == names_of(staged.there[0])
    assert sessions_of(staged.batch) == sessions_of(staged.there[0])
    assert packs_of(staged.batch) == {}


def test_bring_down_when_asked_for_packs_then_each_result_is_here(stage_batch: Make) -> None:
    staged = stage_batch(3)
    session = finish(staged.there[0], 1, {"inv/rho.mag": os.urandom(100_000)})
    totals: list[int] = []
    counts: list[int] = []
    bring_down(staged.stages[0], staged.far[0], packs=True, on_bytes=counts.append, on_total=totals.append)
    assert packs_of(staged.batch) == packs_of(staged.there[0])
    assert totals == [sum(counts)] == [os.path.getsize(staged.there[0].paths.pack(session.token))]
    event = next(event for event in read_events(staged.batch.paths, session.token) if event["event"] == "done")
    record = Record.from_json(session.token, event["record"])
    with open_record(staged.batch.paths.pack(session.token), record) as archive:
        assert archive.getnames() == ["inv/rho.mag"]


def test_bring_down_when_a_pack_ends_with_half_a_record_then_that_is_left(stage_batch: Make) -> None:
    """Its pilot cuts it off when its disk was full, and writes another one there."""
    staged = stage_batch(3)
    session = finish(staged.there[0], 1, {"inv/rho.mag": os.urandom(1000)})
    whole = os.path.getsize(staged.there[0].paths.pack(session.token))
    with open(staged.there[0].paths.pack(session.token), "ab") as pack:
        pack.write(b"half")
    bring_down(staged.stages[0], staged.far[0], packs=True)
    assert os.path.getsize(staged.batch.paths.pack(session.token)) == whole
    assert bring_down(staged.stages[0], staged.far[0], packs=True) < 2000


def test_bring_down_when_nothing_is_new_then_next_to_nothing_goes_over_the_line(stage_batch: Make) -> None:
    staged = stage_batch(1000)
    pilot = begin(staged.there[0])
    for number in range(1000):
        claim(staged.there[0], pilot, number)
    bring_down(staged.stages[0], staged.far[0])
    went = staged.far[0].went
    bring_down(staged.stages[0], staged.far[0])
    assert staged.far[0].went - went < 2000


def test_bring_down_when_another_process_has_brought_all_then_names_are_not_sent_again(stage_batch: Make) -> None:
    staged = stage_batch(1000)
    pilot = begin(staged.there[0])
    for number in range(1000):
        claim(staged.there[0], pilot, number)
    bring_down(staged.stages[0], staged.far[0])
    assert Session.begin(staged.batch.paths, "client").win(0, "collected", "symlink")
    # A new line is what another process has.
    staged.far[0].close()
    forget()
    went = staged.far[0].went
    bring_down(staged.stages[0], staged.far[0])
    assert staged.far[0].went - went < 2000


def forget() -> None:
    """Be another process, as far as is remembered what was brought."""
    from crh_batch.mirror import down, making

    down._complete.clear()
    making._brought.clear()


def test_bring_down_when_there_is_a_little_more_then_only_that_comes(stage_batch: Make) -> None:
    staged = stage_batch(1000)
    pilot = begin(staged.there[0])
    for number in range(999):
        claim(staged.there[0], pilot, number)
    bring_down(staged.stages[0], staged.far[0])
    claim(staged.there[0], pilot, 999)
    went = staged.far[0].went
    bring_down(staged.stages[0], staged.far[0])
    assert staged.far[0].went - went < 2500
    assert names_of(staged.batch) == names_of(staged.there[0])
    assert sessions_of(staged.batch) == sessions_of(staged.there[0])


def test_bring_down_when_a_session_is_not_there_then_its_name_waits(stage_batch: Make) -> None:
    staged = stage_batch(3)
    pilot = begin(staged.there[0])
    hidden = Path(staged.there[0].paths.session(pilot.token))
    claim(staged.there[0], pilot, 0)
    hidden.rename(hidden.with_name(".hidden"))
    bring_down(staged.stages[0], staged.far[0])
    assert names_of(staged.batch) == {}
    hidden.with_name(".hidden").rename(hidden)
    bring_down(staged.stages[0], staged.far[0])
    assert names_of(staged.batch) == names_of(staged.there[0]) != {}


def test_bring_down_when_names_were_taken_and_not_written_then_they_are_taken_again(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage_batch(3)
    pilot = begin(staged.there[0])
    claim(staged.there[0], pilot, 0)
    bring_down(staged.stages[0], staged.far[0])
    claim(staged.there[0], pilot, 1)

    def die(taken: taking.Taken) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(taking.Taken, "write", die)
        bring_down(staged.stages[0], staged.far[0])
    bring_down(staged.stages[0], staged.far[0])
    assert names_of(staged.batch) == names_of(staged.there[0]) != {}


def test_bring_down_when_another_process_does_the_same_then_no_byte_is_here_twice(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage_batch(3)
    claim(staged.there[0], begin(staged.there[0]), 0)
    other = PipeHost("other")
    ask = staged.far[0].ask

    def late(do: str, **what: Any) -> dict[str, Any]:
        answer = ask(do, **what)
        # Between this one's question and its writing another one has been there.
        if do == "tails":
            bring_down(staged.stages[0], other)
        return answer

    monkeypatch.setattr(staged.far[0], "ask", late)
    bring_down(staged.stages[0], staged.far[0])
    other.close()
    assert sessions_of(staged.batch) == sessions_of(staged.there[0])
    assert names_of(staged.batch) == names_of(staged.there[0])


def test_bring_down_when_a_name_differs_then_an_error_names_both(stage_batch: Make) -> None:
    staged = stage_batch(3)
    one, other = begin(staged.there[0]), Session.begin(staged.batch.paths, "client")
    claim(staged.there[0], one, 0)
    claim(staged.there[0], one, 1)
    make_names(staged.batch, "0.claim.001", token=other.token)
    with pytest.raises(LedgerError) as caught:
        bring_down(staged.stages[0], staged.far[0])
    assert one.token in caught.value.message and other.token in caught.value.message


def test_bring_down_when_custody_and_collected_are_there_then_they_stay_there(stage_batch: Make) -> None:
    staged = stage_batch(3)
    client = Session.begin(staged.there[0].paths, "client")
    for mark in ("custody.001", "custody.001.end"):
        assert client.win_for_batch(mark, "symlink")
    assert client.win(0, "collected", "symlink")
    bring_down(staged.stages[0], staged.far[0])
    assert os.listdir(staged.batch.paths.shard(0)) == []
    assert [name for name in os.listdir(staged.batch.paths.names) if name != "000"] == []


def test_bring_down_when_names_lead_elsewhere_then_nothing_is_made(stage_batch: Make) -> None:
    staged = stage_batch(3)
    pilot = begin(staged.there[0])
    shard = staged.there[0].paths.shard(0)
    os.symlink("/etc/passwd", f"{shard}/000000.claim.001")
    os.symlink(f"../../sessions/{pilot.token}.crh", f"{shard}/000001.claim.001 \n'x'")
    os.symlink(f"../../sessions/{pilot.token}.crh", f"{shard}/000077.claim.001")
    os.symlink("../../sessions/../x.crh", f"{shard}/000002.claim.001")
    bring_down(staged.stages[0], staged.far[0])
    assert names_of(staged.batch) == {}


def test_bring_down_when_this_sides_session_is_longer_here_then_it_stays(stage_batch: Make) -> None:
    staged = stage_batch(3)
    client = Session.begin(staged.batch.paths, "client")
    content = Path(staged.batch.paths.session(client.token)).read_bytes()
    Path(staged.there[0].paths.session(client.token)).write_bytes(content)
    client.append("held", id=1)
    longer = sessions_of(staged.batch)
    bring_down(staged.stages[0], staged.far[0])
    assert sessions_of(staged.batch) == longer


def test_bring_down_when_all_of_a_pack_is_collected_then_it_is_not_fetched(stage_batch: Make) -> None:
    staged = stage_batch(4)
    session = finish(staged.there[0], 1, {"inv/rho.mag": b"1" * 1000})
    wanted = finish(staged.there[0], 2, {"inv/rho.mag": b"2" * 1000})
    client = Session.begin(staged.batch.paths, "client")
    assert client.win(1, "collected", "symlink")
    bring_down(staged.stages[0], staged.far[0], packs=True)
    assert session.token not in (name.removesuffix(".pack") for name in packs_of(staged.batch))
    assert list(packs_of(staged.batch)) == [f"{wanted.token}.pack"]


def test_bring_down_when_the_machine_is_down_then_an_error_and_nothing_is_lost(stage_batch: Make) -> None:
    staged = stage_batch(3)
    claim(staged.there[0], begin(staged.there[0]), 0)
    staged.far[0].is_down = True
    with pytest.raises(HostError):
        bring_down(staged.stages[0], staged.far[0])
    staged.far[0].is_down = False
    bring_down(staged.stages[0], staged.far[0])
    assert names_of(staged.batch) == names_of(staged.there[0]) != {}


def test_bring_down_when_nothing_has_arrived_then_nobody_is_asked(stage_batch: Make) -> None:
    staged = stage_batch(3, arrived=False)
    staged.far[0].is_down = True
    assert bring_down(staged.stages[0], staged.far[0]) == 0


def test_bring_down_when_names_there_are_files_then_they_come_as_links(stage_batch: Make) -> None:
    staged = stage_batch(3, links="file")
    pilot = begin(staged.there[0])
    claim(staged.there[0], pilot, 0)
    assert not os.path.islink(staged.there[0].paths.name(0, "claim.001"))
    bring_down(staged.stages[0], staged.far[0])
    assert os.path.islink(staged.batch.paths.name(0, "claim.001"))
    assert names_of(staged.batch) == names_of(staged.there[0])


def test_fetch_logs_when_they_are_long_then_the_ends_of_the_newest_come(stage_batch: Make) -> None:
    staged = stage_batch(1)
    logs = Path(staged.there[0].paths.logs, "token")
    logs.mkdir()
    for number in range(25):
        path = logs / f"slurm-1_{number}.out"
        path.write_bytes(b"x" * 100_000 + b"\xff end of %d" % number if number == 24 else b"short")
        os.utime(path, (number + 1, number + 1))
    fetch_logs(staged.stages[0], staged.far[0], "token")
    here = {path.name: path.read_bytes() for path in Path(staged.batch.paths.logs, "token").iterdir()}
    assert set(here) == {f"slurm-1_{number}.out" for number in range(5, 25)}
    assert here["slurm-1_24.out"].endswith(b"x\xff end of 24") and len(here["slurm-1_24.out"]) == 64 << 10
    assert here["slurm-1_5.out"] == b"short"


def test_fetch_logs_when_there_are_none_then_none_are_here(stage_batch: Make) -> None:
    staged = stage_batch(1)
    fetch_logs(staged.stages[0], staged.far[0], "token")
    assert os.listdir(staged.batch.paths.logs) in ([], ["token"])


def test_bring_packs_when_who_has_the_lock_stands_still_then_it_is_not_waited_for_for_ever(
    stage_batch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was stopped with Ctrl-Z while it fetched."""
    staged = stage_batch(2)
    there = staged.there[0]
    finish(there, 0, {"inv/inv.ctr": b"a result"})
    slept: list[float] = []
    monkeypatch.setattr(durable.calls, "sleep", slept.append)
    with open(os.path.join(staged.stages[0].directory, "fetching"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        bring_down(staged.stages[0], staged.far[0], packs=True)
    assert packs_of(staged.batch) == packs_of(there)
    assert 60 <= sum(slept) < 65
