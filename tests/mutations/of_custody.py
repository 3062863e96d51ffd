"""Mutations: custody and submissions."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "custody taken from the living",
        "Custody is taken only from the dead.",
        "from anybody",
        "ledger/custody.py",
        (
            (
                "        if verdict is not Verdict.DEAD and not self._force:",
                "        if False:",
            ),
        ),
        ("unit/ledger/test_custody.py::test_custody_when_a_living_client_has_it_then_busy_says_who",),
    ),
    Mutation(
        "unknown holder is dead",
        "Who can't be judged is not dead.",
        "unknown counts as dead",
        "ledger/custody.py",
        (
            (
                "        if verdict is not Verdict.DEAD and not self._force:",
                "        if verdict is Verdict.ALIVE and not self._force:",
            ),
        ),
        ("unit/ledger/test_custody.py::test_custody_when_nothing_is_known_of_its_holder_then_busy",),
    ),
    Mutation(
        "custody by two",
        "One client has custody.",
        "who loses the name goes on",
        "ledger/custody.py",
        (
            (
                "            self.session.close()\n            raise self._busy(self._number)",
                "            pass",
            ),
        ),
        ("unit/ledger/test_custody.py::test_custody_when_two_follow_a_dead_holder_then_one_has_it",),
    ),
    Mutation(
        "custody not given back",
        "Custody is given back, also after an error.",
        "it is kept",
        "ledger/custody.py",
        (
            (
                '        self.session.win_for_batch(f"custody.{self._number:03d}.end", self._links)\n',
                "",
            ),
        ),
        ("unit/ledger/test_custody.py::test_custody_when_the_work_in_it_fails_then_it_is_given_back",),
    ),
    Mutation(
        "intent not durable",
        "An intent is durable before anything is sent.",
        "no fsync",
        "ledger/submissions.py",
        (
            (
                "        durable.sync(descriptor)\n",
                "",
            ),
        ),
        ("unit/ledger/test_submissions.py::test_record_intent_when_written_then_it_is_durable_and_open",),
    ),
    Mutation(
        "intent after sbatch",
        "The intent comes before sbatch.",
        "it is written together with the answer",
        "ledger/submissions.py",
        (
            (
                '    _append(paths, event="intent",',
                '    _late[token] = dict(event="intent",',
            ),
            (
                '    _append(paths, event="submitted"',
                '    _append(paths, **_late.pop(submission.token, {"event": ""}))\n'
                '    _append(paths, event="submitted"',
            ),
            (
                "def _append(",
                "_late: dict[str, dict[str, Any]] = {}\n\n\ndef _append(",
            ),
        ),
        (
            "unit/engines/test_array.py::"
            "test_start_when_two_classes_are_due_then_an_intent_before_each_sbatch_and_its_job_after",
        ),
    ),
    Mutation(
        "torn intent swallows the next",
        "What is written after a torn line can be read.",
        "it is appended to it",
        "ledger/submissions.py",
        (
            (
                "        if not _ends_with_newline(paths.submissions):",
                "        if False:",
            ),
        ),
        (
            "unit/ledger/test_submissions.py::"
            "test_read_submissions_when_the_last_line_is_torn_then_the_others_count_and_the_next_one_too",
        ),
    ),
    Mutation(
        "silence is a refusal",
        "A scheduler that said nothing may have taken the job.",
        "it is written down as refused",
        "engines/sending.py",
        (
            (
                "        if type(error) is SchedulerError:",
                "        if error:",
            ),
        ),
        ("unit/engines/test_array.py::test_start_when_sbatch_may_have_submitted_then_the_intent_stays_open",),
    ),
    Mutation(
        "sent again without asking",
        "Nothing is sent before the scheduler was asked for the open intent.",
        "its silence counts as no",
        "engines/pilots.py",
        (
            (
                "        elif submission.token in living.silent:",
                "        elif False:",
            ),
        ),
        ("unit/engines/test_pilots.py::test_settle_when_the_scheduler_does_not_answer_then_nothing_may_be_sent",),
    ),
    Mutation(
        "open intent forgotten",
        "An open intent that the scheduler doesn't know keeps its token.",
        "it counts as refused, and a new one is made",
        "engines/sending.py",
        (
            (
                "    return os.path.exists(script_path(batch, submission))",
                "    return False",
            ),
        ),
        ("unit/engines/test_pilots.py::test_settle_when_no_answer_knows_the_token_then_the_same_script_is_sent_again",),
    ),
    Mutation(
        "asked only once",
        "A job that is taken in late is looked for twice.",
        "once",
        "engines/pilots.py",
        (
            (
                "        time.sleep(LATE_S)\n        living = look(batch, host)\n",
                "        pass\n",
            ),
        ),
        ("unit/engines/test_pilots.py::test_settle_when_the_job_appears_only_after_a_moment_then_it_is_found",),
    ),
    Mutation(
        "pilots beside unknown ones",
        "Pilots that may live get no others beside them.",
        "unknown counts as dead",
        "engines/resume.py",
        (
            (
                "living.submission(one) is not Verdict.DEAD\n",
                "living.submission(one) is Verdict.ALIVE\n",
            ),
        ),
        ("unit/engines/test_resume.py::test_resume_when_nothing_is_known_of_the_pilots_then_none_are_started",),
    ),
    Mutation(
        "second job works, too",
        "Of two jobs with one token one works.",
        "both",
        "pilot/submission.py",
        (
            (
                '    return "" if header is None or header.job.job_id == job.job_id else header.job.job_id',
                '    return ""',
            ),
        ),
        ("unit/pilot/test_submission.py::test_submission_when_a_second_job_has_it_then_its_pilots_learn_of_the_first",),
    ),
)
