"""Mutations: collecting: how it is put in place."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "finished file first",
        "The file that says finished comes last.",
        "first",
        "ledger/placing.py",
        (
            (
                "return (2 if name == finish",
                "return (-2 if name == finish",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_it_renames_then_provenance_comes_last_but_one_and_finished_last",
        ),
    ),
    Mutation(
        "provenance early",
        "exe/crh.json comes last but one.",
        "with the rest",
        "ledger/placing.py",
        (
            (
                "1 if name == PROVENANCE else 0",
                "0",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_it_renames_then_provenance_comes_last_but_one_and_finished_last",
        ),
    ),
    Mutation(
        "finished file not held back",
        "The rest is durable before the file that says finished has its place.",
        "all in one step",
        "ledger/collect.py",
        (
            (
                "put_in_place(batch, one, one.order[:-1]))",
                "put_in_place(batch, one, one.order))",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_it_works_then_each_step_is_durable_before_the_next",),
    ),
    Mutation(
        "rest not durable",
        "The rest is durable before the file that says finished has its place.",
        "no sync between",
        "ledger/collect.py",
        (
            (
                "    sync((), {directory for one in placing for directory in one.touched})\n    # What",
                "    # What",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_it_works_then_each_step_is_durable_before_the_next",),
    ),
    Mutation(
        "extracted not durable",
        "What was extracted is durable before it is renamed.",
        "no sync",
        "ledger/collect.py",
        (
            (
                "    sync(files, ())\n",
                "",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_it_works_then_each_step_is_durable_before_the_next",),
    ),
    Mutation(
        "collected before it is durable",
        "collected comes after the result is durable.",
        "before it is put in place",
        "ledger/collect.py",
        (
            (
                "    each(lambda one: put_in_place(batch, one, one.order[:-1]))\n",
                "    for one in placing:\n"
                '        session.win(one.item.item_id, "collected", batch.settings.links)\n'
                "    each(lambda one: put_in_place(batch, one, one.order[:-1]))\n",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_it_works_then_each_step_is_durable_before_the_next",),
    ),
    Mutation(
        "replaced outputs deleted",
        "Old outputs are moved to replaced/.",
        "they are deleted",
        "ledger/placing.py",
        (
            (
                "    place = os.path.join(batch.paths.replaced,",
                "    return\n    place = os.path.join(batch.paths.replaced,",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_a_result_replaces_an_old_one_then_the_old_one_is_kept",),
    ),
    Mutation(
        "earlier copy overwritten",
        "A copy in replaced/ is not overwritten.",
        "it is",
        "ledger/placing.py",
        (
            (
                "    while os.path.lexists(target):",
                "    while False:",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_an_earlier_copy_is_kept_then_it_is_not_overwritten",),
    ),
    Mutation(
        "copy not durable",
        "A copy in replaced/ is durable before the original goes.",
        "no fsync",
        "ledger/placing.py",
        (
            (
                "        durable.sync_file(target)",
                "        pass",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_an_old_output_is_kept_then_the_copy_and_its_directories_are_durable",
        ),
    ),
    Mutation(
        "old outputs left beside",
        "Old outputs that would lie about the new result go.",
        "they stay",
        "ledger/placing.py",
        (
            (
                "        for name in list(_stale_outputs(one.tomodir, one.item, set(one.order))):",
                "        for name in ():",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_old_outputs_would_lie_about_the_new_ones_then_they_are_moved_to_replaced",
        ),
    ),
    Mutation(
        "link followed out of the tomodir",
        "Nothing is written through a link out of a tomodir.",
        "links are followed",
        "ledger/placing.py",
        (
            (
                "                if not stat.S_ISDIR(os.lstat(path).st_mode):",
                "                if not stat.S_ISDIR(os.stat(path).st_mode):",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_a_directory_is_a_symbolic_link_then_it_is_refused_and_nothing_goes_outside",
        ),
    ),
    Mutation(
        "members not checked",
        "Members are checked before any is written.",
        "they aren't",
        "ledger/pack.py",
        (
            (
                "            check_members(archive, record.length, refuse)\n            yield archive",
                "            yield archive",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_a_member_points_at_a_neighbour_then_nothing_of_the_record_is_taken",
        ),
    ),
    Mutation(
        "dead collect's directory left",
        "What a dead collect left goes.",
        "it stays",
        "ledger/collect.py",
        (
            (
                "    remove_old_temporaries(tomodir, batch.batch_id)\n",
                "",
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_a_dead_collect_left_its_directory_then_it_goes_and_others_stay",
        ),
    ),
    Mutation(
        "others' registration removed",
        "A .crh file goes only if it is still this batch's.",
        "whosever it is",
        "ledger/collect.py",
        (
            (
                "    if registration and registration.batch_id == batch.batch_id and registration.item_id == "
                "item.item_id:",
                "    if registration:",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_another_batch_has_the_tomodir_then_it_is_refused",),
    ),
    Mutation(
        "registration left",
        "The .crh file goes after collecting.",
        "it stays",
        "ledger/collect.py",
        (
            (
                "    release(batch, one.item)",
                "    pass",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_a_result_is_there_then_it_is_put_in_place_and_the_crh_goes",),
    ),
    Mutation(
        "leftovers of the dead left",
        "What a client left that died before the .crh went is removed by the next one.",
        "it stays",
        "ledger/collect.py",
        (
            (
                "    if custody.follows_a_death:",
                "    if False:",
            ),
        ),
        (
            "unit/ledger/test_collect_restarted.py::"
            "test_collect_when_it_dies_at_any_step_then_the_next_one_makes_the_same_tree",
        ),
    ),
    Mutation(
        "loser's result taken",
        "Of two results the one with the name is used, and no other.",
        "the newest session that has one",
        "ledger/collect.py",
        (
            (
                '        token = holder_of(batch.paths.name(item_id, "done"), '
                'wait_s=durable.VISIBILITY_WAIT_S) or ""\n',
                "        from crh_batch.ledger.session import list_sessions\n"
                "\n"
                "        has = (one for one in reversed(list_sessions(batch.paths)) for event in "
                'read_events(batch.paths, one) if (event["event"], event.get("id")) == ("done", item_id))\n'
                '        token = next(has, "")\n',
            ),
        ),
        (
            "unit/ledger/test_collect.py::"
            "test_collect_when_two_attempts_have_finished_then_the_one_with_the_name_is_taken",
        ),
    ),
    Mutation(
        "one stops all",
        "One tomodir that can't be collected stops no other one.",
        "it stops all",
        "ledger/collect.py",
        (
            (
                "        except CrhBatchError as error:\n"
                "            return error\n"
                "        except OSError as error:\n"
                "            return _failed(batch",
                "        except ZeroDivisionError as error:\n"
                "            return error\n"
                "        except OSError as error:\n"
                "            return _failed(batch",
            ),
        ),
        ("unit/ledger/test_collect.py::test_collect_when_an_input_changed_then_it_is_refused_and_nothing_is_touched",),
    ),
)
