"""Names that steer a batch: its hold as a whole, notices to readers of listings, and many names at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.ledger.names import states
from crh_batch.ledger.paths import session_target
from crh_batch.ledger.session import Session
from crh_batch.ledger.steering import (
    Notices,
    batch_hold,
    give_notice,
    hold_batch,
    in_threads,
    release_batch,
    win_many,
)
from unit.ledger.making import make_batch, make_names


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_hold_and_release_when_repeated_then_the_last_one_counts(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    client = Session.begin(batch.paths, "client")
    said = []
    for step in (hold_batch, hold_batch, release_batch, release_batch, hold_batch):
        said.append((step(client, "symlink"), batch_hold(batch.paths).is_held))
    assert said == [(True, True), (False, True), (True, False), (False, False), (True, True)]
    names = sorted(name for name in os.listdir(batch.paths.names) if name.startswith(("held", "release")))
    assert names == ["held.001", "held.002", "release.001"]


def test_states_when_the_batch_is_held_then_only_what_would_be_begun_is(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 5)
    make_names(batch, "1.claim.001", "2.done", "3.claim.001", "3.fail.001.input", "4.claim.001", "4.fail.001.crash")
    hold_batch(Session.begin(batch.paths, "client"), "symlink")
    found = [state.name.value for _, state in states(batch.paths, range(5), batch.settings)]
    assert found == ["held", "running", "done", "failed", "held"]


def test_notices_when_one_is_given_then_each_reader_is_told_once(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    client = Session.begin(batch.paths, "client")
    give_notice(client, "symlink")
    first, second = Notices(batch.paths), Notices(batch.paths)
    assert not first.changed(), "from before its first look"
    give_notice(client, "symlink")
    give_notice(client, "symlink")
    assert [first.changed(), first.changed(), second.changed(), second.changed()] == [True, False, True, False]


def test_notices_when_the_next_number_is_not_seen_by_name_then_a_listing_shows_it_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on network filesystems that remember for a while that a name was not there."""
    batch = make_batch(tmp_path, 1)
    clock = Clock()
    notices = Notices(batch.paths, clock=clock)
    give_notice(Session.begin(batch.paths, "client"), "symlink")
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    assert not notices.changed()
    clock.now += 5.1
    assert notices.changed()


def test_give_notice_when_two_clients_do_it_at_once_then_each_has_its_own(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    clients = [Session.begin(batch.paths, "client") for _ in range(8)]
    threads = [threading.Thread(target=give_notice, args=(client, "symlink")) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = sorted(name for name in os.listdir(batch.paths.names) if name.startswith("steered"))
    holders = {os.readlink(os.path.join(batch.paths.names, name)) for name in names}
    assert (len(names), len(holders)) == (8, 8)


def test_give_notice_when_another_client_has_just_made_the_number_then_it_makes_the_next(
    tmp_path: Path, break_call: Callable[[str, Callable[..., object]], None]
) -> None:
    """The other one's notice may be older than the names that this client's is about."""
    batch = make_batch(tmp_path, 1)
    client, other = (Session.begin(batch.paths, "client") for _ in range(2))

    def symlink(target: str, path: str) -> None:
        if path.endswith("steered.001"):
            os.symlink(session_target(other.token, in_shard=False), path)
        os.symlink(target, path)

    break_call("symlink", symlink)
    give_notice(client, "symlink")
    assert client.token in os.readlink(batch.paths.batch_name("steered.002"))


def test_win_many_when_some_are_taken_then_it_says_which_in_order(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2500)
    make_names(batch, "7.held.001", "2400.held.001")
    client = Session.begin(batch.paths, "client")
    won = win_many(client, [(number, "held.001") for number in range(2500)], "symlink")
    assert [number for number, mine in enumerate(won) if not mine] == [7, 2400]
    assert all(os.path.lexists(batch.paths.name(number, "held.001")) for number in range(2500))


def test_in_threads_when_one_fails_then_its_error_comes_out() -> None:
    def work(number: int) -> int:
        if number == 700:
            raise ValueError("700")
        return 2 * number

    assert in_threads(lambda number: 2 * number, range(1000)) == [2 * number for number in range(1000)]
    with pytest.raises(ValueError, match="700"):
        in_threads(work, range(1000))
