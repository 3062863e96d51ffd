"""Mutations: time, steering, verdicts."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "warning ignored",
        "After a warning nothing more is claimed.",
        "the signal is passed over",
        "pilot/job_time.py",
        (
            (
                "        self.stopping = name\n",
                "",
            ),
        ),
        (
            "unit/pilot/test_job_time.py::"
            "test_signalled_when_a_warning_comes_then_programs_go_on_until_shortly_before_the_end",
        ),
    ),
    Mutation(
        "walltime by SIGTERM a crash",
        "A program that ended with the job by SIGTERM did not crash.",
        "it did",
        "pilot/stages.py",
        (
            (
                " and is_stopping():",
                " and not batch:",
            ),
        ),
        ("unit/pilot/test_stages.py::test_run_when_sigterm_ends_a_program_then_the_end_of_the_job_is_no_fault_of_its",),
    ),
    Mutation(
        "begun without time",
        "A tomodir is begun only if it may fit into the time that is left.",
        "always",
        "pilot/job_time.py",
        (
            (
                "        if self._end_time is None:\n            return True\n        usable",
                "        if True:\n            return True\n        usable",
            ),
        ),
        ("unit/pilot/test_job_time.py::test_fits_when_time_is_left_then_a_fifth_more_than_the_estimate_is_wanted",),
    ),
    Mutation(
        "cancelled job is too long",
        "A job that was ended early says nothing about its tomodirs.",
        "it does",
        "pilot/job_time.py",
        (
            (
                "        if self._clock() < end - self._grace_s - slack_s:",
                "        if False:",
            ),
        ),
        ("unit/pilot/test_job_time.py::test_too_long_when_the_job_is_ended_before_its_time_then_no_word",),
    ),
    Mutation(
        "cancel not noticed",
        "An attempt that was cancelled or declared lost is ended.",
        "it goes on",
        "pilot/watch.py",
        (
            (
                "            for failure in (Failure.CANCELLED, Failure.LOST):",
                "            for failure in ():",
            ),
        ),
        ("real/local/test_steer.py::test_groups_are_held_cancelled_and_waited_for_by_name",),
    ),
    Mutation(
        "hold not noticed",
        "A pilot looks at notices before each claim.",
        "only at its listings",
        "pilot/chooser.py",
        (
            (
                "            if self._ready and self._notices.changed():",
                "            if False:",
            ),
        ),
        ("unit/engines/test_steer.py::test_hold_when_pilots_have_listed_before_then_they_do_not_claim_it",),
    ),
    Mutation(
        "notice before the names",
        "Names are durable before the notice of them.",
        "they aren't",
        "ledger/steering.py",
        (
            (
                "    durable.sync_many((), sorted(shards))\n",
                "",
            ),
        ),
        (
            "unit/engines/test_steer.py::"
            "test_hold_when_some_are_meant_then_their_names_are_durable_before_pilots_are_told",
        ),
    ),
    Mutation(
        "notice of another client",
        "A notice that another client made meanwhile may be older than one's own names.",
        "it is enough",
        "ledger/steering.py",
        (
            (
                '    while not session.win_for_batch(f"steered.{number:03d}", links):\n        number += 1',
                '    session.win_for_batch(f"steered.{number:03d}", links)',
            ),
        ),
        (
            "unit/ledger/test_steering.py::"
            "test_give_notice_when_another_client_has_just_made_the_number_then_it_makes_the_next",
        ),
    ),
    Mutation(
        "leaves without a last look",
        "A pilot looks for news once more before it leaves.",
        "it doesn't",
        "pilot/lanes.py",
        (
            (
                "        if not is_open and self._has_news():",
                "        if False:",
            ),
        ),
        ("unit/pilot/test_lanes.py::test_claim_when_something_is_released_at_the_last_moment_then_it_is_claimed",),
    ),
    Mutation(
        "bad node goes on",
        "A node on which everything fails stops.",
        "it goes on",
        "pilot/loop.py",
        (
            (
                "        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:",
                "        if False:",
            ),
        ),
        (
            "real/local/test_pilot_on_a_node.py::"
            "test_node_when_everything_fails_on_it_then_the_pilot_leaves_and_spares_the_rest",
        ),
    ),
    Mutation(
        "exit status is the verdict",
        "An exit status of 0 is not the verdict.",
        "it is",
        "tomodir/outcome.py",
        (
            (
                "    stops = _STOP.findall(ended.stderr)\n",
                "    return None\n",
            ),
        ),
        ("unit/tomodir/test_outcome.py::test_status_when_0_after_stop_minus_1_then_it_is_a_failure_of_the_input",),
    ),
    Mutation(
        "volt.dat not checked",
        "A modelling is good if volt.dat is whole.",
        "if it says STOP 0",
        "tomodir/outcome.py",
        (
            (
                '        missing = f"{result} {problem}" if problem else ""',
                '        missing = ""',
            ),
        ),
        ("unit/tomodir/test_outcome.py::test_volt_when_cut_short_after_a_good_end_then_it_is_no_success",),
    ),
    Mutation(
        "inv.ctr not checked",
        "An inversion is good if inv.ctr says that it has finished.",
        "if it says STOP 0",
        "tomodir/outcome.py",
        (
            (
                '    missing = "" if steps[-1].finished else ',
                '    missing = "" if steps else ',
            ),
        ),
        ("unit/tomodir/test_outcome.py::test_results_when_missing_after_a_good_end_then_it_is_a_crash",),
    ),
    Mutation(
        "memory not doubled",
        "What ran out of memory gets more of it.",
        "the same",
        "ledger/memory.py",
        (
            (
                "        if failures:",
                "        if failures < 0:",
            ),
        ),
        ("unit/ledger/test_memory.py::test_need_bytes_when_it_ran_out_of_memory_then_each_time_twice_the_job",),
    ),
    Mutation(
        "changed program run",
        "Programs are run only if they are those that were submitted.",
        "their sums are not compared",
        "pilot/frozen.py",
        (
            (
                '            changed = bool(program.get("file")) and',
                "            changed = not program and",
            ),
        ),
        ("unit/pilot/test_frozen.py::test_check_when_one_was_changed_or_copied_in_part_then_it_is_named",),
    ),
)
