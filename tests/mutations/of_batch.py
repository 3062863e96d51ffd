"""Mutations: batches."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "program runs from where it lies",
        "A batch runs the programs that it froze.",
        "those that are installed now",
        "pilot/stages.py",
        (
            (
                '    path = program.get("path") or os.path',
                '    path = program.get("source") or os.path',
            ),
        ),
        (
            "real/local/test_commands.py::"
            "test_program_that_vanishes_after_submit_stops_the_pilot_and_no_tomodir_is_charged",
        ),
    ),
    Mutation(
        "open batch directory",
        "A batch's directory is its user's alone.",
        "mode 0755",
        "ledger/batch.py",
        (
            (
                "        os.mkdir(paths.directory, 0o700)",
                "        os.mkdir(paths.directory, 0o755)",
            ),
        ),
        ("unit/ledger/test_batch.py::test_new_batch_when_made_then_it_has_its_directories_and_does_not_count_yet",),
    ),
    Mutation(
        "clock decides the order",
        "A new batch is newer than all others, whatever the clock says.",
        "the clock is believed",
        "ledger/batch.py",
        (
            (
                "            now = max(now, time.mktime",
                "            max(now, time.mktime",
            ),
        ),
        ("unit/ledger/test_batch.py::test_new_batches_sort_after_all_earlier_ones_whatever_the_clock_says",),
    ),
    Mutation(
        "empty batch counts",
        "A batch that was taken over never counts.",
        "any items.jsonl counts",
        "ledger/batch.py",
        (
            (
                "        return os.path.getsize(BatchPaths(directory).items) > 0",
                "        return os.path.getsize(BatchPaths(directory).items) >= 0",
            ),
        ),
        ("unit/ledger/test_batch.py::test_write_items_when_an_empty_list_closed_the_batch_then_it_never_counts",),
    ),
)
