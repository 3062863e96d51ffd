"""Promise: an error of the filesystem, true or false, never costs a result, and never makes two of one."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Crh, skip_or_fail
from crh_batch.errors import LedgerError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import collect_batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import verdict_here
from crh_batch.ledger.lost import open_claims, recover_lost
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.session import Session, read_events
from faults.lies import Fault, argv_with, install
from faults.surveys import (
    Survey,
    crh_argv,
    events_in,
    make_survey,
    make_tool_batch,
    marks_of,
    pilot_argv,
    problems_of,
    wait_for_empty,
    wait_for_quiet,
    write_tool,
)

COUNT = 20


@pytest.fixture
def batch(place: Path) -> Batch:
    """Twenty tomodirs of a millisecond."""
    (place / "survey").mkdir()
    return make_tool_batch(place / "survey", COUNT, write_tool(place / "tool", "cp in.dat out.dat"))


def run_pilot(batch: Batch, *faults: Fault, cores: int = 1) -> subprocess.CompletedProcess[str]:
    """Run a pilot with faults to its end."""
    argv = argv_with(faults, "pilot", [batch.paths.directory, "--cores", str(cores)])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def finish(place: Path, batch: Batch) -> None:
    """Go on with a batch as a client does, and check that every tomodir ends with its own result, once."""
    with custody_of(batch) as custody:
        recover_lost(batch, open_claims(batch), lambda header: verdict_here(header.who), custody.session)
    subprocess.run(pilot_argv(batch), check=True, timeout=60)
    with custody_of(batch) as custody:
        report = collect_batch(batch, custody)
    assert (report.collected, report.refused) == (COUNT, [])
    for item_id, marks in marks_of(batch).items():
        assert marks.count("done") == marks.count("collected") == 1
        assert (place / f"survey/td{item_id:05d}/exe/out.dat").read_text() == f"td{item_id:05d}"
    wait_for_empty(place / "scratch")


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("error", ["EEXIST", "EIO", "ESTALE"])
def test_symlink_that_works_and_reports_an_error_is_believed_by_what_it_left(
    place: Path, batch: Batch, error: str
) -> None:
    """NFS: the reply was lost, and the retransmitted call met its own link (RFC 1813, 4.5)."""
    done = run_pilot(batch, Fault("symlink", r"names/", error, works=True))
    assert (done.returncode, done.stderr) == (0, "")

    assert all(marks == ["claim.001", "done"] for marks in marks_of(batch).values())
    finish(place, batch)


def test_symlink_that_fails_truly_ends_the_pilot_with_a_reason(place: Path, batch: Batch) -> None:
    done = run_pilot(batch, Fault("symlink", r"names/.*done", "EIO", skip=5))
    assert done.returncode == 3
    assert "could not be made: Input/output error" in done.stderr

    marks = list(marks_of(batch).values())
    assert marks.count(["claim.001", "done"]) == 5
    finish(place, batch)


@pytest.mark.parametrize(
    ("error", "mark"), [("ENOSPC", "claim"), ("EDQUOT", "done"), ("EROFS", "done"), ("EACCES", "claim")]
)
def test_name_that_finds_no_room_ends_the_pilot_and_its_tomodirs_go_on_elsewhere(
    place: Path, batch: Batch, error: str, mark: str
) -> None:
    done = run_pilot(batch, Fault("symlink", mark, error, skip=3, times=1))
    assert done.returncode == 3
    assert os.strerror(getattr(errno, error)) in done.stderr
    finish(place, batch)


def test_name_that_is_not_readable_yet_is_waited_for(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """GlusterFS: another client's file was not to be seen for 3 s, though creating it failed with EEXIST (seen)."""
    slept: list[float] = []
    monkeypatch.setattr(durable.calls, "sleep", slept.append)
    one = Session.begin(batch.paths, "client")
    other = Session.begin(batch.paths, "client")
    with contextlib.closing(one), contextlib.closing(other):
        assert one.win(0, "claim.001", batch.settings.links)
        for session, wins in [(one, True), (other, False)]:
            install([Fault("readlink", "claim", "ENOENT", times=5)], monkeypatch.setattr)
            assert session.win(0, "claim.001", batch.settings.links) is wins
    assert sum(slept) < 60

    install([Fault("readlink", "claim", "ENOENT")], monkeypatch.setattr)
    assert not durable.read_name(batch.paths.name(0, "claim.001"), wait_s=60)
    assert sum(slept) > 60, "given up after the longest time that a cache may take"


# ------------------------------------------------------------------ sessions and packs


def test_pack_that_finds_no_room_ends_the_pilot_and_keeps_what_was_written(place: Path, batch: Batch) -> None:
    """Half a record fits (write(2): a short count, then ENOSPC); it is cut off again."""
    done = run_pilot(batch, Fault("write", r"\.pack$", "ENOSPC", part=0.5, skip=4, times=1))
    assert done.returncode == 3
    assert "No space left on device" in done.stderr

    marks = list(marks_of(batch).values())
    assert ["claim.001"] in marks
    directory = Path(batch.paths.directory)
    (pack,) = (directory / "packs").iterdir()
    events = events_in(directory, pack.stem)
    records = [event["record"] for event in events if "record" in event]
    assert pack.stat().st_size == sum(record["length"] for record in records)
    finish(place, batch)


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_session_that_finds_no_room_ends_the_pilot(place: Path, batch: Batch, part: float) -> None:
    done = run_pilot(batch, Fault("write", r"sessions/.*\.crh$", "ENOSPC", part=part, skip=10, times=1))
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    finish(place, batch)


def test_torn_event_does_not_swallow_the_next_one(place: Path, batch: Batch) -> None:
    """Room comes back while the pilot ends.

    1. The event `done` of one tomodir is written by half, then the filesystem is full: its slot stops the pilot.
    2. The other slots' programs end; there is room again, their events are written and their names made.
    3. Each of these names speaks of an event, which must be readable though a torn line stands before it.
    """
    done = run_pilot(batch, Fault("write", r"sessions/.*\.crh$", "ENOSPC", part=0.5, skip=9, times=1), cores=4)
    assert done.returncode == 3
    directory = Path(batch.paths.directory)
    for item_id, marks in marks_of(batch).items():
        if "done" in marks:
            token = Path(os.readlink(batch.paths.name(item_id, "done"))).stem
            assert _readable(directory, token, item_id) == 1
    finish(place, batch)


def _readable(directory: Path, token: str, item_id: int) -> int:
    events = read_events(BatchPaths(str(directory)), token)
    return sum(event["event"] == "done" and event["id"] == item_id for event in events)


def test_event_after_a_torn_one_is_readable(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session.begin(batch.paths, "pilot")
    with contextlib.closing(session):
        install([Fault("write", "sessions", "ENOSPC", part=0.5, skip=1, times=1)], monkeypatch.setattr)
        session.append("claim", id=1, attempt=1)
        with pytest.raises(OSError):
            session.append("done", id=1, attempt=1)
        session.append("done", id=2, attempt=1)
    assert [(event["event"], event["id"]) for event in read_events(batch.paths, session.token)] == [
        ("claim", 1),
        ("done", 2),
    ]


@pytest.mark.parametrize("path", [r"\.pack$", r"sessions/vm|sessions/[^/]*\.crh$"], ids=["pack", "session"])
def test_nothing_is_done_that_could_not_be_made_durable(place: Path, batch: Batch, path: str) -> None:
    """fsync(2) reports EIO once, and what it was for may be gone: so no name may speak of it, now or later."""
    # The first fsync of a session is that of its beginning.
    skip = 0 if "pack" in path else 1
    done = run_pilot(batch, Fault("fsync", path, "EIO", skip=skip, times=1))
    assert done.returncode == 3
    assert "can't be made durable" in done.stderr
    assert not any("done" in marks for marks in marks_of(batch).values())
    finish(place, batch)


def test_short_writes_are_completed(place: Path, batch: Batch) -> None:
    """write(2) may write less than it was given, and say so; nothing is wrong then."""
    done = run_pilot(batch, Fault("write", "", part=0.1))
    assert (done.returncode, done.stderr) == (0, "")
    assert all(marks == ["claim.001", "done"] for marks in marks_of(batch).values())
    finish(place, batch)


def test_pilot_that_cannot_write_its_session_claims_nothing(place: Path, batch: Batch) -> None:
    done = run_pilot(batch, Fault("open", r"sessions/.*\.crh$", "ENOSPC"))
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert not any(marks_of(batch).values())
    finish(place, batch)


# ------------------------------------------------------------------ registration


@pytest.fixture
def survey(place: Path, programs: Path) -> Survey:
    """Five small models."""
    return make_survey(place / "survey", 5, programs)


def client(survey: Survey, *arguments: str, faults: tuple[Fault, ...]) -> subprocess.CompletedProcess[str]:
    """Run a command with faults."""
    argv = argv_with(faults, "client", list(arguments))
    done = subprocess.run(argv, cwd=survey.root, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("path", [r"td0000\d\.crh$", r"items\.jsonl$"], ids=["registration", "items"])
@pytest.mark.parametrize("error", ["EEXIST", "EIO"])
def test_link_that_works_and_reports_an_error_is_believed_by_what_it_left(
    place: Path, survey: Survey, crh: Crh, error: str, path: str
) -> None:
    """As for symlink: link(2), "On NFS filesystems, the return code may be wrong"; stat(2) tells (open(2), O_EXCL)."""
    faults = (Fault("link", path, error, works=True),)
    done = client(survey, "run", "-j2", faults=faults)
    assert done.returncode == 0, done.stderr
    wait_for_quiet(survey.root)
    assert not problems_of(survey, once=True)


@pytest.mark.parametrize("error", ["EPERM", "EMLINK"])
def test_without_hard_links_registrations_are_created_in_place(
    place: Path, survey: Survey, crh: Crh, error: str
) -> None:
    """A filesystem without link(2) (EPERM: FAT, some FUSE); GlusterFS refused the 41st to one file (seen)."""
    done = client(survey, "run", "-j2", faults=(Fault("link", "", error),))
    assert done.returncode == 0, done.stderr
    wait_for_quiet(survey.root)
    assert not problems_of(survey, once=True)


CLIENT_WRITES = (
    Fault("write", r"pilot\.pyz", "ENOSPC", part=0.5),
    Fault("write", r"batch\.json", "ENOSPC", part=0.5),
    Fault("write", r"sessions/", "ENOSPC", part=0.5),
    Fault("write", r"registering/", "ENOSPC", part=0.5, skip=2, times=1),
    Fault("write", r"items\.jsonl", "ENOSPC", part=0.5),
    Fault("write", r"submissions\.jsonl", "ENOSPC", part=0.5, times=1),
    Fault("write", r"submissions\.jsonl", "ENOSPC", part=0.5, skip=1, times=1),
    Fault("symlink", r"custody\.001$", "ENOSPC"),
    Fault("symlink", r"custody\.001\.end$", "ENOSPC", times=1),
    Fault("open", r"registering/", "ENOSPC"),
)


@pytest.mark.parametrize("fault", CLIENT_WRITES, ids=lambda fault: f"{fault.call} {fault.path} {fault.skip}")
def test_submit_without_room_says_so_and_the_next_one_goes_on(
    place: Path, survey: Survey, crh: Crh, fault: Fault
) -> None:
    done = client(survey, "submit", "--engine", "local", faults=(fault,))
    # A tomodir that can't be registered is one of those that can't be run, the others go on.
    assert done.returncode == (0 if "registering" in fault.path else 3), done.stderr
    assert "No space left on device" in done.stderr

    crh("submit", "--engine", "local", "--collect", cwd=survey.root)
    wait_for_quiet(survey.root)
    assert not problems_of(survey, once=True)


# ------------------------------------------------------------------ collect


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Survey:
    """Five small models that were run and not collected, to be copied."""
    directory = tmp_path_factory.mktemp("finished")
    survey = make_survey(directory / "survey", 5, programs)
    subprocess.run(
        crh_argv("submit", "--engine", "local", "--wait"),
        cwd=survey.root,
        env={**os.environ, "XDG_CONFIG_HOME": str(directory)},
        capture_output=True,
        check=True,
    )
    wait_for_quiet(survey.root)
    return survey


COLLECT_FAULTS = (
    Fault("write", r"sessions/", "ENOSPC", part=0.5),
    Fault("symlink", r"custody\.\d+$", "ENOSPC"),
    Fault("symlink", r"collected$", "ENOSPC", skip=2),
    Fault("symlink", r"collected$", "EIO", works=True),
    Fault("symlink", r"custody\.\d+\.end$", "ENOSPC"),
    Fault("replace", r"volt\.dat$", "ENOSPC", skip=2),
    Fault("replace", r"crh\.json$", "EDQUOT", skip=2),
    Fault("replace", r"volt\.dat$", "EIO", works=True),
)


@pytest.mark.parametrize("fault", COLLECT_FAULTS, ids=lambda fault: f"{fault.call} {fault.path} {fault.error}")
def test_collect_that_breaks_off_is_completed_by_the_next_one(
    place: Path, finished: Survey, crh: Crh, fault: Fault
) -> None:
    survey = finished.copy(place / "survey")
    client(survey, "collect", faults=(fault,))

    done = crh("collect", cwd=survey.root, code=None)
    assert done.returncode == 0, done.stderr
    assert not problems_of(survey, once=True)


# ------------------------------------------------------------------ a filesystem that is really full


Tight = Callable[[int], Path]


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[Tight]:
    """A filesystem in memory of a size of one's own; only root may mount it."""
    mounted: list[Path] = []

    def mount(size_kb: int) -> Path:
        directory = tmp_path / f"tight{len(mounted)}"
        directory.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(directory)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            skip_or_fail(f"no filesystem can be mounted here: {done.stderr.strip()}")
        mounted.append(directory)
        return directory

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path, leave_kb: int) -> Path:
    """Fill a filesystem up to a rest; return the file that does it."""
    ballast = directory / "ballast"
    free = os.statvfs(directory)
    ballast.write_bytes(b"\0" * max(0, free.f_bavail * free.f_frsize - leave_kb * 1024))
    return ballast


@pytest.mark.parametrize("leave_kb", [0, 8, 40])
def test_collect_on_a_full_filesystem_is_completed_when_there_is_room(
    finished: Survey, tight: Tight, crh: Crh, leave_kb: int
) -> None:
    directory = tight(3000)
    survey = finished.copy(directory / "survey")
    ballast = fill(directory, leave_kb)
    ended = crh("collect", cwd=survey.root, code=None)
    if leave_kb < 24:
        assert ended.returncode, "nothing can be collected without any room"
        assert "No space left on device" in ended.stderr

    ballast.unlink()
    crh("collect", cwd=survey.root)
    assert not problems_of(survey, once=True)


@pytest.mark.parametrize("leave_kb", [0, 400, 500, 560])
def test_submit_on_a_full_filesystem_is_completed_when_there_is_room(
    place: Path, survey: Survey, tight: Tight, crh: Crh, leave_kb: int
) -> None:
    """The room ends at another step each time: the pilot's file, the frozen program, registrations, results."""
    directory = tight(3000)
    survey = survey.copy(directory / "survey")
    ballast = fill(directory, leave_kb)
    ended = crh("run", "-j1", cwd=survey.root, code=None)
    print(ended.returncode, ended.stderr)
    wait_for_quiet(survey.root)

    ballast.unlink()
    crh("run", "-j1", cwd=survey.root)
    wait_for_quiet(survey.root)
    assert not problems_of(survey)
    if leave_kb < 500:
        assert ended.returncode == 3
        assert "No space left on device" in ended.stderr


def test_names_survive_a_filesystem_without_inodes(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be made is refused with the path and the next step."""
    session = Session.begin(batch.paths, "client")
    install([Fault("symlink", "", "ENOSPC")], monkeypatch.setattr)
    with (
        contextlib.closing(session),
        pytest.raises(LedgerError, match=r"(?s)000000\.claim\.001.*No space.*inodes") as refusal,
    ):
        session.win(0, "claim.001", batch.settings.links)
    assert refusal.value.path.endswith("000000.claim.001")
