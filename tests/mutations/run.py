"""Break each promise on purpose and see that the tests named for it fail: ``python -m mutations.run`` in ``tests/``.

First the tests run on what is not broken: all must pass. Then a canary: a change must reach the processes that tests
start, the pilots' too. Then one mutation after another, two at a time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutations.mutation import Mutation
from mutations.sandbox import Ran, Sandbox, copy_project
from mutations.table import CANARIES, MUTATIONS

_IN_MEMORY = Path("/dev/shm")
_AT_ONCE = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the check; return 1 if any mutation was not noticed, or something else is wrong with it."""
    parser = argparse.ArgumentParser(prog="mutations.run", description=__doc__)
    parser.add_argument("names", nargs="*", help="a part of the names of those to run (default: all)")
    wanted = parser.parse_args(arguments).names
    chosen = [one for one in MUTATIONS if not wanted or any(word in one.name for word in wanted)]
    began = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="crh-mutations-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
    try:
        wrong = _check(chosen, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    seconds = time.monotonic() - began
    print(f"\n{len(chosen) - len(wrong)} of {len(chosen)} mutations were noticed, in {seconds:.0f} s")
    for line in wrong:
        print(f"\n{line}")
    return 1 if wrong else 0


def _check(chosen: Sequence[Mutation], scratch: Path) -> list[str]:
    original = scratch / "original"
    copy_project(original)
    problems = [problem for one in chosen if (problem := one.problem(original / "crh_batch"))]
    if problems:
        raise SystemExit("\n".join(problems))
    boxes = [Sandbox(original, scratch / f"copy-{number}") for number in range(_AT_ONCE)]
    unbroken = _in_parallel(boxes, _parts(sorted({test for one in (*CANARIES, *chosen) for test in one.tests})))
    for ran in unbroken:
        if ran.failed or ran.nonsense:
            raise SystemExit(f"without any mutation this fails: {' '.join(ran.failed)} {ran.nonsense}\n{ran.why}")
    print(f"unbroken: {sum(ran.passed for ran in unbroken)} tests pass")
    wrong = _run_all(boxes, CANARIES)
    if wrong:
        raise SystemExit("changes of the package don't reach what is tested: " + "\n".join(wrong))
    return _run_all(boxes, chosen)


def _parts(tests: list[str]) -> list[list[str]]:
    return [part for number in range(_AT_ONCE) if (part := tests[number::_AT_ONCE])]


def _in_parallel(boxes: Sequence[Sandbox], parts: Sequence[Sequence[str]]) -> list[Ran]:
    with ThreadPoolExecutor(len(boxes)) as pool:
        return list(pool.map(lambda pair: pair[0].run(pair[1], timeout_s=3600), zip(boxes, parts)))


def _run_all(boxes: Sequence[Sandbox], mutations: Sequence[Mutation]) -> list[str]:
    free = list(boxes)
    lock = threading.Lock()

    def run(mutation: Mutation) -> str:
        with lock:
            box = free.pop()
        try:
            with box.broken_by(mutation):
                answers = [(test, box.run([test])) for test in mutation.tests]
        finally:
            with lock:
                free.append(box)
        wrong = "\n".join(why for test, ran in answers if (why := _why_not_noticed(test, ran)))
        seconds = sum(ran.seconds for _, ran in answers)
        print(f"{'NOT NOTICED' if wrong else 'noticed':12}{seconds:6.1f} s  {mutation.name}", flush=True)
        return f"{mutation.name} ({mutation.invariant}): {wrong}" if wrong else ""

    with ThreadPoolExecutor(len(boxes)) as pool:
        return [line for line in pool.map(run, mutations) if line]


def _why_not_noticed(test: str, ran: Ran) -> str:
    if ran.nonsense:
        return f"{test}: {ran.nonsense}"
    return "" if ran.failed else f"{test}: passes all the same"


if __name__ == "__main__":
    sys.exit(main())
