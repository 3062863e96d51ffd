"""How far off estimates of time are: by the formula alone, and from the history of what was run before.

    python benchmarks/estimates.py [TOMODIRS] [DIRECTORY]

Demonstration tomodirs, or copies of the runnable ones in DIRECTORY, are run in two batches on this machine; the first
teaches, the second is predicted. Factors are of at least 1, whichever way a prediction was off.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from crh_batch.demo import write_demo
from crh_batch.engines.history_file import runs_of
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.plan.history import History, Run


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    source = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="crh-estimates-") as name:
        place = Path(name)
        os.environ["XDG_STATE_HOME"] = str(place / "state")
        halves = [_run(place / part, count, source, seed) for seed, part in enumerate(("teaching", "predicted"), 1)]
    taught, predicted = halves
    if source is not None:
        # The same tomodirs twice would be predicted by themselves: leave each one's own sizes out.
        by_history = [_factor(run, History(one for one in taught if one.key != run.key)) for run in predicted]
    else:
        history = History(taught)
        by_history = [_factor(run, history) for run in predicted]
    by_formula = [_factor(run, History()) for run in predicted]
    inside = statistics.mean(_is_inside(run, History(taught)) for run in predicted)
    for name, factors in (("formula", by_formula), ("history", by_history)):
        print(f"{name}: off by {statistics.median(factors):.2f} in the median, {max(factors):.2f} at worst")
    print(f"{len(predicted)} stages predicted from {len(taught)}; {inside:.0%} lie in their range")
    print(json.dumps({"formula": by_formula, "history": by_history}))
    return 0


def _run(survey: Path, count: int, source: Path | None, seed: int) -> list[Run]:
    if source is None:
        write_demo(survey, count, seed=seed)
    else:
        shutil.copytree(source, survey, symlinks=True)
    argv = [sys.executable, "-m", "crh_batch", "run", "-j", "1", "--max-time", "0.5"]
    subprocess.run(argv, cwd=survey, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return [run for batch in batches_of(str(survey)) for run in runs_of(Batch(batch))]


def _factor(run: Run, history: History) -> float:
    seconds = history.estimate_of(run).seconds
    return max(run.wall_s / seconds, seconds / run.wall_s)


def _is_inside(run: Run, history: History) -> bool:
    found = history.estimate_of(run)
    return found.low <= run.wall_s <= found.high


if __name__ == "__main__":
    sys.exit(main())
