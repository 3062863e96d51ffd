"""Which batches nobody needs any more, and removing them: only what is proven to be in its tomodirs, or given up."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

from crh_batch.engines.base import plural
from crh_batch.engines.history_file import remember
from crh_batch.errors import Busy, CrhBatchError, StageGone
from crh_batch.hosts.base import Host
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import Verdict
from crh_batch.ledger.names import Failure, State, StateName
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.registration import read_registration
from crh_batch.ledger.removal import begin_removal, finish_removal
from crh_batch.ledger.steering import in_threads
from crh_batch.ledger.submissions import read_submissions
from crh_batch.ledger.trust import check_batch
from crh_batch.mirror.refresh import refresh
from crh_batch.mirror.removal import remove_stages
from crh_batch.mirror.stage import is_staged, read_stages
from crh_batch.verify.finding import Kind
from crh_batch.verify.in_directory import files_of
from crh_batch.verify.in_names import names_of
from crh_batch.verify.in_tomodirs import compare_result, is_of
from crh_batch.verify.in_work import Work
from crh_batch.verify.look import Look, look_at

_SETTLED = (StateName.COLLECTED, StateName.MOVED)


@dataclass(frozen=True)
class Wanted:
    """What the user wants to be removed.

    Args:
        older_than_s: only batches in which nothing has moved for so long; 0 for all.
        replaced: also old outputs that collect moved out of the way.
        packs: only packs, of batches that are kept, too.
        now: seconds since 1970.
        failed: also batches in which tomodirs failed that the user gave up.
    """

    older_than_s: float
    replaced: bool
    packs: bool
    now: float
    failed: bool = False


@dataclass
class Judged:
    """A batch, what of it may go, and why the rest is kept.

    Args:
        reasons: why it is kept; empty if it may go as a whole.
        packs: the sessions whose packs may go.
        files: how many files, directories and links would be removed.
        size: of what would be removed, in bytes; what lies on clusters is not counted.
        stages: what would be removed on clusters: the name of each, and the directory there.
    """

    directory: str
    tomodirs: int = 0
    reasons: list[str] = field(default_factory=list)
    packs: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0
    stages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def batch_id(self) -> str:
        """The batch's name."""
        return BatchPaths(self.directory).batch_id

    @property
    def removes(self) -> bool:
        """Whether anything may go."""
        return not self.reasons or bool(self.packs)


def judge(directory: str, host: Host, wanted: Wanted, *, has_custody: bool = False) -> Judged:
    """Find out whether a batch, or packs of it, may go; nothing is removed."""
    judged = Judged(directory)
    try:
        if os.path.islink(directory):
            judged.reasons.append("its directory is a symbolic link; what that leads to is not touched")
            return judged
        check_batch(BatchPaths(directory))
        batch = Batch(directory)
        judged.reasons += [error.message for error in refresh(batch) if not isinstance(error, StageGone)]
        if judged.reasons:
            return judged
        look = look_at(batch)
        work = Work(look, host, has_custody=has_custody)
    except (CrhBatchError, OSError) as error:
        judged.reasons.append(str(error).partition("\n")[0])
        return judged
    judged.tomodirs = len(batch.items)
    idle_s = wanted.now - _last_change(look)
    # Looking may have brought news from elsewhere just now, later than ``now``.
    if wanted.older_than_s and idle_s < wanted.older_than_s:
        judged.reasons.append("it is younger than that")
        return judged
    judged.reasons += _at_work(look, work)
    if judged.reasons:
        return judged
    lacking = _lacking(look)
    if wanted.packs:
        judged.reasons.append("only packs are removed")
        judged.packs = _spent_packs(look, work, lacking)
        judged.files = len(judged.packs)
        judged.size = sum(look.packs[token] for token in judged.packs)
        return judged
    judged.reasons += [*_unfinished(look, wanted), *_still_wanted(look, lacking), *_of_the_user(look, wanted)]
    if not judged.reasons:
        judged.files, judged.size = _extent(directory)
        judged.stages = [(stage.on, stage.top) for stage in read_stages(batch.paths)]
    return judged


def _last_change(look: Look) -> float:
    """Return when a pilot or collect last did something, by file times; clients that only look make no difference."""
    shards = {os.path.dirname(os.path.join(look.paths.names, name.place)) for name in look.names if name.item_id >= 0}
    pilots = [
        look.paths.session(token)
        for token, view in look.sessions.items()
        if view.header is None or view.header.kind == "pilot"
    ]
    places = [look.paths.items, *shards, *pilots, *(look.paths.pack(token) for token in look.packs)]
    return max(os.lstat(place).st_mtime for place in places)


def _at_work(look: Look, work: Work) -> list[str]:
    reasons = []
    if work.is_busy:
        reasons.append("a client is at work on it, or has died on another machine")
    verdicts = Counter(work.living.submission(one) for one in read_submissions(look.paths))
    if verdicts[Verdict.ALIVE]:
        reasons.append("pilots of it live or wait in the queue")
    elif verdicts[Verdict.UNKNOWN]:
        reasons.append("whether pilots of it live is not known; ask again in a minute")
    return reasons


def _is_over(state: State) -> bool:
    cancelled = state.name is StateName.FAILED and state.failure is Failure.CANCELLED
    return state.name in _SETTLED or cancelled


def _unfinished(look: Look, wanted: Wanted) -> list[str]:
    counts = Counter(state.name for state in look.states.values() if not _is_over(state))
    if wanted.failed:
        del counts[StateName.FAILED]
    words = {
        StateName.FAILED: "failed; their output lies here (give them up with crh-batch cancel, and say --failed)",
        StateName.DONE: "finished and not collected",
    }
    return [f"{plural(number, 'tomodir')} {words.get(name, name.value)}" for name, number in counts.items()]


def _lacking(look: Look) -> dict[int, str]:
    """Return the collected tomodirs whose result isn't in them as it was collected, with what differs."""

    def compare(item_id: int) -> str:
        view = look.sessions.get(look.done_by.get(item_id, ""))
        event = view.done.get(item_id) if view is not None else None
        found = list(compare_result(look, look.batch.items[item_id], event, deep=True))
        return found[0].detail if found else ""

    collected = [item_id for item_id, state in look.states.items() if state.name is StateName.COLLECTED]
    return {item_id: what for item_id, what in zip(collected, in_threads(compare, collected)) if what}


def _still_wanted(look: Look, lacking: dict[int, str]) -> list[str]:
    reasons = []
    if lacking:
        first = next(iter(lacking))
        reasons.append(
            f"{plural(len(lacking), 'result')} not in place as collected, so this may be the only copy "
            f"({look.path_of(first)}: {lacking[first]})"
        )
    batch = look.batch

    def speaks_of_it(item_id: int) -> bool:
        found = read_registration(batch.tomodir(batch.items[item_id]))
        return found is not None and is_of(found, batch, item_id)

    registered = sum(in_threads(speaks_of_it, look.states))
    if registered:
        reasons.append(f"{plural(registered, '.crh file')} of it left (crh-batch cancel gives those up that failed)")
    return reasons


def _of_the_user(look: Look, wanted: Wanted) -> list[str]:
    foreign = [one.place for one in [*files_of(look.batch), *names_of(look)] if one.kind is Kind.FOREIGN]
    reasons = [f"it holds what crh-batch did not make: {foreign[0]}"] if foreign else []
    replaced = sum(len(files) for _, _, files in os.walk(look.paths.replaced))
    if replaced and not wanted.replaced:
        reasons.append(f"{plural(replaced, 'old output')} of yours in replaced/ (--replaced removes them, too)")
    return reasons


def _spent_packs(look: Look, work: Work, lacking: dict[int, str]) -> list[str]:
    """Return the packs that hold nothing but results which are in their tomodirs."""
    # Of a batch that runs elsewhere, others would be fetched again.
    mirrored = is_staged(look.paths)
    spent = []
    for token in look.packs:
        view = look.sessions.get(token)
        if view is None or work.verdict(token) is not Verdict.DEAD:
            continue
        ids = {*view.done, *(item_id for item_id, _ in view.failed)}
        over = (item_id in look.states and _is_over(look.states[item_id]) and item_id not in lacking for item_id in ids)
        if all(over) and not (mirrored and any(look.states[item_id].name not in _SETTLED for item_id in ids)):
            spent.append(token)
    return spent


def _extent(directory: str) -> tuple[int, int]:
    """Return how many files, directories and links a directory holds, itself included, and how many bytes."""
    number, size = 1, 0
    for parent, directories, files in os.walk(directory):
        number += len(directories) + len(files)
        size += sum(os.lstat(os.path.join(parent, name)).st_size for name in files)
    return number, size


def remove(judged: Judged, host: Host, wanted: Wanted) -> Judged:
    """Remove what may go, after another look with the batch's custody; return what that one said.

    Raises:
        CrhBatchError: something can't be removed.
    """
    batch = Batch(judged.directory)
    try:
        with custody_of(batch) as custody:
            now = judge(judged.directory, host, wanted, has_custody=True)
            if not now.reasons:
                # What its runs took is worth more than what it fills.
                remember(batch)
                # As long as it is known here what lies there.
                remove_stages(batch)
                renamed = begin_removal(batch.paths)
                custody.leave_it_gone()
                finish_removal(renamed)
            elif now.packs:
                for token in now.packs:
                    durable.calls.unlink(batch.paths.pack(token))
                durable.sync_directory(batch.paths.packs)
    except Busy as error:
        return Judged(judged.directory, judged.tomodirs, [error.message])
    return now
