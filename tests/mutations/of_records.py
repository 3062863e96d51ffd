"""Mutations: commit and packs."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "commit: pack not synced",
        "Bytes are durable before the record that speaks of them.",
        "no fsync of the pack",
        "pilot/commit.py",
        (
            (
                "            self._pack.sync()\n",
                "",
            ),
        ),
        (
            "unit/pilot/test_commit.py::"
            "test_commit_when_a_result_comes_then_pack_record_and_name_become_durable_in_this_order",
        ),
    ),
    Mutation(
        "commit: session not synced",
        "The record is durable before the name.",
        "no fsync of the session",
        "pilot/commit.py",
        (
            (
                "            self._session.sync()\n",
                "",
            ),
        ),
        (
            "unit/pilot/test_commit.py::"
            "test_commit_when_a_result_comes_then_pack_record_and_name_become_durable_in_this_order",
        ),
    ),
    Mutation(
        "commit: name first",
        "The name comes last.",
        "the name is made before anything is durable",
        "pilot/commit.py",
        (
            (
                "            self._pack.sync()\n"
                "            self._session.sync()\n"
                "            for entry in group:\n"
                "                self._session.win(entry.item_id, entry.mark, self._batch.settings.links)\n",
                "            for entry in group:\n"
                "                self._session.win(entry.item_id, entry.mark, self._batch.settings.links)\n"
                "            self._pack.sync()\n"
                "            self._session.sync()\n",
            ),
        ),
        (
            "unit/pilot/test_commit.py::"
            "test_commit_when_a_result_comes_then_pack_record_and_name_become_durable_in_this_order",
        ),
    ),
    Mutation(
        "commit: record in another order",
        "The session is synced after the pack.",
        "before it",
        "pilot/commit.py",
        (
            (
                "            self._pack.sync()\n            self._session.sync()\n",
                "            self._session.sync()\n            self._pack.sync()\n",
            ),
        ),
        (
            "unit/pilot/test_commit.py::"
            "test_commit_when_a_result_comes_then_pack_record_and_name_become_durable_in_this_order",
        ),
    ),
    Mutation(
        "commit: names after an error",
        "What can't be made durable gets no name.",
        "the error of fsync is passed over",
        "pilot/commit.py",
        (
            (
                "            self._pack.sync()\n            self._session.sync()\n",
                "            try:\n"
                "                self._pack.sync()\n"
                "                self._session.sync()\n"
                "            except OSError:\n"
                "                pass\n",
            ),
        ),
        (
            "unit/pilot/test_commit.py::"
            "test_commit_when_it_cannot_be_made_durable_then_no_name_is_made_and_it_says_so_once",
        ),
    ),
    Mutation(
        "commit: failure acknowledged early",
        "Who looks after a failure sees its name.",
        "the group commit is not waited for",
        "pilot/commit.py",
        (
            (
                "            entry.over.wait()",
                "            pass",
            ),
        ),
        ("unit/pilot/test_commit.py::test_hand_over_when_an_attempt_failed_then_its_name_is_there_when_it_returns",),
    ),
    Mutation(
        "pack's name not durable",
        "The pack's own name is durable, too.",
        "no fsync of its directory",
        "ledger/pack.py",
        (
            (
                "        if self._is_new:",
                "        if not self._is_new:",
            ),
        ),
        ("unit/ledger/test_pack.py::test_sync_when_records_were_appended_then_file_and_directory_are_durable_once",),
    ),
    Mutation(
        "failed record left in the pack",
        "A record that could not be written is cut off again.",
        "it stays",
        "ledger/pack.py",
        (
            (
                "                    os.ftruncate(self._descriptor, offset)",
                "                    pass",
            ),
        ),
        ("unit/ledger/test_pack.py::test_append_when_the_disk_is_full_then_the_pack_is_cut_back_and_goes_on_later",),
    ),
    Mutation(
        "sum not compared",
        "A record is used only if its sum is right.",
        "sha256 is not compared",
        "ledger/pack.py",
        (
            (
                "    if sha256 != record.sha256:",
                "    if False:",
            ),
        ),
        ("unit/ledger/test_pack.py::test_open_record_when_a_byte_is_damaged_then_it_is_refused_with_its_place",),
    ),
    Mutation(
        "links as members",
        "A result holds plain files only.",
        "any kind of member is taken",
        "ledger/members.py",
        (
            (
                "            if not is_extended and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):",
                "            if False:",
            ),
            (
                "    if not member.isreg() or member.issparse() or",
                "    if",
            ),
        ),
        ("unit/ledger/test_pack.py::test_open_record_when_a_member_is_no_plain_file_then_nothing_is_read",),
    ),
    Mutation(
        "members with ..",
        "No member leads out of the tomodir.",
        ".. at the beginning is taken",
        "ledger/members.py",
        (
            (
                'name.split("/")[0] in (".", "..")',
                'name.split("/")[0] in (".",)',
            ),
        ),
        ("unit/ledger/test_pack.py::test_open_record_when_a_name_leads_out_of_the_tomodir_then_nothing_is_read",),
    ),
    Mutation(
        "absolute members",
        "No member leads out of the tomodir.",
        "absolute paths are taken",
        "ledger/members.py",
        (
            (
                "posixpath.isabs(name) or ",
                "",
            ),
        ),
        ("unit/ledger/test_pack.py::test_open_record_when_a_name_leads_out_of_the_tomodir_then_nothing_is_read",),
    ),
    Mutation(
        "members with .. inside",
        "No member leads out of the tomodir.",
        ".. in the middle is taken",
        "ledger/members.py",
        (
            (
                " or posixpath.normpath(name) != name",
                "",
            ),
        ),
        ("unit/ledger/test_pack.py::test_open_record_when_a_name_leads_out_of_the_tomodir_then_nothing_is_read",),
    ),
    Mutation(
        "member twice",
        "A record with a name twice is refused.",
        "the last one wins",
        "ledger/members.py",
        (
            (
                "            if member.name in seen:",
                "            if False:",
            ),
        ),
        ("unit/ledger/test_pack.py::test_open_record_when_a_member_comes_twice_then_nothing_is_read",),
    ),
    Mutation(
        "bomb in a pack",
        "A record is limited in size and number of members.",
        "no limit",
        "ledger/members.py",
        (
            (
                "            if count > MAX_MEMBERS or size > MAX_BYTES:",
                "            if False:",
            ),
        ),
        ("unit/ledger/test_pack.py::test_open_record_when_it_holds_more_than_any_result_can_then_nothing_is_read",),
    ),
)
