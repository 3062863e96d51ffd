"""Mutations: verify, verify-fs and prune."""

from __future__ import annotations

from mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "verify names a changed result",
        "verify gives a result its name only if it was made from the inputs that lie there.",
        "inputs are not compared",
        "verify/in_work.py",
        (
            (
                "        return not changed_inputs(self._batch.tomodir(item), inputs, "
                "collected_sources(self._batch, item))",
                "        return True",
            ),
        ),
        ("real/local/test_verify.py::test_fix_when_its_input_changed_meanwhile_then_the_claim_is_lost",),
    ),
    Mutation(
        "verify names a damaged result",
        "verify gives a result its name only if its bytes are right.",
        "they are not read",
        "verify/in_work.py",
        (
            (
                ' or not is_sound(self._look, Record.from_json(one.note, event["record"])):',
                ":",
            ),
        ),
        ("real/local/test_verify.py::test_fix_when_that_result_is_damaged_then_its_claim_is_lost",),
    ),
    Mutation(
        "verify mends beside the living",
        "verify mends nothing that a living pilot may still be about.",
        "whoever began it counts as dead",
        "verify/in_work.py",
        (
            (
                "        return all(self.verdict(token) is Verdict.DEAD for token in others)",
                "        return others is not None",
            ),
        ),
        ("real/local/test_verify.py::test_verify_when_whoever_began_a_name_may_live_then_it_is_left",),
    ),
    Mutation(
        "verify declares the living lost",
        "verify takes a claim only from the dead.",
        "from anybody",
        "verify/in_work.py",
        (
            (
                "            if claim.token and self.verdict(claim.token) is Verdict.DEAD:",
                "            if claim.token:",
            ),
        ),
        ("real/local/test_verify.py::test_verify_when_the_pilot_lives_then_its_claim_is_left",),
    ),
    Mutation(
        "two winners judged fit",
        "verify-fs says so if two processes won one name.",
        "winners are not counted",
        "report/filesystem_words.py",
        (
            (
                "    if twice or nobody:",
                "    if False:",
            ),
        ),
        ("unit/report/test_filesystem_words.py::test_words_when_something_is_odd_then_it_is_said_and_judged",),
    ),
    Mutation(
        "exclusive file twice judged fit",
        "verify-fs says so if a file can be made exclusively twice.",
        "the second time is not looked at",
        "pilot/fs_alone.py",
        (
            (
                '        raise OSError(errno.EIO, "a file was created exclusively twice")',
                "        return",
            ),
        ),
        ("faults/test_verify_fs.py::test_files_that_two_can_create_are_found",),
    ),
    Mutation(
        "open modes judged fit",
        "verify-fs says so if a private directory isn't private.",
        "modes are not looked at",
        "pilot/fs_alone.py",
        (
            (
                "    if stat.S_IMODE(status.st_mode) & 0o077:",
                "    if False:",
            ),
        ),
        ("faults/test_verify_fs.py::test_directories_that_are_open_to_all_are_found",),
    ),
    Mutation(
        "prune takes what is not finished",
        "prune removes a batch only if every tomodir is settled.",
        "their states are not looked at",
        "verify/prune.py",
        (
            (
                "*_unfinished(look, wanted), ",
                "",
            ),
        ),
        ("real/local/test_prune.py::test_prune_when_something_may_be_needed_then_it_is_kept_and_it_says_why",),
    ),
    Mutation(
        "prune takes the only copy",
        "prune removes a batch only if what was collected is still in place.",
        "tomodirs are not compared",
        "verify/prune.py",
        (
            (
                '        return found[0].detail if found else ""',
                '        return ""',
            ),
        ),
        ("real/local/test_prune.py::test_prune_when_something_may_be_needed_then_it_is_kept_and_it_says_why",),
    ),
    Mutation(
        "prune beside living pilots",
        "prune removes nothing of a batch whose pilots live.",
        "nobody asks",
        "verify/prune.py",
        (
            (
                "    judged.reasons += _at_work(look, work)\n",
                "",
            ),
        ),
        ("real/local/test_prune.py::test_prune_when_something_may_be_needed_then_it_is_kept_and_it_says_why",),
    ),
    Mutation(
        "prune takes old outputs",
        "prune removes replaced/ only if the user says so.",
        "with the batch",
        "verify/prune.py",
        (
            (
                "    if replaced and not wanted.replaced:",
                "    if False:",
            ),
        ),
        ("real/local/test_prune.py::test_prune_when_something_may_be_needed_then_it_is_kept_and_it_says_why",),
    ),
    Mutation(
        "prune takes foreign files",
        "prune removes nothing that crh-batch did not make.",
        "with the batch",
        "verify/prune.py",
        (
            (
                '[f"it holds what crh-batch did not make: {foreign[0]}"] if foreign else []',
                "[]",
            ),
        ),
        ("real/local/test_prune.py::test_prune_when_something_may_be_needed_then_it_is_kept_and_it_says_why",),
    ),
    Mutation(
        "prune follows a link",
        "A batch's directory that is a link is left alone.",
        "it is followed",
        "verify/prune.py",
        (
            (
                "        if os.path.islink(directory):",
                "        if False:",
            ),
        ),
        ("real/local/test_prune.py::test_prune_when_the_batch_is_a_link_then_it_is_kept",),
    ),
    Mutation(
        "prune without renaming",
        "A batch that is removed stops being one in a single step.",
        "its files go one by one",
        "ledger/removal.py",
        (
            (
                "        durable.calls.replace(directory, removed)",
                "        removed = directory",
            ),
        ),
        ("real/local/test_prune.py::test_prune_when_it_died_amid_removing_then_the_next_one_and_verify_finish_it",),
    ),
)
