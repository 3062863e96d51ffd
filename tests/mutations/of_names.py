"""Mutations: states."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "attempt without number",
        "Each attempt has a name of its own.",
        "claims have no number",
        "ledger/names.py",
        (
            (
                'return f"claim.{attempt:03d}"',
                'return "claim.001"',
            ),
        ),
        ("unit/ledger/test_names.py::test_marks_when_written_then_the_protocol_spells_them_so",),
    ),
    Mutation(
        "done forgotten by retry",
        "A result that was committed is never taken back.",
        "retry takes done away",
        "ledger/names.py",
        (
            (
                "            self.forgiven = max(self.forgiven, number)",
                "            self.forgiven = max(self.forgiven, number)\n            self.done = False",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "failure beats done",
        "Once done, a later failure doesn't count.",
        "done counts only if nothing failed",
        "ledger/names.py",
        (
            (
                "        if self.done:\n",
                "        if self.done and not self.fails:\n",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "collected not the last word",
        "collected counts more than done.",
        "done counts more",
        "ledger/names.py",
        (
            (
                "        if self.collected:\n",
                "        if self.collected and not self.done:\n",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "moved ignored",
        "A tomodir that was submitted again is the other batch's.",
        "the name moved is passed over",
        "ledger/names.py",
        (
            (
                "            self.moved = True",
                "            pass",
            ),
        ),
        ("unit/engines/test_take_over.py::test_free_when_it_failed_and_its_input_has_changed_then_it_is_freed",),
    ),
    Mutation(
        "cancelled retried",
        "What was cancelled is not run again by itself.",
        "cancelled is not final",
        "ledger/names.py",
        (
            (
                "FINAL = frozenset({Failure.INPUT, Failure.CANCELLED, Failure.TOO_LONG})",
                "FINAL = frozenset({Failure.INPUT, Failure.TOO_LONG})",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "bad input retried",
        "What failed by its input is not run again by itself.",
        "input is not final",
        "ledger/names.py",
        (
            (
                "FINAL = frozenset({Failure.INPUT, Failure.CANCELLED, Failure.TOO_LONG})",
                "FINAL = frozenset({Failure.CANCELLED, Failure.TOO_LONG})",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "too long retried",
        "What had a whole job and did not finish is not run again by itself.",
        "toolong is not final",
        "ledger/names.py",
        (
            (
                "FINAL = frozenset({Failure.INPUT, Failure.CANCELLED, Failure.TOO_LONG})",
                "FINAL = frozenset({Failure.INPUT, Failure.CANCELLED})",
            ),
        ),
        (
            "unit/ledger/test_names.py::"
            "test_state_when_a_whole_job_was_not_enough_then_it_has_failed_at_once_until_a_retry",
        ),
    ),
    Mutation(
        "walltime charged",
        "The end of a job is not charged to the tomodir.",
        "walltime is charged like a crash",
        "ledger/names.py",
        (
            (
                "CHARGED = frozenset({Failure.CRASH,",
                "CHARGED = frozenset({Failure.WALLTIME, Failure.CRASH,",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "walltime for ever",
        "After five ends of jobs a tomodir has failed.",
        "it is tried for ever",
        "ledger/names.py",
        (
            (
                "            return since.count(Failure.WALLTIME) >= policy.walltime_attempts",
                "            return False",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "crashes for ever",
        "Charged failures end at a limit.",
        "crashes are not charged",
        "ledger/names.py",
        (
            (
                "CHARGED = frozenset({Failure.CRASH, Failure.MEMORY, Failure.LOST})",
                "CHARGED = frozenset({Failure.MEMORY, Failure.LOST})",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "losses for ever",
        "A tomodir that takes every pilot with it ends, too.",
        "lost attempts are not charged",
        "ledger/names.py",
        (
            (
                "CHARGED = frozenset({Failure.CRASH, Failure.MEMORY, Failure.LOST})",
                "CHARGED = frozenset({Failure.CRASH, Failure.MEMORY})",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "node's fault charged",
        "A program that can't be started is the node's fault.",
        "it is charged to the tomodir",
        "ledger/names.py",
        (
            (
                "CHARGED = frozenset({Failure.CRASH,",
                "CHARGED = frozenset({Failure.PROGRAM, Failure.CRASH,",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "retry forgives nothing",
        "What was forgiven doesn't count any more.",
        "failures count from the beginning",
        "ledger/names.py",
        (
            (
                "number > self.forgiven]",
                "number]",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "lost beats the session's own word",
        "Of two classes the more telling one counts.",
        "the order is turned round",
        "ledger/names.py",
        (
            (
                "_PRECEDENCE.index(failure) < _PRECEDENCE",
                "_PRECEDENCE.index(failure) > _PRECEDENCE",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "hold of a tomodir ignored",
        "What is held is not begun.",
        "only the whole batch's hold counts",
        "ledger/names.py",
        (
            (
                "        if batch_held or self.held > self.released:",
                "        if batch_held:",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
    Mutation(
        "hold of the batch ignored",
        "A batch that is held begins nothing.",
        "only a tomodir's own hold counts",
        "ledger/names.py",
        (
            (
                "        if batch_held or self.held > self.released:",
                "        if self.held > self.released:",
            ),
        ),
        ("unit/ledger/test_steering.py::test_states_when_the_batch_is_held_then_only_what_would_be_begun_is",),
    ),
    Mutation(
        "begun before its source",
        "What takes a result waits until that is done.",
        "it is ready at once",
        "ledger/names.py",
        (
            (
                "        if all(sources.has_result(one) for one in after):",
                "        if after is not None:",
            ),
        ),
        ("unit/ledger/test_waiting.py::test_states_when_one_takes_results_then_it_waits_for_them",),
    ),
    Mutation(
        "unfinished claim ready",
        "A claim without an end is running, for whoever has it.",
        "it is ready again",
        "ledger/names.py",
        (
            (
                "        if last and failure is None:",
                "        if False:",
            ),
        ),
        ("unit/ledger/test_names.py::test_state_when_these_names_are_there_then_this_state",),
    ),
)
