"""Readers of the ledger, with a batch that has gone through all that there is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

from crh_batch.engines import history_file
from crh_batch.engines.living import remember_missing
from crh_batch.errors import LedgerError, PackDamaged
from crh_batch.ledger.batch import Batch, find_batches
from crh_batch.ledger.custody import was_left_by_the_dead
from crh_batch.ledger.identity import verdict_here
from crh_batch.ledger.names import Failure, RetryPolicy, gather, states
from crh_batch.ledger.pack import Record
from crh_batch.ledger.registration import read_registration
from crh_batch.ledger.session import Job, holder_of, read_events, read_header
from crh_batch.ledger.submissions import read_submissions, record_intent, record_started, record_submitted
from crh_batch.ledger.trust import check_batch
from crh_batch.report import as_json
from crh_batch.report.history import history
from crh_batch.report.states import status_of
from crh_batch.report.usage import finished_since, read_usage
from unit.fuzz.of_packs import packs, unpacking
from unit.fuzz.reader import Reader
from unit.ledger.making import INVERSION, MODELLING, begin, claim, finish, make_batch, make_item, make_names


def of_ledgers(scratch: Path) -> list[Reader]:
    root = scratch / "survey"
    root.mkdir()
    item = make_item(0, stages=(MODELLING, INVERSION))
    batch = make_batch(root, [item, *(make_item(number) for number in (1, 2, 5))], after={5: (1, 2)}, deadline=1e9)
    paths = batch.paths
    (root / "td0").mkdir()
    session = begin(batch, job=Job("slurm", "77", "3", 1), submission="abc")
    claim(batch, session, 0)
    finish(batch, 0, {"mod/volt.dat": b"1\n2\n", "inv/inv.ctr": b"***finished***\n"}, session=session)
    claim(batch, session, 1)
    session.append("stage", id=1, attempt=1, stage="inversion")
    session.append("progress", id=1, attempt=1, stage="inversion", iteration=3, rms=1.5)
    stages = [{"stage": "inversion", "exit_status": -11, "wall_s": 1.5, "cpu_s": 1.0, "peak_bytes": 9, "outcome": "x"}]
    inputs = [["exe/crtomo.cfg", 5, 1795367741157351154, "bfac"]]
    session.append("fail", id=1, attempt=1, stages=stages, inputs=inputs, failure="crash", error="ended by signal 11")
    session.append("end", finished=1, failed=1, why="nothing left to do", cpu_s=0.2)
    make_names(batch, "1.fail.001.crash", "2.claim.001", "5.held.001", token=session.token)
    submission = record_submitted(paths, record_intent(paths, "slurm", 1, 2, cores=1), "4711")
    record_started(paths, record_intent(paths, "local", 1, 1, after=submission.job_id), session.header.who)
    registration = {
        "datetime_init": "2026-11-22 17:09:56", "source_computer": "login1", "sim_type": "inv", "username": "anna",
        "schema": 1, "batch": paths.batch_id, "batch_dir": f".crh-batch/{paths.batch_id}", "id": 0,
        "registrant": session.header.who.to_json(),
    }  # fmt: skip
    crhydra = b'{"datetime_init": "20201122", "crh_file": "/a/td0.crh", "sim_id": 7}'

    def over(place: str, read: Callable[[], object]) -> Callable[[bytes], object]:
        """Put the bytes in a file's place, read, and put back what was there."""
        before = Path(place).read_bytes() if os.path.exists(place) else None

        def reading(data: bytes) -> object:
            Path(place).write_bytes(data)
            try:
                return read()
            finally:
                if before is None:
                    os.unlink(place)
                else:
                    Path(place).write_bytes(before)

        return reading

    def registered() -> object:
        found = read_registration(str(root / "td0"))
        assert found is not None
        str(found.registrant), verdict_here(found.registrant), found.describe().encode("utf-8", "surrogateescape")
        with contextlib.suppress(OSError):
            os.stat(found.batch_directory)
        return found

    def opened() -> object:
        check_batch(paths)
        found = Batch(paths.directory)
        return (
            found.settings.to_json(),
            list(states(found.paths, found.items.ids, found.settings)),
            find_batches(str(root)),
        )

    def items() -> object:
        found = Batch(paths.directory)
        for number in found.items.ids:
            one = found.items[number]
            assert os.path.normpath(os.path.join("/r", one.path)).startswith("/r")
            os.fsencode(one.path)
            found.need_bytes(one, 2)
        return found.items.of_group("a"), list(history_file.runs_of(found))

    def in_session() -> object:
        token = session.token
        header = read_header(paths, token)
        events = list(read_events(paths, token))
        status = status_of(batch, lambda number, state: True)
        told = as_json.status_json(status, with_tomodirs=True)
        json.dumps(told)
        list(read_usage(batch, lambda one: 0.0)), finished_since(batch, 0.0), list(history_file.runs_of(batch))
        return (
            header and verdict_here(header.who),
            events,
            history(batch, 0),
            history(batch, 1),
            was_left_by_the_dead(batch),
        )

    def records(data: bytes) -> object:
        try:
            return Record.from_json("s", json.loads(data))
        except (ValueError, RecursionError, AttributeError):
            # Its callers pass dicts only, and refuse what is none.
            return None

    listing = [name.encode() for _, _, names in os.walk(paths.names) for name in names]

    def names(data: bytes) -> object:
        for marks in gather(os.fsdecode(data).split("\n")).values():
            state = marks.state(RetryPolicy())
            assert state.failure is None or isinstance(state.failure, Failure)
        return None

    target = paths.name(7, "done")

    return [
        Reader(
            ".crh",
            [json.dumps(registration).encode(), crhydra],
            over(f"{root / 'td0'}.crh", registered),
            (),
            ("ledger.registration.read_registration",),
        ),
        Reader(
            "batch.json",
            [Path(paths.settings).read_bytes()],
            over(paths.settings, opened),
            (LedgerError,),
            ("ledger.settings.read_settings",),
        ),
        Reader(
            "items.jsonl",
            [Path(paths.items).read_bytes(), items_with_everything()],
            over(paths.items, items),
            (LedgerError,),
            ("ledger.stage_lines.checked_stage",),
        ),
        Reader(
            "session",
            [Path(paths.session(session.token)).read_bytes()],
            over(paths.session(session.token), in_session),
            (LedgerError,),
            ("ledger.session.read_header", "ledger.session.read_events", "ledger.events.parse_event"),
        ),
        Reader(
            "submissions.jsonl",
            [Path(paths.submissions).read_bytes()],
            over(paths.submissions, lambda: read_submissions(paths)),
            (LedgerError,),
            ("ledger.submissions.read_submissions",),
        ),
        Reader(
            "liveness.json",
            [b'{"boot_id": "%s", "first_missing": {"abc": 5.0}}' % session.header.who.boot_id.encode()],
            over(paths.liveness, lambda: remember_missing(batch, ["abc"], note=False)),
            (),
        ),
        Reader("pack", packs(scratch), unpacking(scratch), (PackDamaged,)),
        Reader("record of a pack", [b'{"offset": 0, "length": 5, "sha256": "ab"}'], records, ()),
        Reader(
            "listing of names",
            [b"\n".join(listing), b"000017.fail.001.lost\n000017.claim.002\n000017.retry.001"],
            names,
            (),
            ("ledger.names.parse_name",),
        ),
        Reader(
            "name",
            [b"../../sessions/slurm-1_0-r0-urkhj7hbmh.crh"],
            over(target, lambda: holder_of(target)),
            (LedgerError,),
            ("ledger.durable.read_name",),
        ),
    ]


def items_with_everything() -> bytes:
    """Items with all the keys that a line may have."""
    stage = {
        **INVERSION,
        "inputs": ["exe/crtomo.cfg", "../td0/inv/rho02.modl"],
        "sources": {"../td0/inv/rho02.modl": [0, "inv/rho02.modl"]},
        "size": {"nodes": 10, "parameters": 4, "electrodes": 5, "bandwidth": 7, "data": 3, "dc": True},
    }
    more = dataclasses.replace(make_item(1, stages=(stage,)), group="a", priority=3, after=(0,), high_s=4.5)
    return make_item(0).to_line() + more.to_line()
