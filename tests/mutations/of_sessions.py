"""Mutations: sessions and files."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "session not durable before its names",
        "A session is durable, its directory entry too, before its first name.",
        "no fsync of the directory",
        "ledger/session.py",
        (
            (
                "        durable.sync_directory(paths.sessions)\n",
                "",
            ),
        ),
        ("unit/ledger/test_session.py::test_begin_when_done_then_file_and_directory_are_durable_before_any_name",),
    ),
    Mutation(
        "torn event believed",
        "A torn last line is passed over.",
        "it is believed if it can be read",
        "ledger/events.py",
        (
            (
                '    if not line.endswith(b"\\n"):\n        return None\n',
                "",
            ),
        ),
        ("unit/ledger/test_session.py::test_read_events_when_the_last_line_is_torn_then_the_others_are_read",),
    ),
    Mutation(
        "torn header believed",
        "A first line without its end is none.",
        "it is believed if it can be read",
        "ledger/session.py",
        (
            (
                'parse_json(line) if line.endswith(b"\\n") else None',
                "parse_json(line)",
            ),
        ),
        ("unit/ledger/test_session.py::test_read_header_when_the_first_line_is_not_whole_then_none",),
    ),
    Mutation(
        "torn event swallows the next",
        "What is written after a torn line can be read.",
        "it is appended to it",
        "ledger/session.py",
        (
            (
                '(b"\\n" if self._torn else b"") + ',
                "",
            ),
        ),
        (
            "unit/ledger/test_session.py::"
            "test_append_when_a_write_was_cut_short_by_an_error_then_the_next_event_is_whole",
        ),
    ),
    Mutation(
        "newer session read",
        "What a newer version wrote is refused.",
        "the schema is not looked at",
        "ledger/session.py",
        (
            (
                "    if isinstance(schema, int) and schema > SCHEMA:",
                "    if False:",
            ),
        ),
        ("unit/ledger/test_session.py::test_read_header_when_the_schema_is_newer_then_both_versions_are_named",),
    ),
    Mutation(
        "newer batch.json read",
        "What a newer version wrote is refused.",
        "the schema is not looked at",
        "ledger/settings.py",
        (
            (
                "        if isinstance(schema, int) and schema > SCHEMA:",
                "        if False:",
            ),
        ),
        ("unit/ledger/test_batch.py::test_read_settings_when_the_schema_is_newer_then_both_versions_are_named",),
    ),
    Mutation(
        "newer registration read",
        "What a newer version wrote is refused.",
        "the schema is not looked at",
        "ledger/registration.py",
        (
            (
                "    if isinstance(schema, int) and schema > SCHEMA:",
                "    if False:",
            ),
        ),
        (
            "unit/ledger/test_registration.py::"
            "test_read_registration_when_the_file_is_no_registration_then_its_flaw_says_why",
        ),
    ),
    Mutation(
        "damaged items passed over",
        "A damaged line of items.jsonl is an error.",
        "it is passed over",
        "ledger/items.py",
        (
            (
                "                raise self._damaged(len(self.ids) + 1)\n            number",
                "                continue\n            number",
            ),
        ),
        ("unit/ledger/test_batch.py::test_items_when_a_line_is_damaged_then_a_ledger_error_names_file_and_line",),
    ),
)
