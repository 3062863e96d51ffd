"""Mutations: batches that are mirrored."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "name before its session",
        "A name here never speaks of a session that isn't here.",
        "it is made all the same",
        "mirror/taking.py",
        (("                if token_of(target) not in tokens:\n", "                if False:\n"),),
        ("unit/mirror/test_down.py::test_bring_down_when_a_session_is_not_there_then_its_name_waits",),
    ),
    Mutation(
        "taken counts as written",
        "Names that were taken and not written here are taken again.",
        "they count as written",
        "mirror/down.py",
        (("    complete.discard(key)\n", ""),),
        ("unit/mirror/test_down.py::test_bring_down_when_names_were_taken_and_not_written_then_they_are_taken_again",),
    ),
    Mutation(
        "two refreshes interleave",
        "A byte of a session is written to its own place.",
        "it is appended",
        "mirror/sessions.py",
        (("os.lseek(descriptor, start, os.SEEK_SET)", "os.lseek(descriptor, 0, os.SEEK_END)"),),
        ("unit/mirror/test_down.py::test_bring_down_when_another_process_does_the_same_then_no_byte_is_here_twice",),
    ),
    Mutation(
        "decided in the copy",
        "What only one may do is decided where the pilots are.",
        "it is decided here",
        "mirror/arbiter.py",
        (("        if not marks or not stage.has_arrived:\n", "        if True:\n"),),
        ("unit/mirror/test_arbiter.py::test_win_when_a_pilot_was_first_then_it_is_not_ours_here_either",),
    ),
    Mutation(
        "name there before its session",
        "A session is there before a name of it.",
        "it isn't sent",
        "mirror/making.py",
        (("            sessions=texts,\n", "            sessions={},\n"),),
        (
            "unit/mirror/test_arbiter.py::"
            "test_win_when_nobody_has_it_then_it_is_ours_on_both_sides_and_the_session_is_there",
        ),
    ),
    Mutation(
        "owed names forgotten",
        "What was decided before the stage had arrived is made there.",
        "it isn't",
        "mirror/down.py",
        (("    make_owed(stage, far, taken.lacking())\n", ""),),
        ("unit/mirror/test_arbiter.py::test_bring_down_when_names_were_made_here_alone_then_they_are_made_there",),
    ),
    Mutation(
        "half a hold",
        "A batch is held when it is held on all of its clusters.",
        "on one of them",
        "mirror/for_all.py",
        (("set.intersection(", "set.union("),),
        (
            "unit/mirror/test_arbiter.py::"
            "test_hold_when_a_machine_was_down_then_the_batch_is_held_only_after_the_next_one",
        ),
    ),
    Mutation(
        "cancel looks at the old state",
        "A result that was committed a moment before cancel stays a result.",
        "cancel doesn't look",
        "engines/steer.py",
        (("        see_news(batch.paths)\n", ""),),
        ("unit/mirror/test_arbiter.py::test_cancel_when_a_pilot_finished_meanwhile_then_the_result_stays_a_result",),
    ),
    Mutation(
        "stages left behind",
        "A batch goes with what it has on other machines.",
        "only here",
        "verify/prune.py",
        (("                remove_stages(batch)\n", ""),),
        ("unit/mirror/test_removal.py::test_prune_when_nothing_of_a_batch_is_needed_then_it_goes_on_both_sides",),
    ),
)
