"""What a trial found, in words: one case each, and that the exit code follows."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from crh_batch.engines.trial import TrialJob, TrialReport
from crh_batch.errors import ProgramMissing
from crh_batch.ledger.submissions import Submission
from crh_batch.report.finding import CHANGE, FINE, NOTE, Finding, findings_text, is_fine
from crh_batch.report.trial_words import findings_of
from unit.report.filesystem_facts import ALONE, PARTIES

GOOD: dict[str, Any] = {
    "token": "aaa",
    "node": "n1",
    "time_left_s": 120.0,
    "warn_s": 100.0,
    "python": {"version": "3.11.2", "executable": "python3"},
    "cores": {"asked": 2, "usable": 2, "node": 4, "environment": {}},
    "memory": {"asked_mb": 256, "limits": {"cgroup": 256 << 20}},
    "scratch": {
        "path": "/local", "error": "", "filesystem": "xfs", "is_network": False, "free_bytes": 50 << 30,
        "write_mb_s": 300.0,
    },
    "programs": [{"name": "CRTomo", "error": "", "missing": [], "omp_threads": 2}],
    "filesystem": {**ALONE, "error": ""},
    "peer": PARTIES[0],
    "signals": [["SIGUSR1", 15.0]],
}  # fmt: skip


RACE = {"tried": 3, "won": [0, 1, 2], "took_s": 0.002, "error": ""}


def job(result: dict[str, Any] | None, number: str = "1", **others: Any) -> TrialJob:
    here = {"node": result["node"]} if result else others.pop("here", None)
    return TrialJob(Submission("t", "slurm", 2, 1, 0.0, number), here, result, **others)


def two(**changes: Any) -> TrialReport:
    first, second = deepcopy(GOOD), deepcopy(GOOD)
    second.update(node="n2", token="bbb", peer=deepcopy(PARTIES[1]))
    for one in (first, second):
        for key, value in changes.items():
            one[key] = {**one[key], **value} if isinstance(value, dict) else value
    return TrialReport("slurm", jobs=[job(first), job(second, "2")])


def of(report: TrialReport, subject: str) -> Finding:
    (found,) = [one for one in findings_of(report) if one.subject == subject]
    return found


def test_findings_when_all_is_well_then_each_once_and_nothing_to_change() -> None:
    findings = findings_of(two())
    assert is_fine(findings)
    assert {one.level for one in findings} == {FINE}
    assert [one.subject for one in findings] == [
        "nodes", "filesystem", "names", "linked files", "exclusive files", "holding", "rename", "appending",
        "fsync", "hard links", "file names", "room", "clock",
        "python", "CRTomo", "scratch", "cores", "memory", "signals",
    ]  # fmt: skip
    texts = {one.subject: one.text for one in findings}
    assert texts["nodes"] == "two jobs, on n1 and n2"
    assert texts["filesystem"].startswith("what one writes the other sees, there and back: in a listing 0.02 s, ")
    assert texts["names"] == "3 tried by 2 jobs at once: 2, 1 won, none twice (3000 tries/s)"
    assert texts["signals"] == "SIGUSR1 came 105 s before the limit (100 were asked for)"
    assert texts["scratch"] == "/local: 50.0 GB free, xfs, 300 MB/s"


@pytest.mark.parametrize(
    ("changes", "subject", "level", "text", "advice"),
    [
        ({"cores": {"usable": 1}}, "cores", CHANGE, "2 were asked for, and the job may use 1", "extra_directives"),
        ({"cores": {"usable": 64}}, "cores", NOTE, "may use 64: the site doesn't bind", ""),
        ({"memory": {"limits": {}}}, "memory", NOTE, "no limit is set", ""),
        ({"memory": {"limits": {"RLIMIT_AS": 1 << 20}}}, "memory", CHANGE, "RLIMIT_AS allows 1 MB", "memory_resource"),
        ({"scratch": {"error": "Read-only file system"}}, "scratch", CHANGE, "can't be used: Read-only", "Set scratch"),
        ({"scratch": {"free_bytes": 5 << 20}}, "scratch", CHANGE, "0.0 GB free", "little room"),
        ({"scratch": {"is_network": True, "filesystem": "nfs4"}}, "scratch", NOTE, "nfs4", "network filesystem"),
        ({"scratch": {"filesystem": "tmpfs"}}, "scratch", NOTE, "tmpfs", "counts as the job's memory"),
        ({"time_left_s": None}, "time", CHANGE, "does not know when it will be ended", "time_minutes"),
        ({"signals": []}, "signals", CHANGE, "no warning came within the first 75 s", "keep exec"),
        ({"signals": [["SIGTERM", 3.0]]}, "signals", NOTE, "the first signal was SIGTERM, 117 s before", ""),
        (
            {"programs": [{"name": "CRTomo", "error": "no libgfortran", "missing": ["libgfortran.so.5"]}]},
            "CRTomo", CHANGE, "does not start: no libgfortran", "lacks libgfortran.so.5: load a module in setup",
        ),
        ({"peer": {"race_symlink": RACE}}, "names", CHANGE, "of 3 exclusive names 3 were won by more", "another one"),
        ({"peer": {"error": "the others' begin was not seen"}}, "filesystem", CHANGE, "did not see each", "another"),
        ({"filesystem": {"modes_error": "a directory has 0755"}}, "modes", CHANGE, "a directory has 0755", "refused"),
    ],
)  # fmt: skip
def test_findings_when_something_is_wrong_then_it_is_said_once_with_what_to_do(
    changes: dict[str, Any], subject: str, level: str, text: str, advice: str
) -> None:
    found = of(two(**changes), subject)
    assert found.level == level
    assert text in found.text and advice in found.advice
    assert is_fine(findings_of(two(**changes))) is (level != CHANGE)


def test_findings_when_nodes_differ_then_each_is_named() -> None:
    report = two()
    assert report.jobs[1].result is not None
    report.jobs[1].result["cores"]["usable"] = 1
    assert [one.text for one in findings_of(report) if one.subject == "cores"] == [
        "n1: 2 were asked for and given",
        "n2: 2 were asked for, and the job may use 1",
    ]


def test_findings_when_there_was_one_node_then_what_was_not_tried_is_said() -> None:
    alone = {**GOOD, "peer": None}
    report = TrialReport("slurm", jobs=[job(alone)], alone="a second job did not begin within 35 s (PENDING)")
    assert of(report, "nodes").level == NOTE and "did not begin within 35 s" in of(report, "nodes").text
    assert of(report, "filesystem").text == "n1 sees the survey's directory and writes to it"
    both = two()
    for one in both.jobs:
        one.here = {"node": "n1"}
    assert of(both, "nodes") == Finding(
        NOTE, "nodes", "both jobs ran on n1: what two nodes see of each other was not tried"
    )


def test_findings_when_the_job_did_not_begin_then_why_and_nothing_else_is_claimed() -> None:
    report = TrialReport("slurm", jobs=[job(None)], pending="PENDING (AssocGrpCpuLimit)")
    (found,) = findings_of(report)
    assert (found.level, found.subject) == (CHANGE, "queue")
    assert "it waited as PENDING (AssocGrpCpuLimit) and was cancelled" in found.text


def test_findings_when_the_job_broke_off_then_its_last_words() -> None:
    report = TrialReport("slurm", jobs=[job(None, state="FAILED", output="one\nno Python 3.9 or later on n1")])
    report.missing.append(ProgramMissing("CRTomo: not found", "install it", "CRTomo"))
    missing, broke = findings_of(report)
    assert (missing.text, missing.advice) == ("CRTomo: not found", "install it")
    assert broke.text.startswith("job 1 ended (FAILED) before it had looked at everything")
    lines = findings_text([missing, broke]).splitlines()
    assert lines[0] == "change  programs  CRTomo: not found"
    assert lines[1] == "                  -> install it"
    assert lines[-2].strip() == "no Python 3.9 or later on n1"
