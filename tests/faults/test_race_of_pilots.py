"""Promise: however many pilots go for the same tomodirs, each tomodir is run once."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from crh_batch.ledger.collect import collect_batch
from crh_batch.ledger.custody import custody_of
from faults.surveys import (
    events_in,
    make_tool_batch,
    marks_of,
    names_in,
    pilot_argv,
    sessions_in,
    wait_for_empty,
    write_tool,
)

PILOTS = 12
END_WITHIN_S = 120


@pytest.mark.parametrize(("links", "count"), [("symlink", 2000), ("file", 300)])
def test_twelve_pilots_run_each_tomodir_exactly_once(place: Path, links: str, count: int) -> None:
    """Twelve pilots with a core each go for tomodirs of a millisecond, on two cores, so they collide all the time.

    Three independent witnesses: the names, the sessions' events, and lines that the program itself appends to a file
    outside (O_APPEND, so no line is lost or torn).
    """
    counter = place / "counter"
    tool = write_tool(place / "tool", f'pwd >> "{counter}"; cp in.dat out.dat')
    root = place / "survey"
    root.mkdir()
    batch = make_tool_batch(root, count, tool, links=links)

    pilots = [subprocess.Popen(pilot_argv(batch), stderr=subprocess.PIPE, text=True) for _ in range(PILOTS)]
    for pilot in pilots:
        _, complaints = pilot.communicate(timeout=END_WITHIN_S)
        assert (pilot.returncode, complaints) == (0, "")

    assert all(marks == ["claim.001", "done"] for marks in marks_of(batch).values())

    directory = Path(batch.paths.directory)
    said = {token: events_in(directory, token) for token in sessions_in(directory)}
    for kind in ("claim", "done"):
        told = Counter(event["id"] for events in said.values() for event in events if event["event"] == kind)
        assert told == Counter(range(count)), kind
    for named in names_in(root):
        assert any(event.get("id") == named.item_id for event in said[named.token]), named
    ends = [event for events in said.values() for event in events if event["event"] == "end"]
    assert sum(event["finished"] for event in ends) == count
    assert len(ends) == PILOTS

    ran = [Path(line).parts[-3] for line in counter.read_text().splitlines()]
    assert Counter(ran) == Counter(f"{number:06d}.001" for number in range(count))
    wait_for_empty(place / "scratch")

    with custody_of(batch) as custody:
        report = collect_batch(batch, custody)
    assert (report.collected, report.refused) == (count, [])
    for number in range(count):
        path = f"td{number:05d}"
        assert (root / path / "exe/out.dat").read_text() == path
        assert (root / path / "exe/in.dat").read_text() == path
