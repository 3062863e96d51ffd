"""Damaged inputs for every reader: ``make fuzz N=10000``, and a few of them in each run of the tests.

Each reader runs in a process of its own, with a limit on memory and one on time for each input. What is raised must be
an error of crh_batch.errors that the reader's table names; an input that leads to anything else is kept, and printed.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from unit.fuzz.mutate import mutated
from unit.fuzz.reader import Reader
from unit.fuzz.readers import make_readers

# Processor time for one input; the slowest take a tenth of a second. Wall time for what waits instead of working.
CPU_S = 10.0
WALL_S = 300.0
MEMORY_BYTES = 3 << 30
MOST_SHOWN = 5


class Failure(Exception):
    """An input that led to what no reader may do."""


def try_inputs(
    reader: Reader, inputs: int, seed: int, keep: Path, *, most_failures: int = 1, timed: bool = True
) -> Counter[str]:
    """Give a reader damaged inputs; return how often it raised what, "" standing for an answer.

    Args:
        keep: where an input that fails is kept; the one that is being read is always there.
        timed: end the process by a signal when an input takes too long.

    Raises:
        Failure: what was raised, and by which inputs.
    """
    assert reader.corpus, f"{reader.name}: there is no example"
    ends: Counter[str] = Counter()
    failures: dict[str, str] = {}
    word = "".join(letter if letter.isalnum() else "-" for letter in reader.name)
    current = keep / f"{word}-current"
    for number in range(inputs):
        draw = random.Random(f"{seed} {reader.name} {number}")
        example = reader.corpus[number % len(reader.corpus)]
        data = example if number < len(reader.corpus) else mutated(example, reader.corpus, draw)
        current.write_bytes(data)
        if timed:
            _limit_time(CPU_S, WALL_S)
        try:
            reader.read(data)
            ends[""] += 1
        except reader.errors as error:
            assert str(error), "an error without words"
            ends[type(error).__name__] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            if what not in failures:
                kept = keep / f"{word}-{seed}-{number}"
                kept.write_bytes(data)
                failures[what] = f"{kept}: {data[:300]!r}\n{traceback.format_exc()}"
            ends[f"!{type(error).__name__}"] += 1
            if len(failures) >= most_failures:
                break
    if timed:
        _limit_time(0.0, 0.0)
    current.unlink()
    if failures:
        raise Failure("\n".join(failures.values()))
    return ends


def _limit_time(cpu_s: float, wall_s: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def run_apart(make: str, inputs: int, seed: int, scratch: Path, keep: Path, most_failures: int) -> int:
    """Try one reader, by its name, in a process of its own; return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        for number in (signal.SIGPROF, signal.SIGALRM):
            # The first says where it is, then it ends: a long call of C would not let a handler of Python's run.
            signal.signal(number, signal.SIG_DFL)
            faulthandler.register(number, chain=True)
        _own_directories(scratch)
        (reader,) = [one for one in make_readers(scratch) if one.name == make]
        began = time.monotonic()
        ends = try_inputs(reader, inputs, seed, keep, most_failures=most_failures)
        told = ", ".join(f"{many} {name or 'answered'}" for name, many in sorted(ends.items()))
        print(f"{make:24} {inputs:8} inputs {time.monotonic() - began:7.1f} s   {told}", flush=True)
        status = 0
    except Failure as failure:
        print(f"{make}: FAILED\n{failure}", flush=True)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _own_directories(scratch: Path) -> None:
    for key in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        os.environ[key] = str(scratch / key)


def main() -> int:
    """Try all readers, or those that are named; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where inputs that fail are kept")
    parser.add_argument("--failures", type=int, default=MOST_SHOWN, help="different ones a reader, after which it ends")
    parser.add_argument("readers", nargs="*")
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    failed = 0
    with tempfile.TemporaryDirectory(dir=base, prefix="crh-fuzz-") as scratch:
        listing = Path(scratch) / "listing"
        listing.mkdir()
        _own_directories(listing)
        names = [one.name for one in make_readers(listing)]
        for number, name in enumerate(names):
            if arguments.readers and name not in arguments.readers:
                continue
            place = Path(scratch) / str(number)
            place.mkdir()
            status = run_apart(
                name, arguments.inputs, arguments.seed, place, arguments.keep.absolute(), arguments.failures
            )
            if os.WIFSIGNALED(status):
                print(f"{name}: FAILED: ended by signal {os.WTERMSIG(status)}; its last input is kept", flush=True)
            failed += status != 0
            shutil.rmtree(place, ignore_errors=True)
    if not os.listdir(arguments.keep):
        arguments.keep.rmdir()
    print(f"{failed} of {len(arguments.readers or names)} readers failed")
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
