"""Names, sessions and packs of a batch as the other end sends and makes them."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import HostError
from crh_batch.hosts import remote_ledger
from unit.hosts.answers import unpacked
from unit.hosts.pipe_host import PipeHost

TARGET = "../../sessions/pilot-1.crh"


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    for name in ("names/000", "names/001", "sessions", "packs"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def make(batch: Path, *names: str) -> None:
    for name in names:
        (batch / "names" / name).symlink_to(TARGET)


def taken(far: PipeHost, batch: Path, have: object = None) -> list[str]:
    """Return which names come, in all answers of a round."""
    asked: dict[str, Any] = {"directory": str(batch / "names"), "have": have or {}}
    answer = far.ask("names", sent="first", **asked)
    found = unpacked(answer)
    while answer["more"]:
        answer = far.ask("names", sent="more", **asked)
        found += unpacked(answer)
    assert all(target in (TARGET, "../sessions/c.crh", "as a file") for _, target in found)
    return [name for name, _ in found]


def summed(*names: str) -> list[object]:
    return [len(names), hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()]


# ---- names


def test_names_when_asked_again_then_only_what_is_new_comes(far: PipeHost, batch: Path) -> None:
    make(batch, "000/000001.claim.001", "001/001000.claim.001", "000/000001.custody", "held.001", "custody.001")
    make(batch, "000/000002.collected", "000/.000003.claim.001.abc.part")
    (batch / "names/001/001001.claim.001").write_text("as a file")
    (batch / "names/001/001002.claim.001").touch()  # made by a crash, or not visible yet
    first = ["held.001", "000/000001.claim.001", "000/000001.custody", "001/001000.claim.001", "001/001001.claim.001"]
    assert taken(far, batch) == first
    assert taken(far, batch) == []
    make(batch, "001/001000.done.001")
    (batch / "names/001/001002.claim.001").write_text("as a file")
    assert taken(far, batch) == ["001/001000.done.001", "001/001002.claim.001"]


def test_names_when_the_connection_is_new_then_all_come_again(far: PipeHost, batch: Path) -> None:
    make(batch, "000/000001.claim.001")
    taken(far, batch)
    far.close()
    assert taken(far, batch) == ["000/000001.claim.001"]


def test_names_when_the_client_says_what_it_has_then_that_counts(far: PipeHost, batch: Path) -> None:
    one, two = "000001.claim.001", "000002.claim.001"
    make(batch, f"000/{one}", f"000/{two}", f"001/{one}", "held.001")
    everything = {"": summed("held.001"), "000": summed(one, two), "001": summed(one)}
    assert taken(far, batch, everything) == [], "a shard that it has isn't sent over a new connection"
    assert taken(far, batch, {**everything, "000": summed(one)}) == [f"000/{one}", f"000/{two}"], "it lost one"
    make(batch, "000/000003.claim.001")
    assert taken(far, batch, everything) == ["000/000003.claim.001"], "what it has is what was sent before"


def test_names_when_there_are_many_then_they_come_in_several_answers(far: PipeHost, batch: Path) -> None:
    long = "x" * 200
    names = [f"000/{number:06d}.{long}" for number in range(24_000)]
    make(batch, *names)
    answers = 1
    asked: dict[str, Any] = {"directory": str(batch / "names")}
    answer = far.ask("names", sent="first", **asked)
    found = [name for name, _ in unpacked(answer)]
    make(batch, "001/001000.claim.001")  # comes now or the next time, never never
    while answer["more"]:
        answer = far.ask("names", sent="more", **asked)
        found += [name for name, _ in unpacked(answer)]
        answers += 1
    assert answers == 2
    assert sorted([*found, *taken(far, batch)]) == sorted([*names, "001/001000.claim.001"])


def test_names_when_the_line_breaks_in_a_round_then_nothing_is_left_out(far: PipeHost, batch: Path) -> None:
    names = [f"000/{number:06d}.claim.001" for number in range(500)]
    make(batch, *names)
    for cut in (1, 200, 2000, 4000):
        far.close()
        far.ask("ping")
        far.break_after(cut)
        assert taken(far, batch) == names


def test_names_when_something_else_lies_there_then_it_is_left_out(far: PipeHost, batch: Path) -> None:
    make(batch, "000/000001.claim.001")
    (batch / "names/000/000002.claim.001").mkdir()
    os.mkfifo(batch / "names/000/000003.claim.001")
    assert taken(far, batch) == ["000/000001.claim.001"]


# ---- what only grows


def test_tails_when_files_grow_then_only_what_is_new_comes(far: PipeHost, batch: Path) -> None:
    sessions = batch / "sessions"
    (sessions / "a.crh").write_bytes(b'{"a": "\xc3\xbc"}\n')
    (sessions / "b.crh").write_bytes(b"whole\n")
    for name in (".b.crh.x.part", "c.txt"):
        (sessions / name).touch()
    asked: dict[str, Any] = {"directory": str(sessions), "suffix": ".crh"}
    answer = far.ask("tails", have={"b.crh": 6}, **asked)
    assert (unpacked(answer), answer["more"]) == ([["a.crh", 0, b'{"a": "\xc3\xbc"}\n'.decode("latin-1")]], False)
    answer = far.ask("tails", have={"a.crh": 8, "b.crh": 2}, **asked)
    assert [(name, start, text.encode("latin-1")) for name, start, text in unpacked(answer)] == [
        ("a.crh", 8, b'\xbc"}\n'),
        ("b.crh", 2, b"ole\n"),
    ]
    assert unpacked(far.ask("sizes", **asked)) == {"a.crh": 12, "b.crh": 6}


def test_tails_when_there_is_much_then_each_answer_is_bounded_and_all_comes(far: PipeHost, batch: Path) -> None:
    contents = {f"{number}.crh": os.urandom(number * 100) for number in range(1, 20)}
    for name, content in contents.items():
        (batch / "sessions" / name).write_bytes(content)
    found: dict[str, bytes] = {}
    more = True
    while more:
        have = {name: len(data) for name, data in found.items()}
        answer = far.ask("tails", directory=str(batch / "sessions"), suffix=".crh", have=have, limit=1000)
        more = answer["more"]
        news = unpacked(answer)
        assert 0 < sum(len(text) for _, _, text in news) <= 1000
        for name, start, text in news:
            assert start == len(found.get(name, b""))
            found[name] = found.get(name, b"") + text.encode("latin-1")
    assert found == contents


def test_sizes_when_there_is_no_directory_then_there_are_none(far: PipeHost, batch: Path) -> None:
    asked: dict[str, Any] = {"directory": str(batch / "none"), "suffix": ".crh"}
    assert unpacked(far.ask("sizes", **asked)) == {}
    assert unpacked(far.ask("tails", have={}, **asked)) == []


# ---- winning


def win(far: PipeHost, batch: Path, token: str, names: list[str], links: str = "symlink", text: str = "{}\n") -> object:
    target = f"../../sessions/{token}.crh"
    asked = [[name, target] for name in names]
    return far.ask("win", directory=str(batch), links=links, sessions={token: text}, names=asked)["won"]


@pytest.mark.parametrize("links", ["symlink", "file"])
def test_win_when_asked_again_then_it_is_still_won_and_others_lost(far: PipeHost, batch: Path, links: str) -> None:
    names = ["000/000001.claim.001", "001/001001.claim.001", "held.001"]
    assert win(far, batch, "me", names, links) == [True] * 3
    assert win(far, batch, "me", names, links) == [True] * 3
    assert win(far, batch, "other", [*names, "held.002"], links) == [False] * 3 + [True]
    path = batch / "names" / names[0]
    assert (os.readlink(path) if links == "symlink" else path.read_text()) == "../../sessions/me.crh"
    assert not list((batch / "names").rglob(".*")), "nothing is left of the way there"


@pytest.mark.parametrize("links", ["symlink", "file"])
def test_win_when_two_want_the_same_names_then_each_has_one_winner(far: PipeHost, batch: Path, links: str) -> None:
    names = [f"000/{number:06d}.claim.001" for number in range(2000)]
    other = PipeHost("other")
    for host in (far, other):
        host.ask("ping")
    answers: dict[str, object] = {}
    together = threading.Barrier(2)

    def race(host: PipeHost, token: str) -> None:
        together.wait()
        # In opposite directions they meet in the midst, whatever the start.
        ordered = names if token == "a" else names[::-1]
        won = [won for begin in range(0, 2000, 100) for won in _each(host, ordered[begin : begin + 100], token)]
        answers[token] = won if token == "a" else won[::-1]

    def _each(host: PipeHost, some: list[str], token: str) -> list[bool]:
        won = win(host, batch, token, some, links)
        assert isinstance(won, list)
        return won

    threads = [threading.Thread(target=race, args=one) for one in ((far, "a"), (other, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    of_a, of_b = answers["a"], answers["b"]
    assert isinstance(of_a, list) and isinstance(of_b, list)
    assert [x + y for x, y in zip(of_a, of_b)] == [1] * 2000
    assert 0 < sum(of_a) < 2000, "there was a race"
    assert win(far, batch, "a", names, links) == of_a


def test_win_when_a_session_was_torn_then_it_is_completed_and_never_shortened(far: PipeHost, batch: Path) -> None:
    session = batch / "sessions/me.crh"
    text = '{"a": "ü"}\n{"b": 2}\n'
    for torn in (b"", text.encode()[:8], text.encode()[:-3]):
        session.write_bytes(torn)
        win(far, batch, "me", [], text=text)
        assert session.read_bytes() == text.encode()
    win(far, batch, "me", [], text=text[:5])
    assert session.read_bytes() == text.encode()
    assert session.stat().st_mode & 0o022 == 0


def test_win_when_the_session_there_is_another_then_no_name_is_made(far: PipeHost, batch: Path) -> None:
    (batch / "sessions/me.crh").write_bytes(b"another\n")
    with pytest.raises(HostError, match=r"me\.crh: holds another text"):
        win(far, batch, "me", ["held.001"])
    assert not os.path.lexists(batch / "names/held.001")


@pytest.mark.parametrize("name", ["../out", "/etc/out", "000/../../out", "000/", ""])
def test_win_when_a_name_leads_out_then_it_is_refused(far: PipeHost, batch: Path, name: str) -> None:
    with pytest.raises(HostError, match="is no name of a batch"):
        win(far, batch, "me", [name])
    for token in ("../x", ".x"):
        with pytest.raises(HostError, match="is no session's name"):
            win(far, batch, token, [])


def test_win_when_the_line_breaks_anywhere_then_the_answer_is_what_is_there(far: PipeHost, batch: Path) -> None:
    names = [f"000/{number:06d}.claim.001" for number in range(40)]
    make(batch, *names[::3])
    for cut in range(0, 2500, 250):
        far.break_after(cut)
        won = win(far, batch, "me", names, text='{"x": 1}\n')
        assert won == [number % 3 != 0 for number in range(40)]
    assert (batch / "sessions/me.crh").read_text() == '{"x": 1}\n'


def test_win_when_a_shard_is_missing_then_an_error_names_the_path(far: PipeHost, batch: Path) -> None:
    with pytest.raises(HostError, match=r"names/002/002000\.claim\.001: No such file"):
        win(far, batch, "me", ["002/002000.claim.001"])


@pytest.mark.parametrize("links", ["symlink", "file"])
def test_win_when_a_name_that_existed_is_taken_back_then_it_is_tried_for_again(
    batch: Path, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    """Seen on GlusterFS: refused, because it exists, to all who wanted it, and then not there."""
    real: dict[str, Any] = {"symlink": os.symlink, "link": os.link}
    refused: list[Any] = []

    def refuse_once(source: Any, target: Any) -> None:
        if not refused:
            refused.append(target)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        real["symlink" if links == "symlink" else "link"](source, target)

    monkeypatch.setattr(os, "symlink" if links == "symlink" else "link", refuse_once)
    request = {"directory": str(batch), "links": links, "sessions": {}, "names": [["held.001", "../sessions/me.crh"]]}
    assert remote_ledger.win(request) == {"won": [True]}
    assert len(refused) == 1
