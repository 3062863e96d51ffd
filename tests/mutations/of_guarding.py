"""Mutations: permissions."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "session in a stranger's batch",
        "A pilot or client that acts in a batch looks whose it is first.",
        "it doesn't",
        "ledger/session.py",
        (
            (
                "        check_batch(paths)\n",
                "",
            ),
        ),
        ("unit/ledger/test_trust.py::test_begin_when_others_may_write_to_it_then_it_is_refused_and_named",),
    ),
    Mutation(
        "batch others may write to",
        "A batch that everybody may write to is refused.",
        "modes are not looked at",
        "ledger/trust.py",
        (
            (
                "    if status.st_mode & 0o002:",
                "    if False:",
            ),
        ),
        ("unit/ledger/test_trust.py::test_begin_when_others_may_write_to_it_then_it_is_refused_and_named",),
    ),
    Mutation(
        "batch a group may write to",
        "A batch that a group may write to is refused, unless the user named that group.",
        "any group may",
        "ledger/trust.py",
        (
            (
                "status.st_mode & 0o020 and status.st_gid != group:",
                "False:",
            ),
        ),
        ("unit/ledger/test_trust.py::test_begin_when_others_may_write_to_it_then_it_is_refused_and_named",),
    ),
    Mutation(
        "stranger's file in one's own batch",
        "What is executed or believed belongs to the user.",
        "owners are not compared",
        "ledger/trust.py",
        (
            (
                "    if status.st_uid not in (owner, os.geteuid(), 0) and not of_group:",
                "    if False:",
            ),
        ),
        (
            "unit/ledger/test_trust.py::"
            "test_begin_when_something_in_it_is_another_users_then_it_is_refused_even_if_private",
        ),
    ),
    Mutation(
        "stranger's word on sharing",
        "What another user's batch says about itself counts for nothing.",
        "it is believed",
        "ledger/trust.py",
        (
            (
                "        group = _group_by_profile(paths, top)",
                "        group = _group_by_settings(paths, owner) or 0",
            ),
        ),
        (
            "unit/ledger/test_trust.py::"
            "test_begin_when_the_batch_is_another_users_and_says_that_it_is_shared_then_that_counts_for_nothing",
        ),
    ),
    Mutation(
        "any group trusted",
        "A colleague's batch is taken if the user trusts that very group.",
        "any shared one",
        "ledger/trust.py",
        (
            (
                "    if top.st_mode & stat.S_ISGID and top.st_gid in _ask(paths.root):",
                "    if top.st_mode & stat.S_ISGID:",
            ),
        ),
        (
            "unit/ledger/test_trust.py::"
            "test_begin_when_this_user_trusts_another_group_then_a_colleagues_batch_is_refused",
        ),
    ),
    Mutation(
        "link in a batch",
        "A batch's directories are directories.",
        "links are followed",
        "ledger/trust.py",
        (
            (
                "            if path in directories and not stat.S_ISDIR(status.st_mode):",
                "            if False:",
            ),
        ),
        ("unit/ledger/test_trust.py::test_begin_when_a_directory_of_the_batch_is_a_link_then_it_is_refused",),
    ),
    Mutation(
        "open directory above",
        "Nobody else can put another batch in the place of one's own.",
        "directories above are not looked at",
        "ledger/trust.py",
        (
            (
                "    _check_above(paths.directory)\n",
                "",
            ),
        ),
        (
            "unit/ledger/test_trust.py::"
            "test_begin_when_a_directory_above_is_open_then_it_is_refused_unless_names_in_it_are_safe",
        ),
    ),
    Mutation(
        "batch of a stranger chosen",
        "A command that names no batch doesn't mean a stranger's.",
        "the newest of all is taken",
        "ledger/batch.py",
        (
            (
                " if is_trusted(batch)]",
                "]",
            ),
        ),
        ("unit/ledger/test_trust.py::test_find_batches_when_a_stranger_left_one_above_then_it_is_not_meant",),
    ),
    Mutation(
        "umask hides results",
        "What pilots write in a shared batch is shared, whatever the umask.",
        "the umask decides",
        "ledger/sharing.py",
        (
            (
                "        os.fchmod(descriptor,",
                "        (lambda *_: None)(descriptor,",
            ),
        ),
        ("unit/ledger/test_trust.py::test_make_when_shared_then_the_group_may_use_all_of_it_whatever_the_umask",),
    ),
)
