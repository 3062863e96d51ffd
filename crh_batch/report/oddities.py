"""What verify says: a sentence and a next step for each kind of oddity, many alike in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from crh_batch.verify.finding import Finding, Kind


class Words(NamedTuple):
    """What a kind of oddity means and what to do.

    Args:
        says: follows the place; ``{detail}`` is filled in.
        do: what the user can do where ``--fix`` doesn't.
        mended: what ``--fix`` did.
    """

    says: str
    do: str
    mended: str = ""


_AGAIN = "Run the tomodir again: crh-batch submit --force"
_RESTORE = "Bring it back from a backup, or move the batch's directory away and submit again with --force"
_NOTHING = "Nothing to do"

WORDS = {
    Kind.SETTINGS: Words("can't be read: {detail}", _RESTORE),
    Kind.ITEMS: Words("can't be read: {detail}", _RESTORE),
    Kind.ITEM_WITHOUT_CLASS: Words("is in no class of batch.json, so no pilot looks at it", _RESTORE),
    Kind.SOURCE_UNKNOWN: Words("takes results of other tomodirs in items.jsonl than in batch.json", _RESTORE),
    Kind.PROGRAM_UNKNOWN: Words("doesn't name {detail}, which tomodirs need", _RESTORE),
    Kind.PROGRAM_MISSING: Words(
        "is missing ({detail}), and where it was copied from lies another one now",
        "Put the same program there again; what is left can't be run without it",
        "copied again",
    ),
    Kind.PROGRAM_DAMAGED: Words(
        "is not the program that was frozen ({detail})",
        "Put the same program there again; pilots refuse this one",
        "copied again",
    ),
    Kind.PILOT_MISSING: Words(
        "is missing, so no pilot can start",
        "Run verify --fix with the version and the Python that submitted the batch: it makes the same pilot again",
        "made again",
    ),
    Kind.PILOT_DAMAGED: Words(
        "is not the pilot that was frozen",
        "Run verify --fix with the version and the Python that submitted the batch: it makes the same pilot again",
        "made again",
    ),
    Kind.DIRECTORY_MISSING: Words(
        "is missing; what lay there is lost, or was not copied with the batch",
        "If it lies somewhere, bring it back first",
        "made, empty",
    ),
    Kind.NOT_TRUSTED: Words("others could have written to it: {detail}", "Look who did, then take that right away"),
    Kind.TEMPORARY: Words("a temporary file whose writer has died", _NOTHING, "removed"),
    Kind.FOREIGN: Words("was not made by crh-batch", "It is left alone"),
    Kind.CACHE: Words("can't be read; it holds hints only", _NOTHING, "removed; it is made again when needed"),
    Kind.HALF_NAME: Words(
        "was begun and not written by its pilot or client ({detail})",
        "If nobody is at work on the batch any more: crh-batch retry --lost, or crh-batch submit --force",
        "written; an attempt that was begun with it is declared lost",
    ),
    Kind.NAME_WITHOUT_ITEM: Words("is about a tomodir that items.jsonl doesn't have", "It is passed over"),
    Kind.GAP: Words(
        "{detail} is missing, though later ones are there",
        "Somebody has removed names, or the batch was copied half; states may be older than they were",
    ),
    Kind.SESSION_MISSING: Words(
        "is missing, and a name points to it ({detail})",
        "Bring the file back. Without it, an open attempt is freed by crh-batch retry --lost, a finished tomodir by "
        "crh-batch submit --force",
    ),
    Kind.SESSION_HEADLESS: Words(
        "has no complete first line, and a name points to it ({detail})",
        "Bring the file back. Without it, an open attempt is freed by crh-batch retry --lost, a finished tomodir by "
        "crh-batch submit --force",
    ),
    Kind.SESSION_EMPTY: Words("has no complete first line: its process died before it did anything", _NOTHING),
    Kind.DONE_WITHOUT_EVENT: Words("doesn't say where the result of {detail} lies, though its name says so", _AGAIN),
    Kind.RECORD_UNREADABLE: Words("what it says of the result of {detail} can't be read", _AGAIN),
    Kind.PACK_MISSING: Words("is missing, and with it the result of {detail}", f"Bring the file back. {_AGAIN}"),
    Kind.PACK_SHORT: Words("ends before the result of {detail} does", f"Bring the file back. {_AGAIN}"),
    Kind.PACK_DAMAGED: Words("the result of {detail} is not what was written (sha256 differs)", _AGAIN),
    Kind.LOG_GONE: Words("lacks the output of a failed attempt ({detail}); crh-batch log can't show it", _NOTHING),
    Kind.COLLECTED_WITHOUT_DONE: Words("is collected, though no name says that it was finished", _NOTHING),
    Kind.EVENT_WITHOUT_ITEM: Words("is about a tomodir that items.jsonl doesn't have ({detail})", "It is passed over"),
    Kind.RESULT_WITHOUT_NAME: Words(
        "its result lies in the pack, and its pilot died before it could say so ({detail})",
        "crh-batch submit runs it again",
        "its result counts now",
    ),
    Kind.CUSTODY_DEAD: Words(
        "a client has died with the batch in its custody",
        "The next submit or collect goes on where it was",
        "what a dead client began is finished, and custody is given back",
    ),
    Kind.CLAIM_DEAD: Words(
        "its pilot ({detail}) has died, and its claim is still open",
        "crh-batch submit and wait find that out, too",
        "declared lost; it is run again if it may be",
    ),
    Kind.INTENT_OPEN: Words(
        "nobody has written down whether submission {detail} reached the scheduler",
        "crh-batch submit and wait ask the scheduler, and send it again if it has never heard of it",
        "what the scheduler says is written down",
    ),
    Kind.TOMODIR_GONE: Words("the tomodir is gone", "Put it back; or give it up: crh-batch cancel"),
    Kind.REGISTRATION_MISSING: Words(
        "its .crh file is gone, so another submit could run it again", _NOTHING, "registered again"
    ),
    Kind.REGISTRATION_LEFT: Words(
        "its .crh file is still there, though it is collected or has moved to another batch",
        "crh-batch submit removes it, too",
        "its .crh file is removed",
    ),
    Kind.REGISTRATION_WRONG_ID: Words(
        "its .crh file speaks of number {detail} of the batch, which is another tomodir", _NOTHING, "registered again"
    ),
    Kind.REGISTERED_ELSEWHERE: Words(
        "is registered for batch {detail}, and this one waits for it, too",
        "Results of this batch are refused for it; crh-batch collect --force takes them all the same",
        "left to the other batch",
    ),
    Kind.REGISTRATION_FLAWED: Words("{detail}", "If nobody is at work on it: crh-batch submit --force takes it over"),
    Kind.INPUT_MISSING: Words("lacks {detail}, so it would fail", "Put it there"),
    Kind.INPUT_CHANGED: Words(
        "has changed since it was run ({detail}), so collect will refuse its result",
        "Run it with the new input: crh-batch submit --force; or take the old result: crh-batch collect --force",
    ),
    Kind.RESULT_GONE: Words(
        "is collected, and of its result these are gone: {detail}",
        "If you removed them, crh-batch submit runs it again; the pack has them still",
    ),
    Kind.RESULT_CHANGED: Words(
        "is collected, and of its result these were changed since: {detail}",
        "If that was not you, look at the disk; the pack has them as they were",
    ),
    Kind.COLLECT_LEFT: Words(
        "holds a directory .crh-... that a dead collect left",
        "The next collect removes it",
        "the directory is removed",
    ),
    Kind.STAGE_UNREADABLE: Words(
        "can't be read, so nobody knows what runs where: {detail}",
        "Bring it back from a backup; until then nothing can be asked or fetched",
    ),
    Kind.STAGE_GONE: Words(
        "isn't there any more ({detail})",
        "Collect what was fetched: crh-batch collect; then run the rest again: crh-batch cancel, or submit --force for "
        "results that are lost",
    ),
    Kind.STAGE_CLEANED: Words(
        "lacks files that every pilot reads, so nothing more can run there ({detail})",
        "Collect what is finished: crh-batch collect; then run the rest again: crh-batch cancel, crh-batch submit",
    ),
    Kind.NAME_DIFFERS: Words(
        "somebody changed it here or there: {detail}",
        "If what is there is right, remove the file here; it is copied again. Else ask who has changed it there",
    ),
    Kind.HALF_MADE_BATCH: Words(
        "is half made {detail}",
        "If no submit is at work here, it counts for nothing; remove the directory when you like",
        "closed, and its tomodirs are free",
    ),
    Kind.PRUNE_LEFT: Words("is being removed, and who did that has died", _NOTHING, "removed"),
    Kind.ASTRAY: Words(
        "its batch lies in {detail}",
        "The tomodir or the batch's directory was moved: move it back. Or give up what was not collected: "
        "crh-batch submit --force",
    ),
    Kind.ORPHANED: Words(
        "its batch {detail} is gone, and with it what was not collected",
        "If it was moved, or lies on what isn't mounted, bring it back; if it was deleted: crh-batch submit --force",
        "its batch was deleted; the .crh file is renamed to .crh.aside, and the tomodir is free",
    ),
    Kind.COPIED: Words(
        "its .crh file is a copy, and speaks of another tomodir of batch {detail}",
        _NOTHING,
        "the .crh file is renamed to .crh.aside, and the tomodir is free",
    ),
    Kind.RENAMED: Words(
        "was {detail} when it was submitted",
        "Rename it back; or free it: crh-batch submit --force",
    ),
    Kind.HISTORY: Words("has damaged lines ({detail})", "They are passed over", "damaged lines are taken out"),
}


@dataclass(frozen=True)
class Group:
    """Oddities of one kind, of which all or none can be mended."""

    kind: Kind
    mends: bool
    findings: Sequence[Finding]

    @property
    def is_harmless(self) -> bool:
        """Whether nothing has to be done."""
        return self.findings[0].is_harmless

    def place(self) -> str:
        """Return an example, and how many more there are."""
        more = len(self.findings) - 1
        return self.findings[0].place + (f" and {more} more" if more else "")

    def says(self) -> str:
        """Return what it means, for the example."""
        return WORDS[self.kind].says.format(detail=self.findings[0].detail).strip()

    def do(self) -> str:
        """Return what to do."""
        words = WORDS[self.kind]
        return f"--fix mends it: {words.mended}" if self.mends else words.do

    def mended(self) -> str:
        """Return what was done."""
        return WORDS[self.kind].mended


def grouped(findings: Sequence[Finding]) -> list[Group]:
    """Put oddities of one kind together, what matters first."""
    groups: dict[tuple[Kind, bool], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.kind, one.mends), []).append(one)
    found = [Group(kind, mends, listed) for (kind, mends), listed in groups.items()]
    return sorted(found, key=lambda group: group.is_harmless)


def oddities_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return what ``verify --json`` lists of a batch or tree."""
    return [
        {
            "kind": group.kind.value,
            "says": group.says(),
            "do": group.do(),
            "fixable": group.mends,
            "harmless": group.is_harmless,
            "places": [{"place": one.place, "detail": one.detail} for one in group.findings],
        }
        for group in grouped(findings)
    ]
