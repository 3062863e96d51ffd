"""Promise: a batch's mirror is behind, never wrong, whatever breaks or dies, and the next refresh makes it whole."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from crh_batch.errors import HostError
from crh_batch.ledger import arbiter
from crh_batch.ledger.arbiter import arbitrate
from crh_batch.ledger.session import Session, holder_of
from crh_batch.ledger.steering import win_many
from crh_batch.mirror.arbiter import find_arbiter
from crh_batch.mirror.refresh import refresh
from faults.killing import environment
from faults.mirrored import DEEDS, TOMODIRS, Mirrored, copy_of, differences_of, make_mirrored, problems_of, work
from unit.ledger.making import begin
from unit.mirror.staged import bring_machine, make_staged

SEED = 20261123


@pytest.fixture(autouse=True)
def arbitrated() -> Iterator[None]:
    """As the command line does it."""
    before = arbiter._find
    arbitrate(find_arbiter)
    yield
    arbitrate(before)


@pytest.fixture
def template(place: Path) -> Mirrored:
    """A batch in the midst of its work; the mirror knows the first half of it."""
    one = make_mirrored(place / "template")
    work(one.there, Random(SEED), 0, TOMODIRS // 3)
    host = bring_machine("far1")
    assert refresh(one.here, packs=True) == []
    host.close()
    work(one.there, Random(SEED + 1), TOMODIRS // 3, TOMODIRS * 2 // 3)
    return one


def cut(one: Mirrored, deed: str, draw: Random, whole: int) -> None:
    """Break the line somewhere, for good or for a moment; then all must be well in the end."""
    host = bring_machine("far1")
    host.break_after(draw.randrange(whole), stays_down=draw.random() < 0.5)
    with contextlib.suppress(HostError):
        DEEDS[deed](one)
    assert problems_of(one) == []
    host.close()
    host.is_down = False
    host.break_after(1 << 40)
    if deed == "look":
        work(one.there, draw, TOMODIRS * 2 // 3, TOMODIRS)
    assert refresh(one.here, packs=True) == []
    assert differences_of(one) == []
    host.close()


def bytes_of(one: Mirrored, deed: str) -> int:
    """How many bytes go over the line without a break."""
    host = bring_machine("far1")
    DEEDS[deed](one)
    host.close()
    return host.went


def cuts(template: Mirrored, place: Path, deed: str, seeds: range) -> None:
    whole = bytes_of(copy_of(template, place / "template", place / "whole"), deed)
    for seed in seeds:
        one = copy_of(template, place / "template", place / f"trial{seed}")
        try:
            cut(one, deed, Random(seed), whole)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("deed", DEEDS)
def test_mirror_when_the_line_breaks_at_any_byte_then_it_is_never_wrong(
    template: Mirrored, place: Path, deed: str
) -> None:
    cuts(template, place, deed, range(SEED, SEED + 20))


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("deed", DEEDS)
def test_mirror_when_the_line_breaks_at_200_places_then_it_is_never_wrong(
    template: Mirrored, place: Path, deed: str
) -> None:
    cuts(template, place, deed, range(SEED, SEED + 200))


@pytest.mark.parametrize("deed", DEEDS)
def test_mirror_when_the_client_dies_at_any_change_then_it_is_never_wrong(
    template: Mirrored, place: Path, deed: str
) -> None:
    (place / "batches").write_text(f"{template.here.paths.directory}\n{template.there.paths.directory}\n")
    driver = Path(__file__).with_name("mirrored.py")
    done = subprocess.run(
        [sys.executable, driver, place, deed, "1", "1"], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    assert [life for life in lives if life["problems"]] == []
    assert len(lives) > 20


def test_mirror_when_two_clients_refresh_while_a_pilot_writes_then_no_byte_is_twice(
    template: Mirrored, place: Path
) -> None:
    reading, writing = os.pipe()

    def refresh_again_and_again() -> None:
        bring_machine("far1")
        while not (place / "over").exists():
            assert refresh(template.here, packs=True) == []
            os.write(writing, b"x")

    children = [in_child(refresh_again_and_again) for _ in range(2)]
    draw = Random(SEED)
    for number in range(TOMODIRS * 2 // 3, TOMODIRS):
        os.read(reading, 1)
        work(template.there, draw, number, number + 1)
        assert problems_of(template) == []
    (place / "over").touch()
    assert [ended(child) for child in children] == [0, 0]
    os.close(reading)
    os.close(writing)
    host = bring_machine("far1")
    assert refresh(template.here, packs=True) == []
    host.close()
    assert differences_of(template) == []


def test_claims_when_a_pilot_and_a_client_want_the_same_then_each_has_one_owner(place: Path) -> None:
    count = 2000
    staged = make_staged(place / "race", count)
    for host in staged.far:
        host.close()
    marks = [(number, "claim.001") for number in range(count)]
    going, gone = os.pipe()
    reading, writing = os.pipe()

    def claim_all() -> None:
        pilot = begin(staged.there[0], "pilot")
        os.read(going, 1)
        # From the other end, so that they meet.
        won = [number for number, mark in reversed(marks) if pilot.win(number, mark, "symlink")]
        os.write(writing, json.dumps(won).encode())

    child = in_child(claim_all)
    try:
        bring_machine("far1")
        client = Session.begin(staged.batch.paths, "client")
        # Connected before it begins.
        assert client.win(0, "held.001", "symlink")
        os.write(gone, b"x")
        won = win_many(client, marks, "symlink")
        assert ended(child) == 0
        of_pilot = set(json.loads(os.read(reading, 1 << 16)))
        of_client = {number for number, is_won in enumerate(won) if is_won}
        assert of_pilot | of_client == set(range(count)) and not of_pilot & of_client
        assert refresh(staged.batch) == []
        owners = [holder_of(staged.batch.paths.name(*one)) for one in marks]
        assert {number for number, owner in enumerate(owners) if owner == client.token} == of_client
    finally:
        staged.close()
        for descriptor in (going, gone, reading, writing):
            os.close(descriptor)


def in_child(work: Callable[[], None]) -> int:
    """Start a process that does something; return its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
