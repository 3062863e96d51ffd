"""What is at work on a batch, or died at it: custody, claims, submissions."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from crh_batch.engines.base import LOCAL
from crh_batch.engines.living import Living, look
from crh_batch.engines.sending import may_have_been_sent
from crh_batch.hosts.base import Host
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import Verdict, this_process
from crh_batch.ledger.inputs import changed_inputs
from crh_batch.ledger.lost import open_claims
from crh_batch.ledger.pack import Record
from crh_batch.ledger.sources import collected_sources
from crh_batch.ledger.submissions import Submission, read_submissions
from crh_batch.mirror.stage import is_staged
from crh_batch.verify.finding import Finding, Kind
from crh_batch.verify.in_names import is_sound
from crh_batch.verify.look import Look

# No write takes so long, whatever clocks say.
_LONGEST_WRITE_S = 86400.0
# Names that say something by themselves; whose they are matters to nobody.
_BY_EXISTENCE = ("claim", "fail", "collected", "moved", "retry", "held", "release", "steered", "custody")


class Work:
    """Who lives, as this machine and one question to the scheduler tell.

    Args:
        look: what the batch says.
        has_custody: whether the caller has the batch's custody; then the scheduler's answer may be noted down, too.
    """

    def __init__(self, look_: Look, host: Host, *, has_custody: bool = False) -> None:
        self._look = look_
        self._batch = look_.batch
        self.living: Living = look(self._batch, host, changes=has_custody)
        self._custody = None if has_custody else custody_of(self._batch).verdict()
        self._verdicts: dict[str, Verdict] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a client has the batch's custody and isn't known to be dead: it is in the middle of something."""
        return self._custody in (Verdict.ALIVE, Verdict.UNKNOWN)

    def verdict(self, token: str) -> Verdict:
        """Return whether a session lives."""
        if token not in self._verdicts:
            view = self._look.sessions.get(token)
            header = view.header if view is not None else None
            self._verdicts[token] = Verdict.UNKNOWN if header is None else self.living.verdict(header)
        return self._verdicts[token]

    def findings(self) -> list[Finding]:
        """Return what the dead have left."""
        found = []
        if self._custody is Verdict.DEAD:
            found.append(Finding(Kind.CUSTODY_DEAD, "names", mends=True))
        for claim in open_claims(self._batch):
            if claim.token and self.verdict(claim.token) is Verdict.DEAD:
                path = self._look.path_of(claim.item_id)
                found.append(Finding(Kind.CLAIM_DEAD, path, _where(self._look, claim.token), claim.item_id, mends=True))
        return found + ([] if self.is_busy else self._intents())

    def _intents(self) -> list[Finding]:
        found = []
        for one in read_submissions(self._batch.paths):
            if one.is_open:
                found.append(Finding(Kind.INTENT_OPEN, "submissions.jsonl", one.token, mends=self._can_be_settled(one)))
        return found

    def _can_be_settled(self, submission: Submission) -> bool:
        if submission.engine == LOCAL:
            return True
        if not self.living.answered:
            return False
        return bool(self.living.job_id(submission.token)) or not may_have_been_sent(self._batch, submission)

    def judged(self, findings: Sequence[Finding]) -> list[Finding]:
        """Drop what a living session may still be about, and say what of the rest can be mended."""
        kept = []
        named: set[int] = set()
        for one in findings:
            if one.kind is Kind.RESULT_WITHOUT_NAME:
                if self.verdict(one.note) is Verdict.DEAD and self._can_count(one):
                    named.add(one.item_id)
                    kept.append(one)
            elif one.kind is Kind.HALF_NAME:
                kept.append(replace(one, mends=self._all_are_dead() and self._can_be_written(one)))
            elif one.kind is not Kind.TEMPORARY or self._is_left(one):
                kept.append(one)
        # A claim that ended in such a result is not lost.
        return [one for one in kept if one.kind is not Kind.CLAIM_DEAD or one.item_id not in named]

    def _can_count(self, one: Finding) -> bool:
        """Return whether a result without its name is whole, and was made from the inputs that lie there now."""
        item = self._batch.items[one.item_id]
        event = self._look.sessions[one.note].done[one.item_id]
        inputs = event.get("inputs")
        if not isinstance(inputs, list) or not is_sound(self._look, Record.from_json(one.note, event["record"])):
            return False
        return not changed_inputs(self._batch.tomodir(item), inputs, collected_sources(self._batch, item))

    def _all_are_dead(self) -> bool:
        """Return whether everybody who could have begun a name is dead, this process apart."""
        mine = this_process()
        others = [
            token for token, view in self._look.sessions.items() if view.header is None or view.header.who != mine
        ]
        return all(self.verdict(token) is Verdict.DEAD for token in others)

    def _is_left(self, one: Finding) -> bool:
        """Return whether a temporary file's writer must be dead: nobody else lives, or it is far too old.

        Pilots on other machines make such files all the time, and some clients can't be judged from here. Should a
        writer live all the same, its write fails, and is done again.
        """
        if one.place.startswith("stages/"):
            # Only who has custody writes these.
            return not self.is_busy
        if not self.is_busy and self._all_are_over():
            return True
        try:
            age_s = time.time() - os.lstat(os.path.join(self._batch.paths.directory, one.place)).st_mtime
        except OSError:
            return False
        return age_s > _LONGEST_WRITE_S

    def _all_are_over(self) -> bool:
        """Return whether all sessions but this process's have ended, or are dead."""
        mine = this_process()
        return all(
            view.ended or (view.header is not None and view.header.who == mine) or self.verdict(token) is Verdict.DEAD
            for token, view in self._look.sessions.items()
        )

    def _can_be_written(self, one: Finding) -> bool:
        if is_staged(self._batch.paths):
            # It is what stands there that counts.
            return False
        if one.note == "done":
            return len(self._look.finished.get(one.item_id, ())) > 0
        return one.note.split(".")[0] in _BY_EXISTENCE


def _where(look_: Look, token: str) -> str:
    view = look_.sessions[token]
    return view.header.who.host if view.header is not None else ""
