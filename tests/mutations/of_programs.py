"""Mutations: programs and the guard."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "no process group",
        "A program has a process group of its own.",
        "it has the pilot's",
        "pilot/program.py",
        (
            (
                "                start_new_session=True,\n",
                "",
            ),
        ),
        ("unit/pilot/test_program.py::test_run_when_started_then_it_leads_its_own_group_and_session_under_guard",),
    ),
    Mutation(
        "children left behind",
        "What a program left behind ends with it.",
        "it goes on",
        "pilot/program.py",
        (
            (
                "            self._signal(signal.SIGKILL)\n            _, status",
                "            _, status",
            ),
        ),
        ("unit/pilot/test_program.py::test_run_when_it_leaves_children_behind_then_they_end_with_it",),
    ),
    Mutation(
        "stubborn program goes on",
        "A program that doesn't listen to SIGTERM is killed.",
        "it goes on",
        "pilot/program.py",
        (
            (
                "        killer.start()\n",
                "        pass\n",
            ),
        ),
        ("unit/pilot/test_program.py::test_end_when_it_does_not_listen_then_it_is_killed_with_its_children",),
    ),
    Mutation(
        "not under guard",
        "A program dies with its pilot.",
        "the guard isn't told of it",
        "pilot/guard.py",
        (
            (
                '        self._send(f"+{group}\\n")',
                "        pass",
            ),
        ),
        ("unit/pilot/test_guard.py::test_guard_when_the_pilot_is_killed_then_its_programs_and_its_scratch_go",),
    ),
    Mutation(
        "programs outlive the pilot",
        "A program dies with its pilot.",
        "the guard ends nothing",
        "pilot/guard.py",
        (
            (
                "                os.killpg(group, signal.SIGKILL)",
                "                pass",
            ),
        ),
        ("unit/pilot/test_guard.py::test_guard_when_the_pilot_is_killed_then_its_programs_and_its_scratch_go",),
    ),
    Mutation(
        "just started outlives the pilot",
        "A program that had just been started dies with the pilot, too.",
        "only known groups are ended",
        "pilot/guard.py",
        (
            (
                "            left = _marked(scratch)",
                "            left: list[int] = []",
            ),
        ),
        ("unit/pilot/test_guard.py::test_guard_when_a_program_is_not_in_a_group_that_it_knows_then_it_goes_too",),
    ),
    Mutation(
        "scratch left",
        "The scratch directory goes, also after SIGKILL.",
        "the guard leaves it",
        "pilot/guard.py",
        (
            (
                "                shutil.rmtree(scratch, ignore_errors=True)",
                "                pass",
            ),
        ),
        ("unit/pilot/test_guard.py::test_guard_when_the_pilot_is_killed_then_its_programs_and_its_scratch_go",),
    ),
    Mutation(
        "guard dies with the group",
        "The guard outlives what ends the pilot's group.",
        "it stays in the group",
        "pilot/guard.py",
        (
            (
                "        os.setsid()\n",
                "",
            ),
        ),
        ("unit/pilot/test_guard.py::test_guard_when_the_pilots_group_is_signalled_then_it_lives_on_to_clear_up",),
    ),
)
