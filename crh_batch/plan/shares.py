"""What part of a batch each of several clusters gets: by what the user says, or by what is idle. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crh_batch.errors import UsageError
from crh_batch.plan.graph import groups
from crh_batch.site import Capacity

# A tomodir whose time is not known, or nothing, must not be free: all such would go to one cluster.
_LEAST_S = 1e-3


@dataclass(frozen=True)
class Work:
    """A tomodir, as far as dealing out goes.

    Args:
        item_id: its number in the batch.
        seconds: how long it may run.
        cores: how many it occupies meanwhile.
        after: the numbers of those that it takes results of; numbers that aren't dealt out don't matter.
    """

    item_id: int
    seconds: float
    cores: int
    after: Sequence[int] = ()

    @property
    def core_seconds(self) -> float:
        """What it takes of a cluster; never nothing."""
        known = self.seconds if _LEAST_S < self.seconds < math.inf else _LEAST_S
        return known * max(self.cores, 1)


def split(works: Sequence[Work], shares: Sequence[float]) -> list[frozenset[int]]:
    """Deal tomodirs out to clusters so that each gets core-seconds in proportion to its share.

    Tomodirs that take results of each other stay together, however far around: no result has to go from one cluster to
    another. The longest such group goes first, to that cluster which would be done with it first among those that have
    less than their share yet (longest processing time first; Graham 1969, "Bounds on multiprocessing timing
    anomalies"). So no cluster gets more than one group above its share, and one with a share of 0 gets nothing. The
    same works and shares give the same parts, in whatever order the works come.

    Args:
        shares: one for each cluster, in any unit.

    Returns:
        The numbers of each cluster's tomodirs, in the order of the shares.

    Raises:
        ValueError: the shares are such as ``parse_shares`` refuses.
    """
    total = math.fsum(shares)
    if not (0 < total < math.inf) or min(shares) < 0:
        raise ValueError(f"shares {list(shares)}")
    together = [(math.fsum(one.core_seconds for one in group), group) for group in _groups(works)]
    together.sort(key=lambda pair: (-pair[0], pair[1][0].item_id))
    whole = math.fsum(weight for weight, _ in together)
    # A share so small that it is none beside the others gets nothing either.
    fair = {place: share / total * whole for place, share in enumerate(shares) if share / total * whole > 0}
    loads = dict.fromkeys(fair, 0.0)
    parts: list[list[int]] = [[] for _ in shares]
    for weight, group in together:
        # By rounding all may seem to have their share when the last group comes.
        hungry = [place for place in fair if loads[place] < fair[place]] or list(fair)
        place = min(hungry, key=lambda one: ((loads[one] + weight) / fair[one], one))
        loads[place] += weight
        parts[place] += [one.item_id for one in group]
    return [frozenset(part) for part in parts]


def _groups(works: Sequence[Work]) -> list[list[Work]]:
    """Return the tomodirs that belong together, each group by ascending number."""
    known = {one.item_id: one for one in works}
    graph = {item_id: [other for other in one.after if other in known] for item_id, one in known.items()}
    return [[known[item_id] for item_id in sorted(group)] for group in groups(graph)]


def parse_shares(text: str, names: Sequence[str]) -> list[float]:
    """Return the shares that a user gives clusters, in the order of ``names``.

    Args:
        text: ``a=2,b=1``: numbers in any unit; 0 for nothing.
        names: the clusters; each must be in it once.

    Raises:
        UsageError: a cluster is unknown, missing or there twice, or the shares aren't numbers that say what goes where.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, mark, number = (cell.strip() for cell in part.rpartition("="))
        if not mark or not name:
            raise _refused(text, names, f"{part.strip()!r} is no share")
        if name not in names:
            raise _refused(text, names, f"{name} is none of the clusters of --on")
        if name in found:
            raise _refused(text, names, f"{name} is there twice")
        found[name] = _share(number)
        if not 0 <= found[name] < math.inf:
            raise _refused(text, names, f"{number!r} is no number from 0 up")
    missing = [name for name in names if name not in found]
    if missing:
        raise _refused(text, names, f"no share for {', '.join(missing)}")
    if not 0 < sum(found.values()) < math.inf:
        raise _refused(text, names, "the shares add up to nothing" if not any(found.values()) else "too large")
    return [found[name] for name in names]


def _share(number: str) -> float:
    try:
        return float(number)
    except ValueError:
        return math.nan


def _refused(text: str, names: Sequence[str], why: str) -> UsageError:
    example = ",".join(f"{name}={len(names) - place}" for place, name in enumerate(names))
    return UsageError(f"--share {text}: {why}", f"Give each cluster a number, as in --share {example}; 0 for nothing.")


def shares_from_capacity(capacities: Sequence[Capacity]) -> list[float]:
    """Return shares in proportion to the cores that are idle; where none is anywhere, to those in service.

    Who waits already is not counted: idle cores may be for somebody else's jobs. If nothing is known of any cluster,
    all get the same.
    """
    for cores in ([one.idle for one in capacities], [one.total for one in capacities]):
        if any(cores):
            return [float(number) for number in cores]
    return [1.0] * len(capacities)
