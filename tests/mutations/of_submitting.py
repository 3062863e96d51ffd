"""Mutations: registering and taking over."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "items before registrations",
        "items.jsonl comes after all registrations in it.",
        "it is written first",
        "engines/new_batch.py",
        (
            (
                "        registered = _register(root, paths, ordered, made, on_progress)\n",
                "        write_items(paths, [item_of(n, one, ids_of(ordered)) for n, one in enumerate(ordered)])\n"
                "        registered = _register(root, paths, ordered, made, on_progress)\n",
            ),
        ),
        ("unit/engines/test_new_batch.py::test_make_batch_when_they_take_results_then_items_and_settings_say_so",),
    ),
    Mutation(
        "items replaced",
        "items.jsonl is made exclusively.",
        "it is replaced",
        "ledger/items.py",
        (
            (
                '    made = durable.publish_exclusively(paths.items, content, paths.items + ".part")',
                "    durable.write_durable(paths.items, content)\n    made = True",
            ),
        ),
        ("unit/ledger/test_batch.py::test_write_items_when_they_exist_then_they_stay",),
    ),
    Mutation(
        "slow client goes on",
        "A client whose batch was taken over stops.",
        "it goes on",
        "engines/new_batch.py",
        (
            (
                "        if not write_items(paths, items):",
                "        if write_items(paths, items) is None:",
            ),
        ),
        (
            "unit/engines/test_new_batch.py::"
            "test_make_batch_when_another_client_took_it_over_meanwhile_then_it_stops_and_starts_nothing",
        ),
    ),
    Mutation(
        "registered without custody",
        "Custody comes before the first registration.",
        "no custody",
        "engines/new_batch.py",
        (
            (
                "    with Custody(paths, settings.links):",
                "    if settings.links:",
            ),
        ),
        ("unit/engines/test_new_batch.py::test_make_batch_when_it_registers_then_it_has_custody_until_all_is_there",),
    ),
    Mutation(
        "dependent without its source",
        "What takes a result that this batch doesn't get is not registered.",
        "it stays",
        "engines/new_batch.py",
        (
            (
                "        registered = _without_unsourced(root, paths, ordered, registered, made)\n",
                "",
            ),
        ),
        (
            "unit/engines/test_new_batch.py::"
            "test_make_batch_when_somebody_else_got_the_source_then_what_takes_its_result_is_not_registered",
        ),
    ),
    Mutation(
        "taken over without closing",
        "A half-made batch that was taken over never counts.",
        "its list of items is not closed",
        "engines/take_over.py",
        (
            (
                "                    write_items(paths, [])",
                "                    pass",
            ),
        ),
        (
            "unit/engines/test_take_over.py::"
            "test_free_when_the_batch_is_half_made_and_its_client_is_dead_then_it_is_freed_and_the_batch_closed",
        ),
    ),
    Mutation(
        "finished batch taken over",
        "A client that was only slow keeps its batch.",
        "the batch is not looked at again",
        "engines/take_over.py",
        (
            (
                "        if counts(directory):\n            # RACE",
                "        if not directory:\n            # RACE",
            ),
        ),
        (
            "unit/engines/test_take_over.py::"
            "test_free_when_a_half_made_batch_is_finished_meanwhile_then_it_is_left_to_it",
        ),
    ),
    Mutation(
        "running tomodir freed",
        "A tomodir that its batch will still run is left to it.",
        "whatever isn't done is freed",
        "engines/take_over.py",
        (
            (
                '        if state.name is not StateName.FAILED:\n            return ""\n        why',
                '        if state.name is StateName.DONE:\n            return ""\n        why',
            ),
        ),
        ("unit/engines/test_take_over.py::test_free_when_the_batch_goes_on_with_it_then_it_is_left_to_its_batch",),
    ),
    Mutation(
        "freed without a name",
        "What is freed has moved, in its batch's names, before its .crh goes.",
        "no name",
        "engines/take_over.py",
        (
            (
                '        session.win(registration.item_id, "moved", batch.settings.links)\n',
                "",
            ),
        ),
        (
            "unit/engines/test_take_over.py::"
            "test_free_when_the_client_dies_before_the_crh_goes_then_its_batch_knows_already",
        ),
    ),
    Mutation(
        "foreign registration removed",
        "Only a registration that was read is removed.",
        "whatever stands there by now",
        "ledger/registration.py",
        (
            (
                "            if stream.read(_MAX_BYTES) != registration.text:\n                return False",
                "            if not stream:\n                return False",
            ),
        ),
        ("unit/ledger/test_registration.py::test_remove_registration_when_it_is_another_one_by_now_then_it_stays",),
    ),
    Mutation(
        "link as a registration",
        "A link in the place of a .crh file is nobody's registration.",
        "it is followed",
        "ledger/registration.py",
        (
            (
                "    status = os.lstat(path)\n    if not stat",
                "    status = os.stat(path)\n    if not stat",
            ),
        ),
        (
            "unit/ledger/test_registration.py::"
            "test_read_registration_when_something_else_stands_there_then_it_is_a_flaw",
        ),
    ),
)
