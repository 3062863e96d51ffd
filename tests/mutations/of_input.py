"""Mutations: hostile input."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "words through a shell",
        "No path passes through a shell.",
        "commands are joined and given to one",
        "hosts/this_machine.py",
        (
            (
                "                list(argv),\n",
                '                " ".join(argv),\n                shell=True,\n',
            ),
        ),
        ("unit/test_this_machine.py::test_run_when_a_word_holds_what_a_shell_acts_on_then_it_is_one_word",),
    ),
    Mutation(
        "surrounding job leaks",
        "A job that a pilot or client runs in doesn't leak into what it submits.",
        "its variables are handed on",
        "hosts/this_machine.py",
        (
            (
                ' if not key.startswith("SLURM_") or key in kept',
                "",
            ),
        ),
        ("unit/test_this_machine.py::test_run_when_inside_a_job_then_its_variables_do_not_leak_into_a_nested_sbatch",),
    ),
    Mutation(
        "path of an item leads out",
        "An item of a batch lies below its root.",
        "any path is taken",
        "ledger/items.py",
        (
            (
                'path=inside(data["path"])',
                'path=text(data["path"])',
            ),
        ),
        ("unit/ledger/test_batch.py::test_items_when_a_path_leads_out_of_the_root_then_that_line_is_damaged",),
    ),
    Mutation(
        "zeros in a pack",
        "A record doesn't say that it holds far more than it can.",
        "it may",
        "ledger/members.py",
        (
            (
                "            if size > max(RATIO_FROM_BYTES, MAX_RATIO * packed_bytes):",
                "            if False:",
            ),
        ),
        (
            "unit/ledger/test_hostile_packs.py::"
            "test_open_record_when_it_is_a_bomb_then_it_is_refused_before_anything_is_unpacked",
        ),
    ),
    Mutation(
        "chain of headers",
        "A header that no pilot writes is refused before it is followed.",
        "it is followed",
        "ledger/members.py",
        (
            (
                " or cls.is_after_extended)):",
                ")):",
            ),
        ),
        (
            "unit/ledger/test_hostile_packs.py::"
            "test_open_record_when_a_member_is_none_that_pilots_write_then_all_of_it_is_refused",
        ),
    ),
    Mutation(
        "device read as a file",
        "Only plain files are read.",
        "whatever can be opened",
        "tomodir/files.py",
        (
            (
                "        if not stat.S_ISREG(mode):",
                "        if False:",
            ),
        ),
        ("unit/tomodir/test_needs_files.py::test_volt_when_it_is_no_regular_file_then_it_is_not_modelled_over",),
    ),
    Mutation(
        "result over an input",
        "A result never replaces an input.",
        "members are not compared with the inputs",
        "ledger/placing.py",
        (
            (
                "    _check_inputs(tomodir, item, names)\n",
                "",
            ),
        ),
        (
            "unit/ledger/test_hostile_packs.py::"
            "test_check_places_when_a_result_would_replace_an_input_then_it_is_refused",
        ),
    ),
)
