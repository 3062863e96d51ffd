"""Mutations: collecting: what is taken."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "changed inputs ignored",
        "A result is put in place only if its inputs are those that lie there.",
        "inputs are not compared",
        "ledger/collect.py",
        (
            (
                '        _check_inputs(tomodir, event.get("inputs", []), collected_sources(batch, item))\n',
                "",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_an_input_changed_then_it_is_refused_and_nothing_is_touched",),
    ),
    Mutation(
        "times alone decide",
        "Inputs of another time and the same content have not changed.",
        "size and time decide",
        "ledger/inputs.py",
        (
            (
                " and sha256_of(path) != sha256:",
                ":",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_inputs_have_a_new_time_and_the_same_content_then_they_have_not_changed",
        ),
    ),
    Mutation(
        "time not looked at",
        "An input of the same size may have changed.",
        "only the size is compared",
        "ledger/inputs.py",
        (
            (
                "(status.st_size, status.st_mtime_ns) != (size, mtime_ns)",
                "status.st_size != size",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_an_input_changed_then_it_is_refused_and_nothing_is_touched",),
    ),
    Mutation(
        "foreign tomodir written",
        "Nothing is put into a tomodir that another batch has.",
        "registrations are not looked at",
        "ledger/collect.py",
        (
            (
                "        _check_registration(batch, item, tomodir)\n",
                "",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_another_batch_has_the_tomodir_then_it_is_refused",),
    ),
    Mutation(
        "older over newer result",
        "An older result doesn't replace a newer one.",
        "it does",
        "ledger/collect.py",
        (
            (
                "        if newer <= batch.batch_id:",
                "        if newer is not None:",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_the_crh_was_removed_then_the_result_is_taken_unless_a_newer_one_is_there",
        ),
    ),
    Mutation(
        "refused source's dependents",
        "What took a result that was refused is refused.",
        "it is put in place",
        "ledger/collect.py",
        (
            (
                "        check_sources(batch, item, {path for path, _ in report.refused} if item.after else ())\n",
                "",
            ),
        ),
        ("unit/ledger/test_collect_sources.py::test_collect_when_the_source_is_refused_then_so_is_what_took_it",),
    ),
    Mutation(
        "dependents first",
        "Results come after those that they took.",
        "in any order",
        "ledger/collect.py",
        (
            (
                "        for level in levels(items, batch.settings.after):",
                "        for level in [items[::-1]]:",
            ),
        ),
        (
            "unit/ledger/test_collect_sources.py::"
            "test_collect_when_the_source_was_changed_after_it_was_collected_then_what_took_it_is_refused",
        ),
    ),
)
