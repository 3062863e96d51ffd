"""Mutations: writes and exclusive names."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "error of symlink believed",
        "What a name says decides, not the error of symlink(2).",
        "any error counts as lost",
        "ledger/durable.py",
        (
            (
                "        return holder == target",
                "        return False",
            ),
        ),
        (
            "unit/ledger/test_durable_names.py::"
            "test_win_name_when_symlink_works_and_reports_an_error_then_the_link_decides",
        ),
    ),
    Mutation(
        "EIO of symlink ends all",
        "An error that the call reports after its work was done is not the last word.",
        "EIO is raised without a look",
        "ledger/durable.py",
        (
            (
                "errno.EROFS, errno.EACCES):\n            break",
                "errno.EROFS, errno.EACCES, errno.EIO):\n            break",
            ),
        ),
        (
            "unit/ledger/test_durable_names.py::"
            "test_win_name_when_symlink_works_and_reports_an_error_then_the_link_decides",
        ),
    ),
    Mutation(
        "name decided by a look",
        "Nothing that only one may do is decided by a read.",
        "lexists(), then a rename over whatever came meanwhile",
        "ledger/durable.py",
        (
            (
                "                calls.symlink(target, path)\n                return True",
                "                if os.path.lexists(path):\n"
                "                    return read_name(path) == target\n"
                "                new = path + random_word()\n"
                "                calls.symlink(target, new)\n"
                "                calls.replace(new, path)\n"
                "                return True",
            ),
        ),
        ("unit/ledger/test_durable_names.py::test_win_name_when_another_comes_at_the_last_moment_then_it_is_lost",),
    ),
    Mutation(
        "name replaced",
        "Names are only ever added; who comes second has lost.",
        "an existing name is replaced",
        "ledger/durable.py",
        (
            (
                "                calls.symlink(target, path)\n                return True",
                "                new = path + random_word()\n"
                "                calls.symlink(target, new)\n"
                "                calls.replace(new, path)\n"
                "                return True",
            ),
        ),
        (
            "unit/ledger/test_durable_names.py::"
            "test_win_name_when_somebody_has_the_name_then_it_is_lost_and_stays_theirs",
        ),
    ),
    Mutation(
        "late name not waited for",
        "A name that must exist and can't be seen yet is waited for.",
        "no waiting",
        "ledger/durable.py",
        (
            (
                "    for _ in _looks(wait_s):\n        try:",
                "    for _ in _looks(0.0):\n        try:",
            ),
        ),
        ("unit/ledger/test_durable_names.py::test_win_name_when_the_name_exists_but_is_not_visible_yet_then_it_waits",),
    ),
    Mutation(
        "name taken back given up",
        "A name that exists and then isn't there is tried for again.",
        "looked for, not tried for",
        "ledger/durable.py",
        (
            (
                "        if failure.errno != errno.EEXIST:\n            break\n",
                "        if failure.errno == errno.EEXIST:\n"
                "            return read_name(path, wait_s=wait_s) == target\n"
                "        break\n",
            ),
        ),
        (
            "unit/ledger/test_durable_names.py::"
            "test_win_name_when_the_name_that_existed_is_taken_back_then_it_is_tried_for_again",
        ),
    ),
    Mutation(
        "ESTALE believed",
        "ESTALE is tried again.",
        "ESTALE is an error",
        "ledger/durable.py",
        (
            (
                " or error.errno == errno.ESTALE",
                "",
            ),
        ),
        ("unit/ledger/test_durable_names.py::test_win_name_when_the_name_exists_but_is_not_visible_yet_then_it_waits",),
    ),
    Mutation(
        "file name without O_EXCL",
        "An exclusive file is made with O_EXCL.",
        "without O_EXCL",
        "ledger/durable.py",
        (
            (
                "os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)",
                "os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)",
            ),
        ),
        ("unit/ledger/test_durable_writes.py::test_create_exclusively_when_it_exists_then_untouched",),
    ),
    Mutation(
        "half-made file left",
        "A file whose content can't be written doesn't keep its name.",
        "it stays, empty",
        "ledger/durable.py",
        (
            (
                "        with contextlib.suppress(OSError):\n"
                "            calls.unlink(path)\n"
                "        raise\n"
                "    finally",
                "        raise\n    finally",
            ),
        ),
        (
            "unit/ledger/test_durable_writes.py::"
            "test_create_exclusively_when_a_step_fails_then_no_half_made_file_is_left",
        ),
    ),
    Mutation(
        "probe believes success",
        "Whether names are exclusive is found out by losing one, too.",
        "the first success is enough",
        "ledger/durable.py",
        (
            (
                'if won and lost and read_name(path) == "first":',
                "if won:",
            ),
        ),
        ("unit/ledger/test_durable_names.py::test_find_link_kind_when_symlink_replaces_silently_then_file",),
    ),
    Mutation(
        "write without fsync",
        "Content is durable before it gets its name.",
        "no fsync before the rename",
        "ledger/durable.py",
        (
            (
                "            sync(descriptor)\n"
                "        finally:\n"
                "            os.close(descriptor)\n"
                "        calls.replace",
                "            pass\n        finally:\n            os.close(descriptor)\n        calls.replace",
            ),
        ),
        (
            "unit/ledger/test_durable_writes.py::"
            "test_write_durable_when_done_then_content_was_synced_before_the_name_and_the_name_after",
        ),
    ),
    Mutation(
        "directory without fsync",
        "A new name is durable.",
        "no fsync of the directory",
        "ledger/durable.py",
        (
            (
                '    sync_directory(directory or ".")',
                "    pass",
            ),
        ),
        (
            "unit/ledger/test_durable_writes.py::"
            "test_write_durable_when_done_then_content_was_synced_before_the_name_and_the_name_after",
        ),
    ),
    Mutation(
        "write in place",
        "A reader sees the old content or the new one, never a part.",
        "written in place",
        "ledger/durable.py",
        (
            (
                "        calls.replace(temporary, path)",
                '        with open(path, "wb") as stream:\n'
                "            stream.write(data)\n"
                "        calls.unlink(temporary)",
            ),
        ),
        (
            "unit/ledger/test_durable_writes.py::"
            "test_write_durable_when_done_then_content_was_synced_before_the_name_and_the_name_after",
        ),
    ),
    Mutation(
        "short write taken for whole",
        "write(2) may write less than it was given.",
        "called once",
        "ledger/durable.py",
        (
            (
                "        while view:",
                "        if view:",
            ),
        ),
        (
            "unit/ledger/test_durable_writes.py::"
            "test_write_durable_when_write_takes_less_than_it_is_given_then_all_is_written",
        ),
    ),
    Mutation(
        "registration by rename",
        "A registration is made exclusively.",
        "rename(2) instead of link(2)",
        "ledger/durable.py",
        (
            (
                "        calls.link(temporary, path)",
                "        calls.replace(temporary, path)",
            ),
        ),
        ("unit/ledger/test_registration.py::test_register_when_somebody_has_it_then_their_registration",),
    ),
    Mutation(
        "success of link by its error alone",
        "An error of link(2) is not believed.",
        "EEXIST is final",
        "ledger/durable.py",
        (
            (
                "        if _is_one_file(temporary, path):",
                "        if not temporary:",
            ),
        ),
        ("faults/test_filesystem_lies.py::test_link_that_works_and_reports_an_error_is_believed_by_what_it_left",),
    ),
    Mutation(
        "many files not synced",
        "What collect extracted is durable before it is renamed.",
        "syncfs(2) is left out",
        "ledger/durable.py",
        (
            (
                "        if not calls.sync_filesystem(place):",
                "        if False:",
            ),
        ),
        ("unit/ledger/test_durable_writes.py::test_sync_many_when_the_filesystem_is_local_then_one_call_does_it",),
    ),
    Mutation(
        "syncfs on a network filesystem",
        "On a network filesystem each file is synced by itself.",
        "syncfs(2) everywhere",
        "ledger/durable.py",
        (
            (
                "        if filesystem_type(device) in _ONE_STEP:",
                "        if True:",
            ),
        ),
        (
            "unit/ledger/test_durable_writes.py::"
            "test_sync_many_when_the_filesystem_is_not_known_as_local_then_each_is_synced",
        ),
    ),
)
