"""Collect dies at any step, and the next one makes the same tree of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import collect_batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.registration import read_registration, register
from unit.ledger.making import begin, dead_process, files_in, finish, make_batch, write_files

OLD = {
    "exe/crtomo.cfg": b"cfg\n",
    "exe/error.dat": b"old error\n",
    "inv/inv.ctr": b"old ***finished***\n",
    "inv/rho07.mag": b"old\n",
    "inv/notes.txt": b"mine\n",
}
RESULT = {
    "inv/inv.ctr": b"new ***finished***\n",
    "inv/rho00.mag": b"0\n",
    "inv/rho01.mag": b"1\n",
    "exe/crh.inversion.err": b"STOP 0\n",
    "exe/crh.json": b'{"schema": 1}\n',
}
AFTER = {"exe/crtomo.cfg": b"cfg\n", "inv/notes.txt": b"mine\n", **RESULT}
# The calls by which collect changes anything; a death may come right before or right after each.
STEPS = ("replace", "unlink", "symlink", "fsync", "sync_filesystem")


class Death(BaseException):
    """The process ends here: nothing after it runs, as little as Python allows."""


def survey(root: Path) -> Batch:
    batch = make_batch(root, 2)
    for number in range(2):
        write_files(root / f"td{number}", OLD)
        register(str(root / f"td{number}"), batch.paths, number, this_process(), "inv")
        finish(batch, number, RESULT, last="inv/inv.ctr", session=begin(batch))
    return batch


def collect_and_die(batch: Batch, step: int, *, after: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Collect until the step of this number; return whether it was reached. The dead client's custody stays."""
    custody = custody_of(batch).__enter__()
    count = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count > step or (count == step and not after):
                raise Death
            answer = real(*arguments, **keywords)
            if count == step:
                raise Death
            return answer

        return call

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(durable.calls, name, dying(getattr(durable.calls, name)))
        # One at a time, so that the number of a step is the same each time.
        patch.setattr("crh_batch.ledger.collect.WORKERS", 1)
        try:
            collect_batch(batch, custody)
            died = False
        except Death:
            died = True
    custody.session.close()
    path = Path(batch.paths.session(custody.session.token))
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(json.dumps({**json.loads(first), "who": dead_process().to_json()}).encode() + b"\n" + rest)
    return died


def what_says_finished(tomodir: Path) -> bool:
    return b"new ***finished***" in (tomodir / "inv" / "inv.ctr").read_bytes()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_collect_when_it_dies_at_any_step_then_the_next_one_makes_the_same_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """And at each moment: what says finished is there only with everything else, and no old file is lost."""
    step = 0
    died = True
    while died:
        step += 1
        root = tmp_path / str(step)
        batch = survey(root)
        died = collect_and_die(batch, step, after=after, monkeypatch=monkeypatch)
        for number in range(2):
            tomodir = root / f"td{number}"
            if what_says_finished(tomodir):
                found = {name: content for name, content in files_in(tomodir).items() if ".crh-" not in name}
                assert found == AFTER, step
            kept = files_in(Path(batch.paths.replaced, f"{number:06d}"))
            for name in ("exe/error.dat", "inv/inv.ctr", "inv/rho07.mag"):
                in_place = (tomodir / name).exists() and (tomodir / name).read_bytes() == OLD[name]
                assert in_place or kept.get(name) == OLD[name], (step, name)
        with custody_of(batch) as custody:
            assert custody.follows_a_death
            report = collect_batch(batch, custody)
        assert report.refused == [], step
        for number, state in states(batch.paths, [0, 1], batch.settings):
            tomodir = root / f"td{number}"
            assert state.name is StateName.COLLECTED, step
            assert files_in(tomodir) == AFTER, step
            assert sorted(os.listdir(tomodir)) == ["exe", "inv"], step
            assert read_registration(str(tomodir)) is None, step
    assert step > 20, "two tomodirs with two stale and five new files each"
