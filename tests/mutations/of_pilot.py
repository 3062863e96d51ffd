"""Mutations: what a pilot stages and runs."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "runs in the tomodir",
        "Programs run in a private directory.",
        "in the tomodir",
        "pilot/stages.py",
        (
            (
                '            os.path.join(attempt.copy, stage.get("directory", "exe")),',
                '            os.path.join(batch.tomodir(attempt.item), stage.get("directory", "exe")),',
            ),
        ),
        ("unit/pilot/test_stages.py::test_run_when_it_runs_then_programs_get_their_threads_and_a_private_directory",),
    ),
    Mutation(
        "old outputs staged",
        "Old outputs are not there when a program runs.",
        "the whole tomodir is copied",
        "pilot/staging.py",
        (
            (
                "    return [_copy(tomodir, name, copy, name, made) for name in names]",
                "    import shutil\n"
                "\n"
                "    shutil.copytree(tomodir, copy, dirs_exist_ok=True)\n"
                "    return [_copy(tomodir, name, copy, name, made) for name in names]",
            ),
        ),
        ("unit/pilot/test_staging.py::test_stage_inputs_when_they_are_there_then_they_are_copied_with_time_and_sum",),
    ),
    Mutation(
        "staged through a fifo",
        "What is no plain file is not read as an input.",
        "it is",
        "pilot/staging.py",
        (
            (
                "    if not stat.S_ISREG(os.fstat(descriptor).st_mode):",
                "    if False:",
            ),
        ),
        (
            "unit/pilot/test_staging.py::"
            "test_stage_inputs_when_an_input_is_no_file_any_more_then_it_is_the_tomodirs_fault",
        ),
    ),
    Mutation(
        "input mixed of two",
        "An input that changes while it is copied is copied again.",
        "a part of the old and a part of the new",
        "pilot/staging.py",
        (
            (
                "    if left or (now.st_size, now.st_mtime_ns) != (status.st_size, status.st_mtime_ns):",
                "    if False:",
            ),
        ),
        (
            "unit/pilot/test_staging.py::"
            "test_stage_inputs_when_one_changes_while_it_is_copied_then_it_is_never_a_mixture",
        ),
    ),
    Mutation(
        "references out of scratch",
        "A reference that climbs stays inside the scratch directory.",
        "the copy lies directly in it",
        "pilot/staging.py",
        (
            (
                "    climbs = max((_climb(name) for name in inputs), default=0)",
                "    climbs = 0",
            ),
        ),
        (
            "unit/pilot/test_staging.py::"
            "test_place_in_scratch_when_references_climb_then_the_copy_lies_as_deep_as_they_climb",
        ),
    ),
    Mutation(
        "old file instead of the result",
        "A result of another tomodir is never taken from where an old one lies.",
        "it is copied from there",
        "pilot/staging.py",
        (
            (
                "} - sourced)",
                "})",
            ),
        ),
        (
            "unit/pilot/test_sources.py::"
            "test_stage_inputs_when_one_is_a_result_of_another_then_the_old_file_is_not_copied",
        ),
    ),
    Mutation(
        "changed input put back",
        "An input that the program changed is not a result.",
        "it is packed and would be put in place",
        "pilot/staging.py",
        (
            (
                "                    changed.append(name)",
                "                    made.append(name)",
            ),
        ),
        ("unit/pilot/test_staging.py::test_find_outputs_when_an_input_was_changed_then_it_is_named_and_is_no_output",),
    ),
    Mutation(
        "short copy unnoticed",
        "An input that was cut short on a full disk is noticed.",
        "one write(2) is enough",
        "pilot/staging.py",
        (
            (
                "            durable.write_all(writing.fileno(), chunk)",
                "            writing.write(chunk)",
            ),
        ),
        ("unit/pilot/test_staging.py::test_stage_inputs_when_scratch_is_full_then_no_input_is_cut_short_unnoticed",),
    ),
    Mutation(
        "threads not set",
        "OMP_NUM_THREADS is set for each program.",
        "it isn't",
        "pilot/program.py",
        (
            (
                '    environment["OMP_NUM_THREADS"] = str(omp_threads)\n',
                "",
            ),
        ),
        (
            "unit/pilot/test_program.py::"
            "test_environment_when_the_pilots_has_openmp_settings_then_only_the_tomodirs_own_count",
        ),
    ),
    Mutation(
        "OpenMP of the surroundings",
        "Nothing of the surroundings changes the number of threads.",
        "OMP_ variables are handed on",
        "pilot/program.py",
        (
            (
                ' if not key.startswith(("OMP_", "GOMP_"))',
                "",
            ),
        ),
        (
            "unit/pilot/test_program.py::"
            "test_environment_when_the_pilots_has_openmp_settings_then_only_the_tomodirs_own_count",
        ),
    ),
)
