"""Names of a batch with stages: made there first, where pilots make theirs, and here once that is known.

As long as a stage hasn't arrived no pilot can run there, so names are made here alone; ``mirror/owed.py`` brings them
there later. When it is gone none can any more, and they are made here alone, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crh_batch.errors import HostError, LedgerError, StageGone
from crh_batch.hosts.reach import reach
from crh_batch.ledger import durable
from crh_batch.ledger.arbiter import is_ours
from crh_batch.ledger.paths import SHARD_SIZE, BatchPaths, session_target
from crh_batch.ledger.session import Session, holder_of
from crh_batch.ledger.settings import read_settings
from crh_batch.ledger.steering import in_threads
from crh_batch.mirror.down import bring_down
from crh_batch.mirror.gone import noticing
from crh_batch.mirror.making import make_there
from crh_batch.mirror.owed import bring_owed
from crh_batch.mirror.refresh import for_each
from crh_batch.mirror.stage import Stage, is_staged, read_stages

if TYPE_CHECKING:
    from crh_batch.ledger.arbiter import Arbiter

_known: dict[str, StageArbiter] = {}


def find_arbiter(paths: BatchPaths) -> Arbiter | None:
    """Return who decides about a batch's names if its pilots run in stages, None if they see this filesystem.

    Raises:
        LedgerError: a stage can't be read.
    """
    found = _known.get(paths.directory)
    if found is None and is_staged(paths):
        found = _known[paths.directory] = StageArbiter(paths, read_stages(paths))
    return found


class StageArbiter:
    """Makes names in the stages of a batch, and copies them here; as ``ledger.arbiter.Arbiter`` says."""

    def __init__(self, paths: BatchPaths, stages: Sequence[Stage]) -> None:
        self._paths = paths
        self._stages = stages
        self._links = read_settings(paths).links

    def win(self, session: Session, marks: Sequence[tuple[int, str]]) -> list[bool]:
        """Make tomodirs' names, each in the stage that the tomodir is in; return for each whether it is the session's.

        Raises:
            HostError: a machine can't be reached; nobody knows which of its names were made.
            LedgerError: a name could not be made.
        """
        won = dict.fromkeys(marks, False)
        waiting = [stage for stage in self._stages if not stage.has_arrived]
        here = [one for one in marks if is_ours(one[1])]
        won.update(self._win_here(session, here))

        def one_stage(stage: Stage) -> HostError | None:
            of_it = [one for one in marks if one[0] in stage.ids and not is_ours(one[1])]
            try:
                won.update(self._win_in(stage, session, of_it))
            except HostError as error:
                return error
            return None

        _raise_first(for_each(one_stage, self._stages))
        _bring_to_arrived(waiting)
        return [won[one] for one in marks]

    def win_for_batch(self, session: Session, mark: str) -> bool:
        """Make a name for the whole batch in all stages; return whether it is the session's in each.

        Raises:
            HostError: a machine can't be reached; it was tried on the others, and the next command can do the rest.
            LedgerError: the name could not be made.
        """
        target = session_target(session.token, in_shard=False)
        waiting = [stage for stage in self._stages if not stage.has_arrived]

        def one_stage(stage: Stage) -> bool | HostError:
            if not stage.has_arrived:
                return True
            far = reach(stage.host)
            try:
                with noticing(stage, far):
                    return next(make_there(stage, far, [(mark, target)], [session.token]))
            except StageGone:
                return True
            except HostError as error:
                return error

        answers = for_each(one_stage, [] if is_ours(mark) else self._stages)
        _raise_first(answers)
        is_won = all(answers) and durable.win_name(self._paths.batch_name(mark), target, self._links)
        _bring_to_arrived(waiting)
        return is_won

    def bring_news(self) -> None:
        """Bring here what was decided in the stages meanwhile.

        Raises:
            HostError: a machine can't be reached.
            LedgerError: the mirror can't be written, or contradicts a stage.
        """

        def one_stage(stage: Stage) -> HostError | None:
            try:
                bring_down(stage, reach(stage.host))
            except StageGone:
                return None
            except HostError as error:
                return error
            return None

        _raise_first(for_each(one_stage, self._stages))

    def _win_in(self, stage: Stage, session: Session, marks: Sequence[tuple[int, str]]) -> dict[tuple[int, str], bool]:
        if not marks or not stage.has_arrived:
            return self._win_here(session, marks)
        there = stage.there
        target = session_target(session.token, in_shard=True)
        below = len(there.names) + 1
        names = [(there.name(item_id, mark)[below:], target) for item_id, mark in marks]
        won: dict[tuple[int, str], bool] = {}
        far = reach(stage.host)
        try:
            with noticing(stage, far):
                for one, is_won in zip(marks, make_there(stage, far, names, [session.token])):
                    won[one] = is_won
        except StageGone:
            return self._win_here(session, marks)
        finally:
            # Also of what was made before the connection broke.
            self._copy_here(session, [one for one, is_won in won.items() if is_won])
        return won

    def _copy_here(self, session: Session, marks: Sequence[tuple[int, str]]) -> None:
        for one, is_won in self._win_here(session, marks).items():
            if not is_won:
                path = self._paths.name(*one)
                raise LedgerError(
                    f"{path}: is the name of {holder_of(path)!r} here, and of {session.token!r} where the pilots run",
                    "That can't be; tell the developers.",
                    path,
                )

    def _win_here(self, session: Session, marks: Sequence[tuple[int, str]]) -> dict[tuple[int, str], bool]:
        won = in_threads(lambda one: session.win_here(one[0], one[1], self._links), marks)
        durable.sync_many((), sorted({self._paths.shard(item_id // SHARD_SIZE) for item_id, _ in marks}))
        return dict(zip(marks, won))


def _bring_to_arrived(waiting: Sequence[Stage]) -> None:
    """Bring names that were made here alone to stages that have arrived meanwhile."""
    for stage in waiting:
        # RACE: either this sees that it has arrived, or who brought it sees the names (mirror/up.py).
        if stage.has_arrived:
            bring_owed(stage, reach(stage.host))


def _raise_first(answers: Sequence[object]) -> None:
    for answer in answers:
        if isinstance(answer, HostError):
            raise answer
