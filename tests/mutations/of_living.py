"""Mutations: who lives."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "process number alone",
        "A process number alone is no identity.",
        "the start time is not compared",
        "ledger/identity.py",
        (
            (
                "    return Verdict.ALIVE if started == who.started else Verdict.DEAD",
                "    return Verdict.ALIVE",
            ),
        ),
        ("unit/ledger/test_identity.py::test_verdict_when_the_pid_was_used_again_then_dead",),
    ),
    Mutation(
        "boot not compared",
        "A machine that was booted has none of its old processes.",
        "the boot is not compared",
        "ledger/identity.py",
        (
            (
                "    if who.boot_id != boot_id():",
                "    if False:",
            ),
        ),
        ("unit/ledger/test_identity.py::test_verdict_when_the_machine_was_booted_since_then_dead",),
    ),
    Mutation(
        "host not compared",
        "A process of another machine can't be judged here.",
        "the host is not compared",
        "ledger/identity.py",
        (
            (
                " or who.host != socket.gethostname()",
                "",
            ),
        ),
        ("unit/ledger/test_identity.py::test_verdict_when_it_is_of_another_machine_then_unknown",),
    ),
    Mutation(
        "namespace not compared",
        "Numbers of another process namespace mean nothing here.",
        "it is not compared",
        "ledger/identity.py",
        (
            (
                "    if who.namespace != pid_namespace():",
                "    if False:",
            ),
        ),
        ("unit/ledger/test_identity.py::test_verdict_when_it_is_of_another_pid_namespace_then_unknown",),
    ),
    Mutation(
        "zombie process alive",
        "A process that has ended and was not waited for is dead.",
        "it lives",
        "ledger/identity.py",
        (
            (
                '    if fields[0] in (b"Z", b"X"):',
                "    if False:",
            ),
        ),
        ("unit/ledger/test_identity.py::test_verdict_when_it_is_a_zombie_then_dead",),
    ),
    Mutation(
        "silence is death",
        "Nothing is dead because nobody answered.",
        "no answer counts as an empty one",
        "engines/living.py",
        (
            (
                "            silent.update(one.token for one in asked)\n            continue",
                "            queued = []",
            ),
        ),
        ("unit/engines/test_living.py::test_look_when_squeue_fails_then_nothing_is_dead",),
    ),
    Mutation(
        "empty answer is death",
        "A session is not dead because one answer lacks its job.",
        "one answer is enough",
        "engines/living.py",
        (
            (
                "            is_over = header.submission in self._forgotten or self._has_left(header)",
                "            is_over = self.answered",
            ),
        ),
        ("unit/engines/test_living.py::test_verdict_when_a_session_is_of_another_machine_then_its_job_tells",),
    ),
    Mutation(
        "one answer instead of two",
        "Two answers at least 60 s apart make a forgotten job dead.",
        "the first one does",
        "engines/living.py",
        (
            (
                "now - began >= FORGOTTEN_AFTER_S)",
                "now - began >= 0)",
            ),
        ),
        (
            "unit/engines/test_living.py::"
            "test_remember_missing_when_times_pass_then_only_what_was_missing_all_the_time_is_forgotten",
        ),
    ),
    Mutation(
        "note of another boot",
        "The note of missing jobs counts for one boot of one machine.",
        "its times are believed anywhere",
        "engines/living.py",
        (
            (
                'if noted.get("boot_id") == boot else ()',
                "",
            ),
        ),
        ("unit/engines/test_living.py::test_remember_missing_when_the_note_is_of_another_boot_then_it_is_begun_anew",),
    ),
    Mutation(
        "requeued job dead",
        "A job that waits again is not dead.",
        "it is",
        "engines/living.py",
        (
            (
                "        return Verdict.ALIVE if row.state is JobState.RUNNING else Verdict.UNKNOWN\n\n    def ran",
                "        return Verdict.ALIVE if row.state is JobState.RUNNING else Verdict.DEAD\n\n    def ran",
            ),
        ),
        ("unit/engines/test_living.py::test_verdict_when_a_session_is_of_another_machine_then_its_job_tells",),
    ),
    Mutation(
        "missing task dead on any scheduler",
        "Only SGE leaves out tasks that have ended, and no others.",
        "a missing task is dead on Slurm, too",
        "engines/living.py",
        (
            (
                "        return is_known and SCHEDULERS[header.job.scheduler].forgets_ended_tasks",
                "        return is_known",
            ),
        ),
        ("unit/engines/test_living.py::test_verdict_when_a_session_is_of_another_machine_then_its_job_tells",),
    ),
    Mutation(
        "scheduler against one's eyes",
        "What can be seen here is believed more than the scheduler.",
        "the scheduler alone is asked",
        "engines/living.py",
        (
            (
                "        if here is not Verdict.UNKNOWN or header.job.scheduler not in SCHEDULERS:",
                "        if header.job.scheduler not in SCHEDULERS:",
            ),
        ),
        (
            "unit/engines/test_living.py::"
            "test_verdict_when_the_process_can_be_seen_here_then_it_tells_whatever_the_scheduler_says",
        ),
    ),
    Mutation(
        "unknown loses its claims",
        "Only the dead lose their claims.",
        "the unknown, too",
        "ledger/lost.py",
        (
            (
                "        if verdict is Verdict.DEAD or (verdict is Verdict.UNKNOWN and force):",
                "        if verdict is not Verdict.ALIVE:",
            ),
        ),
        ("unit/ledger/test_lost.py::test_recover_lost_when_nothing_is_known_then_nothing_is_taken",),
    ),
    Mutation(
        "missing session dead",
        "A claim whose session can't be read is unknown.",
        "dead",
        "ledger/lost.py",
        (
            (
                "if claim.header is not None else Verdict.UNKNOWN",
                "if claim.header is not None else Verdict.DEAD",
            ),
        ),
        (
            "unit/ledger/test_lost.py::"
            "test_recover_lost_when_the_session_file_is_missing_then_it_is_unknown_whatever_the_judge_says",
        ),
    ),
    Mutation(
        "force kills the living",
        "--force is for what can't be judged.",
        "also for what lives",
        "ledger/lost.py",
        (
            (
                "(verdict is Verdict.UNKNOWN and force)",
                "force",
            ),
        ),
        ("unit/ledger/test_lost.py::test_recover_lost_when_forced_then_unknown_counts_as_dead_and_alive_does_not",),
    ),
    Mutation(
        "former life keeps its claims",
        "A job that is started again knows its former claims as lost.",
        "it doesn't",
        "pilot/requeue.py",
        (
            (
                "    if not job.restart:",
                "    if job.restart:",
            ),
        ),
        ("unit/pilot/test_requeue.py::test_recover_when_the_job_was_requeued_then_its_open_claims_are_lost",),
    ),
    Mutation(
        "former life takes others' claims",
        "A former life's claim that somebody else has by now stays theirs.",
        "any attempt is declared lost",
        "pilot/requeue.py",
        (
            (
                "(item_id, state.attempt) in claims:",
                "item_id in ids:",
            ),
        ),
        ("unit/pilot/test_requeue.py::test_recover_when_somebody_else_has_the_tomodir_by_now_then_it_is_theirs",),
    ),
)
