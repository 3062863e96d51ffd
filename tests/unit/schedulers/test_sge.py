"""SGE as text, where no recording says it: banners, unknown letters, hostile paths, and what is asked for."""

from __future__ import annotations

import base64
import os
import subprocess

import pytest

from crh_batch.errors import MaybeSubmitted, ProfileError, SchedulerError, Unreachable
from crh_batch.hosts.base import Completed
from crh_batch.profile import Profile
from crh_batch.schedulers.base import ArrayScript, JobState, expand_tasks
from crh_batch.schedulers.sge import Sge, directives, environments_of, parse_submitted, submit_argv
from crh_batch.schedulers.sge_queue import parse_qacct, parse_qstat, state_of
from crh_batch.site import Partition

MB = 1 << 20
NARROW = ArrayScript("token", "20261122-101500-k3f9", pilots=3, cores=1, memory_bytes=512 * MB, threads=1)
WIDE = ArrayScript(
    "token", "20261122-101500-k3f9", 3, cores=5, memory_bytes=512 * MB, threads=5, parallel_environment="smp"
)
PENDING, RUNNING, ENDED, UNKNOWN = JobState


def done(stdout: str = "", stderr: str = "", exit_status: int | None = 0) -> Completed:
    return Completed(("sge",), exit_status, stdout, stderr)


@pytest.mark.parametrize(
    ("stdout", "job_id"),
    [
        ("4711\n", "4711"),
        ("4711.1-10:1\n", "4711"),
        ("4711.1-10:1", "4711"),
        ("Welcome to cluster2, 3 jobs are yours.\n4711.1-3:1\n", "4711"),
        ("4711.1-3:1\n12 hours of your budget are left\n", "4711"),
        ("4711.1-3:1\r\n", "4711"),
    ],
)
def test_parse_submitted_when_the_id_stands_among_other_words_then_it_is_found(stdout: str, job_id: str) -> None:
    assert parse_submitted(done(stdout)) == job_id


@pytest.mark.parametrize("stdout", ["", "\n", 'Your job 4711 ("x") has been submitted\n', "job4711\n", "4711.1\n"])
def test_parse_submitted_when_no_line_is_an_id_then_it_may_have_submitted(stdout: str) -> None:
    with pytest.raises(MaybeSubmitted):
        parse_submitted(done(stdout))


@pytest.mark.parametrize(
    ("stderr", "exit_status"),
    [
        ("", None),
        ("", -9),
        ("error: commlib error: got select error (Connection refused)\n", 1),
        ('error: unable to send message to qmaster using port 6444 on host "m": got send error\n', 1),
        ("error: failed receiving gdi request response for mid=1 (got syncron message receive timeout error).\n", 1),
    ],
)
def test_parse_submitted_when_the_answer_was_lost_then_it_may_have_submitted(
    stderr: str, exit_status: int | None
) -> None:
    with pytest.raises(MaybeSubmitted):
        parse_submitted(done("", stderr, exit_status))


def test_parse_submitted_when_a_check_of_the_site_refuses_then_its_words() -> None:
    with pytest.raises(SchedulerError) as caught:
        parse_submitted(done("", "Unable to run job: please ask for a project.\nExiting.\n", 1))
    assert caught.value.message == "qsub refused: please ask for a project"


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("qw", PENDING),
        ("hqw", PENDING),
        ("hRwq", PENDING),
        ("Eqw", PENDING),
        ("Rq", PENDING),
        ("dqw", PENDING),
        ("r", RUNNING),
        ("t", RUNNING),
        ("Rr", RUNNING),
        ("dRr", RUNNING),
        ("S", RUNNING),
        ("tsT", RUNNING),
        ("P", RUNNING),
        ("z", ENDED),
        ("d", UNKNOWN),
        ("", UNKNOWN),
        ("X", UNKNOWN),
        ("rX", UNKNOWN),
    ],
)
def test_state_of_letters(word: str, state: JobState) -> None:
    assert state_of(word) is state


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("3", ["3"]),
        ("1,4", ["1", "4"]),
        ("5-10:1", ["5", "6", "7", "8", "9", "10"]),
        ("1-7:3,9", ["1", "4", "7", "9"]),
        ("2-3", ["2", "3"]),
        ("x", []),
    ],
)
def test_expand_tasks(text: str, expected: list[str]) -> None:
    assert expand_tasks(text) == expected


def rows_of(*jobs: str) -> Completed:
    return done(
        f"<?xml version='1.0'?><job_info><queue_info></queue_info><job_info>{''.join(jobs)}</job_info></job_info>"
    )


def job(number: int, name: str, state: str, tasks: str = "") -> str:
    listed = f"<tasks>{tasks}</tasks>" if tasks else ""
    return (
        f"<job_list><JB_job_number>{number}</JB_job_number><JB_name>{name}</JB_name><state>{state}</state>"
        f"{listed}</job_list>"
    )


def test_parse_qstat_when_a_task_is_ended_and_alive_then_it_is_alive() -> None:
    for order in (
        (job(1, "crh-a", "z", "1"), job(1, "crh-a", "Rr", "1")),
        (job(1, "crh-a", "Rr", "1"), job(1, "crh-a", "z", "1")),
    ):
        assert [row.state for row in parse_qstat(rows_of(*order), {"a"})] == [RUNNING]


def test_parse_qstat_when_something_stands_around_the_xml_or_in_names_then_it_is_read() -> None:
    answer = rows_of(job(1, "odd\x01name", "r"), job(2, "crh-a", "qw", "1"))
    assert len(parse_qstat(done(f"Maintenance on Monday!\n{answer.stdout}"), {"a"})) == 1


@pytest.mark.parametrize("stdout", ["", "<?xml version='1.0'?><job_info>", "nonsense"])
def test_parse_qstat_when_it_is_cut_short_then_nothing_is_known(stdout: str) -> None:
    with pytest.raises(Unreachable):
        parse_qstat(done(stdout), {"a"})


def test_parse_qacct_when_a_task_was_rerun_then_one_row_and_other_owners_jobs_are_none() -> None:
    record = (
        "==============\njobname      {}          \njobnumber    7\ntaskid       1\nfailed       {}\nexit_status  0\n"
    )
    text = record.format("crh-a", "25  : rescheduling") + record.format("crh-a", "0") + record.format("crh-b", "0")
    rows = parse_qacct(done(text), {"a"})
    assert rows is not None
    assert [(row.job_id, row.task, row.state) for row in rows] == [("7", "1", ENDED)]


def test_directives_when_nothing_is_asked_then_none() -> None:
    assert directives(NARROW, Profile()) == []


def test_directives_when_everything_is_asked_then_in_words_of_qsub() -> None:
    profile = Profile(
        partition="all.q,long.q",
        account="geo",
        constraint="arch=lx-amd64, gpu=0",
        nice=200,
        time_minutes=60,
        warn_s=90,
        memory_resource="h_vmem",
    )
    wide = ArrayScript(
        "token", "b", 3, cores=5, memory_bytes=512 * MB, threads=5, after_job="12", parallel_environment="smp"
    )
    assert directives(wide, profile) == [
        "-q all.q,long.q",
        "-P geo",
        "-p -200",
        "-pe smp 5",
        # Memory is a slot's.
        "-l arch=lx-amd64,gpu=0,h_rt=3600,s_rt=3510,h_vmem=103M",
        "-hold_jid 12",
    ]


def test_directives_when_the_request_names_queues_then_these_and_the_profiles_environment_wins() -> None:
    script = ArrayScript("t", "b", 1, 2, 100 * MB, 2, partition="short.q", parallel_environment="smp")
    assert directives(script, Profile(partition="a.q,short.q", parallel_environment="mp")) == [
        "-q short.q",
        "-pe mp 2",
    ]


def test_directives_when_nice_is_out_of_range_or_favours_then_what_users_may_ask() -> None:
    assert directives(NARROW, Profile(nice=5000)) == ["-p -1023"]
    assert directives(NARROW, Profile(nice=-10)) == []


def test_directives_when_memory_is_none_then_it_is_not_asked_for() -> None:
    assert directives(NARROW, Profile(memory="none", memory_resource="h_vmem")) == []


def test_directives_when_no_environment_is_known_then_the_profile_has_to_name_it() -> None:
    wide = ArrayScript("t", "b", 1, 2, 100 * MB, 2)
    with pytest.raises(ProfileError, match="no parallel environment") as caught:
        directives(wide, Profile())
    assert caught.value.key == "parallel_environment"


@pytest.mark.parametrize(
    "directory", ["/a b/c", '/it\'s "x"', "/-rf", "/a:b,c=d", "/%j", "/grüße", "/`x`;y&", "/*?[a]"]
)
def test_submit_argv_when_sge_can_hold_the_path_then_it_is_an_argument(directory: str) -> None:
    assert submit_argv(directory, "/s.sh") == ["qsub", "-terse", "-wd", directory, "/s.sh"]


@pytest.mark.parametrize("directory", ["/$HOME/x", "/new\nline", "/cr\rx", "/end\n", "/$(touch x)", "/\udcff$"])
def test_submit_argv_when_sge_would_change_the_path_then_it_is_coded_for_the_script(directory: str) -> None:
    argv = submit_argv(directory, "/s.sh")
    assert argv[:7] == ["qsub", "-terse", "-wd", "/", "-o", "/dev/null", "-v"]
    name, _, coded = argv[7].partition("=")
    assert name == "CRH_BATCH_LOGS"
    assert not set(coded) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
    # The job script's own way back (jobscripts/sge.sh.j2).
    back = subprocess.run(
        ["bash", "-c", "printf '%s' \"$1\" | tr '_.-' '/=+' | base64 -d", "sh", coded], capture_output=True, check=True
    ).stdout
    assert back == os.fsencode(directory) == base64.b64decode(coded.translate(str.maketrans("_.-", "/=+")))


def test_environments_of_when_hosts_have_exceptions_then_all_names_once() -> None:
    text = (
        "qname  a.q\npe_list  smp make,[n1=smp mpi], \\\n  [@big=threaded]\nslots 4\n\n"
        "qname  b.q\npe_list  other\n\nqname  c.q\npe_list  NONE\n"
    )
    assert environments_of(done(text), [Partition("a.q"), Partition("c.q")]) == ["smp", "make", "mpi", "threaded"]


def test_was_cancelled_when_one_is_over_and_others_end_then_yes_and_when_denied_then_no() -> None:
    said = 'denied: job "99" does not exist\nroot has registered the job 12 for deletion\n'
    assert Sge().was_cancelled(done(said, "", 1))
    assert not Sge().was_cancelled(done(f'{said}denied: job "7" belongs to anna\n', "", 1))
    assert not Sge().was_cancelled(done("", "", None))
    assert not Sge().was_cancelled(done("", "", 1))
