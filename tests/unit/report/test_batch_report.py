"""The report's figures from sessions made by hand, with accounting and without."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from crh_batch.engines.target import Target
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.names import Failure
from crh_batch.ledger.session import Job, SessionHeader
from crh_batch.ledger.settings import ItemClass
from crh_batch.ledger.submissions import record_intent, record_submitted
from crh_batch.report.as_json import report_json
from crh_batch.report.batch_report import report_on
from crh_batch.report.pace import Pace, last_hour
from crh_batch.report.report_table import class_table, summary_lines
from crh_batch.report.usage import finished_since
from crh_batch.schedulers.base import JobUsage
from unit.ledger.making import INVERSION, MODELLING, make_batch, make_item, make_names

# 2026-11-22 00:00:00 UTC
T = 1795305600.0


def session(batch: Batch, token: str, start: float, cores: int, events: list[tuple[Any, ...]], **header: Any) -> None:
    """Write a pilot's session; each event is its kind, its time after T, and its fields."""
    who = {"host": header.pop("host", "n1"), "boot_id": "b", "pid": 1, "started": 1, "user": "anna", "namespace": ""}
    job = header.pop("job", Job()).to_json()
    first = {
        "schema": 1,
        "session": token,
        "kind": "pilot",
        "who": who,
        "job": job,
        "time": T + start,
        "submission": header.pop("submission", ""),
        "cores": cores,
    }
    assert not header
    lines = [first, *({"event": kind, "time": T + when, **fields} for kind, when, fields in events)]
    Path(batch.paths.session(token)).write_text("".join(json.dumps(line) + "\n" for line in lines))


def stage(wall_s: float, cpu_s: float, peak: int, *, bound: bool = False) -> dict[str, Any]:
    return {"stage": "inversion", "wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": peak, "peak_is_bound": bound}


def ended(kind: str, when: float, item_id: int, *stages: dict[str, Any], attempt: int = 1) -> tuple[Any, ...]:
    return (kind, when, {"id": item_id, "attempt": attempt, "stages": list(stages)})


def claimed(when: float, item_id: int, attempt: int = 1) -> tuple[Any, ...]:
    return ("claim", when, {"id": item_id, "attempt": attempt})


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Two of four threads, three of one, in two jobs: 0, 2 and 3 done, 1 failed, 4 ready after two failed attempts."""
    items = [make_item(number, threads=4 if number < 2 else 1, stages=(MODELLING, INVERSION)) for number in range(5)]
    made = make_batch(tmp_path, items, classes=(ItemClass(4, 0, 2), ItemClass(1, 2, 5)))
    make_names(made, "0.claim.001", "0.done", "1.claim.001", "1.fail.001.input", "2.claim.001", "2.done")
    make_names(made, "3.claim.001", "3.fail.001.lost", "3.claim.002", "3.done", "3.collected")
    make_names(made, "4.claim.001", "4.fail.001.walltime", "4.claim.002", "4.fail.002.walltime")
    session(
        made,
        "wide",
        10,
        4,
        [
            claimed(10, 0),
            ("progress", 15, {"id": 0, "iteration": 1}),
            ended("done", 60, 0, stage(10, 30, 100), stage(40, 120, 200)),
            claimed(60, 1),
            ended("fail", 110, 1, stage(50, 100, 300, bound=True)),
            ("end", 110, {"cpu_s": 2.0}),
        ],
        submission="w",
        job=Job("slurm", "1", "0"),
    )
    session(
        made,
        "narrow",
        20,
        1,
        [
            claimed(20, 2),
            ended("done", 40, 2, stage(20, 15, 50)),
            claimed(40, 3, 2),
            ended("done", 80, 3, stage(40, 35, 60), attempt=2),
            claimed(80, 4),
            ended("fail", 100, 4, stage(20, 20, 40)),
            claimed(100, 4, 2),
            ended("fail", 120, 4, stage(20, 20, 40), attempt=2),
            ("end", 120, {"cpu_s": 1.0}),
        ],
        submission="n",
        job=Job("slurm", "2", "0"),
        host="n2",
    )
    # Killed: nothing after its claim.
    session(made, "killed", 0, 1, [claimed(5, 3)], submission="n", job=Job("slurm", "2", "1"), host="n2")
    return made


def usage(job: str, task: str, token: str, *, elapsed: float, cores: int = 1, **more: Any) -> JobUsage:
    fields = {"submitted": T, "started": T + 7, "cpu_s": 1.0, "requested_memory_bytes": 500, "peak_bytes": 400}
    return JobUsage(job, task, token, elapsed_s=elapsed, cores=cores, state="COMPLETED", host="n", **{**fields, **more})


def test_report_when_there_is_only_the_ledger_then_cores_times_life_was_asked_for(batch: Batch) -> None:
    report = report_on(Target(batch), None)
    wide, narrow = report.classes
    assert (wide.stages, wide.dims, wide.threads) == ("modelling + inversion", "2.5D", 4)
    assert (wide.tomodirs, wide.finished, wide.attempts) == (2, 1, 2)
    assert (dict(wide.failures), dict(wide.failed_attempts)) == ({Failure.INPUT: 1}, {Failure.INPUT: 1})
    assert (wide.cpu_s, wide.requested_cpu_s) == (250, 400)
    assert (wide.peak_bytes, wide.peak_is_bound) == (300, True)
    assert (narrow.tomodirs, narrow.finished, narrow.attempts) == (3, 2, 5)
    assert dict(narrow.failures) == {}
    assert narrow.failed_attempts.most_common() == [(Failure.WALLTIME, 2), (Failure.LOST, 1)]
    assert (narrow.cpu_s, narrow.requested_cpu_s, narrow.peak_bytes, narrow.peak_is_bound) == (90, 100, 60, False)
    # The killed one lived for 5 s as far as anybody knows, and did nothing for anyone.
    assert report.requested_cpu_s == 400 + 100 + 5
    assert (report.cpu_s, report.own_cpu_s, report.pilots) == (340, 3, 3)
    assert report.hours == pytest.approx((5 + 110) / 3600)
    assert (report.has_accounting, report.status.complete) == (False, False)


def test_report_when_hosts_are_several_then_each_has_its_own_pace(batch: Batch) -> None:
    first, second = report_on(Target(batch), None).hosts
    assert (first.host, first.pilots, first.finished, first.failed) == ("n2", 2, 2, 2)
    assert first.hours == pytest.approx((5 + 100) / 3600)
    assert first.per_hour == pytest.approx(2 / (105 / 3600))
    assert first.busy == pytest.approx(100 / 105)
    assert (second.host, second.finished, second.failed, second.busy) == ("n1", 1, 1, 1.0)


def test_report_when_there_is_accounting_then_that_counts_and_lost_time_is_not_forgotten(batch: Batch) -> None:
    usages = [
        usage("1", "0", "w", elapsed=105, cores=4, requested_memory_bytes=2000, peak_bytes=900),
        usage("2", "0", "n", elapsed=110, started=T + 19),
        usage("2", "1", "n", elapsed=30),
        usage("2", "2", "n", elapsed=3, started=T + 1),
        usage("2", "3", "n", elapsed=0, started=None),
    ]
    report = report_on(Target(batch), usages)
    wide, narrow = report.classes
    assert (wide.requested_cpu_s, narrow.requested_cpu_s) == (420, 110)
    # The killed one's, and one's that never came to work: nobody's, but asked for.
    assert report.requested_cpu_s == 420 + 110 + 30 + 3
    assert (wide.requested_memory_bytes, wide.job_peak_bytes) == (2000, 900)
    assert report.longest_wait_s == 19
    assert report.has_accounting


def test_report_when_a_job_had_two_lives_then_each_pilot_has_its_part(batch: Batch) -> None:
    session(
        batch,
        "again",
        200,
        1,
        [ended("done", 250, 2, stage(50, 40, 50))],
        submission="n",
        job=Job("slurm", "2", "0", 1),
    )
    usages = [usage("2", "0", "n", elapsed=100), usage("2", "0", "n", elapsed=80)]
    report = report_on(Target(batch), usages)
    assert report.classes[1].requested_cpu_s == pytest.approx(180)


def test_report_when_there_is_no_accounting_then_the_first_sign_of_a_pilot_ends_its_wait(batch: Batch) -> None:
    submission = record_submitted(batch.paths, record_intent(batch.paths, "slurm", 1, 2, memory_bytes=700), "3")
    start = submission.time - T + 33
    session(batch, "later", start, 1, [], submission=submission.token, job=Job("slurm", "3", "0"))
    session(batch, "requeued", start + 99, 1, [], submission=submission.token, job=Job("slurm", "3", "0", 1))
    assert report_on(Target(batch), None).longest_wait_s == pytest.approx(33, abs=20)


def test_report_when_memory_was_only_written_down_by_ourselves_then_that(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1)
    submission = record_intent(batch.paths, "slurm", 1, 1, memory_bytes=700)
    done = [claimed(0, 0), ended("done", 5, 0, stage(5, 5, 10))]
    session(batch, "one", 0, 1, done, submission=submission.token, job=Job("slurm", "3", "0"))
    make_names(batch, "0.claim.001", "0.done")
    (one,) = report_on(Target(batch), None).classes
    assert (one.requested_memory_bytes, one.job_peak_bytes) == (700, None)


def test_report_when_a_pilot_lives_then_its_time_counts_until_now(batch: Batch) -> None:
    def lives(header: SessionHeader) -> bool:
        return header.token == "killed"

    report = report_on(Target(batch), None, lives)
    assert report.requested_cpu_s == pytest.approx(500 + time.time() - T, abs=60)


def test_report_when_a_part_is_meant_then_only_that(batch: Batch) -> None:
    report = report_on(Target(batch, frozenset({2, 3})), None)
    (one,) = report.classes
    assert (one.tomodirs, one.finished, one.attempts, one.cpu_s) == (2, 2, 3, 50)
    # 60 of the 100 s that the pilot's programs ran.
    assert one.requested_cpu_s == report.requested_cpu_s == 60
    assert report.status.complete
    assert sum(host.finished for host in report.hosts) == 2


def test_report_when_ready_ones_were_cancelled_then_these_are_no_attempts(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 2)
    make_names(batch, "0.claim.001", "0.fail.001.cancelled", "1.claim.001", "1.fail.001.cancelled")
    session(batch, "one", 0, 1, [claimed(0, 1), ended("fail", 5, 1, stage(5, 5, 10))])
    (one,) = report_on(Target(batch), None).classes
    assert (one.attempts, dict(one.failures), dict(one.failed_attempts)) == (
        1,
        {Failure.CANCELLED: 2},
        {Failure.CANCELLED: 1},
    )


def test_report_when_nothing_ran_then_nothing_is_made_up(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 3)
    report = report_on(Target(batch), None)
    (one,) = report.classes
    assert (one.tomodirs, one.attempts, one.cpu_s, one.peak_bytes) == (3, 0, 0, None)
    assert (report.hosts, report.per_hour, report.longest_wait_s, report.requested_cpu_s) == ([], None, None, 0)
    assert list(summary_lines(report)) == ["CPU: 0.0 s used of 0.0 s requested (cores times the pilots' lives)"]
    assert json.dumps(report_json(report))


def test_report_when_lines_are_torn_then_the_rest_counts(batch: Batch) -> None:
    with open(batch.paths.session("wide"), "ab") as stream:
        stream.write(b'{"event": "done", "time": 17953056')
    with open(batch.paths.session("killed"), "ab") as stream:
        stream.write(b'{"event": "progress", "time": %f, "id": 3}\nnonsense\n' % (T + 9))
    assert report_on(Target(batch), None).requested_cpu_s >= 505


def test_messages_when_several_say_the_same_then_they_are_ranked(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 3)
    for number, text in enumerate(("bad electrode\nmore", "no mesh", "bad electrode\nless")):
        token = f"s{number}"
        session(batch, token, 0, 1, [("fail", 1, {"id": number, "attempt": 1, "error": text, "stages": []})])
        make_names(batch, f"{number}.claim.001", f"{number}.fail.001.input", token=token)
    report = report_on(Target(batch), None)
    assert report.messages == [("input", "bad electrode", 2, "td0"), ("input", "no mesh", 1, "td1")]
    said = report_json(report)["messages"]
    assert said[0] == {"failure": "input", "error": "bad electrode", "tomodirs": 2, "example": "td0"}


def test_table_when_nothing_is_known_of_jobs_then_no_columns_for_them(batch: Batch) -> None:
    def titles(usages: list[JobUsage] | None) -> list[str]:
        return [str(column.header) for column in class_table(report_on(Target(batch), usages).classes).columns]

    assert "a job's peak" not in titles(None)
    assert "a job's peak" in titles([usage("1", "0", "w", elapsed=1)])


# ---------------------------------------------------------------- pace


def test_finished_since_when_hosts_finished_then_the_times_decide(batch: Batch) -> None:
    assert finished_since(batch, T) == {"n2": 2, "n1": 1}
    assert finished_since(batch, T + 50) == {"n1": 1, "n2": 1}
    assert finished_since(batch, T + 90) == {}
    assert finished_since(batch, time.time() + 60) == {}, "files that are older are not read"


def test_last_hour_when_the_batch_is_young_then_it_is_shorter(batch: Batch) -> None:
    submission = record_intent(batch.paths, "slurm", 1, 2)
    hosts, window_s = last_hour(batch, now=submission.time + 60)
    assert window_s == pytest.approx(60, abs=20)
    assert last_hour(batch, now=T + 3600 + 50)[0] == {"n1": 1, "n2": 1}
    assert isinstance(hosts, dict)


def test_pace_when_watched_for_a_while_then_the_last_minutes_count() -> None:
    times = [0.0, 5.0, 30.0, 640.0, 660.0]
    clock = iter(times)
    pace = Pace(clock=lambda: next(clock))
    assert pace.per_s() is None
    seen = []
    for settled in (0, 50, 60, 1000, 1020):
        pace.note(settled)
        seen.append(pace.per_s())
    assert seen == [None, None, 2.0, None, 1.0]
