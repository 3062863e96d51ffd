"""The parts of a batch that are served by an engine each: one as a rule, one for each stage of a batch with stages."""

from __future__ import annotations

from dataclasses import dataclass

from crh_batch.engines.array import ArrayEngine
from crh_batch.engines.base import LOCAL, Engine
from crh_batch.engines.clusters import ClustersEngine, profile_now
from crh_batch.engines.machines import machine_of
from crh_batch.engines.profile_then import profile_of
from crh_batch.engines.staged import StagedEngine
from crh_batch.errors import UsageError
from crh_batch.hosts.reach import reach
from crh_batch.hosts.this_machine import ThisMachine
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.submissions import read_submissions
from crh_batch.mirror.stage import Stage, read_stages
from crh_batch.schedulers.known import SCHEDULERS


@dataclass(frozen=True)
class Part:
    """What one engine serves.

    Args:
        stage: the stage's number; 0 where pilots see this filesystem.
        ids: its tomodirs; None for all of the batch.
    """

    engine: Engine
    stage: int = 0
    ids: frozenset[int] | None = None


def parts_of(batch: Batch, engine: Engine) -> list[Part]:
    """Return the parts of a batch.

    Args:
        engine: what the command asks for; a batch with stages goes on where they are, whatever that says.

    Raises:
        UsageError: a cluster is asked for that doesn't see the batch.
        LedgerError: a stage can't be read.
    """
    stages = read_stages(batch.paths)
    if stages:
        return [Part(_engine_of(stage, engine), stage.number, stage.ids) for stage in stages]
    if isinstance(engine, ClustersEngine):
        raise UsageError(
            f"batch {batch.batch_id}: was submitted to run where its files are, not on {engine.names}",
            "Go on with it without --on (--on here, if the survey's file or your profile sets on), or cancel it first.",
        )
    if engine.name == LOCAL:
        return [Part(_engine_over_ssh(batch) or engine)]
    return [Part(engine)]


def _engine_of(stage: Stage, engine: Engine) -> Engine:
    asked = engine.profile_of(stage.on) if isinstance(engine, ClustersEngine) else None
    profile = asked or profile_now(stage.on, stage.batch.root, stage.profile)
    return StagedEngine(stage, reach(stage.host), profile)


def _engine_over_ssh(batch: Batch) -> Engine | None:
    """Return the engine of a batch that was submitted over SSH from here: the command need not say so again."""
    asked = [one for one in read_submissions(batch.paths) if one.engine in SCHEDULERS]
    if not asked or not asked[-1].host:
        return None
    here = ThisMachine()
    machine = machine_of(batch, asked[-1], here)
    return None if machine is here else ArrayEngine(SCHEDULERS[asked[-1].engine], machine, profile_of(batch))
