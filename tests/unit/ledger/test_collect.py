"""Collect: results into tomodirs, and never more than results, nor anywhere else."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import LedgerError, PackDamaged, TomodirError
from crh_batch.ledger import durable
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.collect import CollectReport, collect_batch
from crh_batch.ledger.custody import custody_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.inputs import changed_inputs
from crh_batch.ledger.items import Item
from crh_batch.ledger.names import StateName, states
from crh_batch.ledger.registration import read_registration, register
from unit.ledger.making import (
    ELSEWHERE,
    INVERSION,
    MODELLING,
    begin,
    claim,
    failing,
    files_in,
    finish,
    make_batch,
    make_item,
    make_names,
    write_files,
)

BreakCall = Callable[[str, Callable[..., object]], None]

INPUTS = {"exe/crtomo.cfg": b"1\n../grid/elem.dat\n", "grid/elem.dat": b"10 2 7\n", "mod/volt.dat": b"3\n1 2 3 4\n"}
RESULT = {
    "inv/inv.ctr": b"... \n***finished***\n",
    "inv/rho01.mag": b"1.0\n",
    "inv/rho00.mag": b"0.0\n",
    "exe/crh.inversion.err": b"STOP 0\n",
    "exe/inv.lastmod": b"rho01\n",
    "exe/crh.json": b'{"schema": 1}\n',
}


def make_survey(root: Path, count: int = 1, stages: tuple[dict[str, Any], ...] = (INVERSION,)) -> Batch:
    """A batch of registered tomodirs td0, td1, ... with their inputs."""
    batch = make_batch(root, [make_item(number, stages=stages) for number in range(count)])
    for number in range(count):
        write_files(root / f"td{number}", INPUTS)
        assert register(str(root / f"td{number}"), batch.paths, number, this_process(), "inv") is None
    return batch


def as_staged(tomodir: Path) -> list[list[Any]]:
    """The inputs as a pilot wrote them down when it copied them."""
    return [
        [name, len(content), (tomodir / name).stat().st_mtime_ns, hashlib.sha256(content).hexdigest()]
        for name, content in INPUTS.items()
    ]


def finish_one(batch: Batch, number: int = 0, files: dict[str, bytes] | None = None) -> None:
    inputs = as_staged(Path(batch.paths.root, f"td{number}"))
    finish(batch, number, RESULT if files is None else files, last="inv/inv.ctr", inputs=inputs)


def collect(batch: Batch, *, force: bool = False, only: Callable[[Item], bool] | None = None) -> CollectReport:
    with custody_of(batch) as custody:
        return collect_batch(batch, custody, force=force, only=only)


def state(batch: Batch, number: int = 0) -> StateName:
    ((_, found),) = states(batch.paths, [number], batch.settings)
    return found.name


def refusal(report: CollectReport) -> Exception:
    ((_, error),) = report.refused
    assert report.collected == 0
    return error


def is_registered(batch: Batch, number: int = 0) -> bool:
    return read_registration(os.path.join(batch.paths.root, f"td{number}")) is not None


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return make_survey(tmp_path)


@pytest.fixture
def tomodir(batch: Batch, tmp_path: Path) -> Path:
    return tmp_path / "td0"


def test_collect_when_a_result_is_there_then_it_is_put_in_place_and_the_crh_goes(batch: Batch, tomodir: Path) -> None:
    finish_one(batch)
    report = collect(batch)
    assert (report.collected, report.refused) == (1, [])
    assert files_in(tomodir) == {**INPUTS, **RESULT}
    assert sorted(os.listdir(tomodir)) == ["exe", "grid", "inv", "mod"], "no temporary directory is left"
    assert state(batch) is StateName.COLLECTED
    assert not is_registered(batch)
    assert not os.path.exists(batch.paths.replaced), "nothing was replaced"


def test_collect_when_it_runs_again_then_there_is_nothing_to_do(batch: Batch, tomodir: Path) -> None:
    finish_one(batch)
    collect(batch)
    (tomodir / "inv" / "inv.ctr").write_bytes(b"edited by the user\n")
    assert collect(batch) == CollectReport(0, [])
    assert (tomodir / "inv" / "inv.ctr").read_bytes() == b"edited by the user\n"


def test_collect_when_tomodirs_are_not_done_then_they_are_left_alone(tmp_path: Path) -> None:
    batch = make_survey(tmp_path, 3)
    make_names(batch, "0.claim.001", "1.fail.001.input")
    assert collect(batch) == CollectReport(0, [])
    assert [is_registered(batch, number) for number in range(3)] == [True, True, True]


def test_collect_when_only_some_are_meant_then_only_they_are_collected(tmp_path: Path) -> None:
    batch = make_survey(tmp_path, 3)
    for number in range(3):
        finish_one(batch, number)
    assert collect(batch, only=lambda item: item.item_id == 1).collected == 1
    assert [state(batch, number).value for number in range(3)] == ["done", "collected", "done"]


def test_collect_when_it_renames_then_provenance_comes_last_but_one_and_finished_last(
    batch: Batch, tomodir: Path, break_call: BreakCall
) -> None:
    placed: list[str] = []

    def replace(source: str, target: str) -> None:
        placed.append(os.path.relpath(target, tomodir))
        os.replace(source, target)

    break_call("replace", replace)
    finish_one(batch)
    collect(batch)
    assert placed == [
        "exe/crh.inversion.err",
        "exe/inv.lastmod",
        "inv/rho00.mag",
        "inv/rho01.mag",
        "exe/crh.json",
        "inv/inv.ctr",
    ]


def test_collect_when_it_works_then_each_step_is_durable_before_the_next(
    batch: Batch, tomodir: Path, break_call: BreakCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may see a tomodir finished, after a crash, that is not complete."""
    steps: list[str] = []

    def sync_many(files: Any, directories: Any) -> None:
        steps.append(f"sync {len(list(files))} files, {sorted(os.path.basename(one) for one in directories)}")

    def replace(source: str, target: str) -> None:
        steps.append(os.path.basename(target))
        os.replace(source, target)

    def symlink(target: str, path: str) -> None:
        steps.append(os.path.basename(path))
        os.symlink(target, path)

    def unlink(path: str) -> None:
        steps.append(f"unlink {os.path.basename(path)}")
        os.unlink(path)

    finish_one(batch, files={"inv/inv.ctr": b"***finished***\n", "exe/crh.json": b"{}"})
    monkeypatch.setattr(durable, "sync_many", sync_many)
    for name, call in (("replace", replace), ("symlink", symlink), ("unlink", unlink)):
        break_call(name, call)
    with custody_of(batch) as custody:
        steps.clear()
        collect_batch(batch, custody)
        made = list(steps)
    assert made == [
        "sync 2 files, []",
        "crh.json",
        "sync 0 files, ['exe']",
        "inv.ctr",
        # Also the tomodir itself: the directory inv was made in it.
        "sync 0 files, ['exe', 'inv', 'td0']",
        "000000.collected",
        "unlink td0.crh",
    ]


def test_collect_when_directories_are_made_then_each_new_name_becomes_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash could take away a directory that holds what is called collected."""
    batch = make_survey(tmp_path, 1, (MODELLING,))
    shutil.rmtree(tmp_path / "td0" / "mod")
    finish(batch, 0, {"mod/pot/pot01.dat": b"1", "mod/volt.dat": b"1", "exe/crh.json": b"{}"}, last="mod/volt.dat")
    synced: set[str] = set()
    monkeypatch.setattr(durable, "sync_many", lambda files, directories: synced.update(directories))
    assert collect(batch).collected == 1
    tomodir = str(tmp_path / "td0")
    assert synced == {tomodir, f"{tomodir}/exe", f"{tomodir}/mod", f"{tomodir}/mod/pot"}


def test_collect_when_an_old_output_is_kept_then_the_copy_and_its_directories_are_durable(
    batch: Batch, tomodir: Path, break_call: BreakCall
) -> None:
    write_files(tomodir, {"inv/inv.ctr": b"old\n"})
    finish_one(batch)
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), batch.paths.directory))

    break_call("fsync", fsync)
    collect(batch)
    kept = ["replaced/000000/inv/inv.ctr", "replaced/000000/inv", "replaced/000000", "replaced", "."]
    assert set(kept) <= set(synced)


def test_collect_when_the_file_that_says_finished_is_not_named_then_provenance_comes_last(
    tmp_path: Path, break_call: BreakCall
) -> None:
    """A modelling that writes no volt.dat (line 8 is F) has none."""
    placed: list[str] = []

    def replace(source: str, target: str) -> None:
        placed.append(os.path.basename(target))
        os.replace(source, target)

    batch = make_survey(tmp_path, 1, ({**MODELLING, "result": None},))
    finish(batch, 0, {"mod/pot/pot01.dat": b"1", "exe/crh.json": b"{}", "mod/sens/sens01.dat": b"1"})
    break_call("replace", replace)
    assert collect(batch).collected == 1
    assert placed == ["pot01.dat", "sens01.dat", "crh.json"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda td: (td / "grid/elem.dat").write_bytes(b"11 2 7\n"), "grid/elem.dat"),
        (lambda td: (td / "grid/elem.dat").write_bytes(b"10 2 7\n\n"), "grid/elem.dat"),
        (lambda td: (td / "mod/volt.dat").unlink(), "mod/volt.dat (gone)"),
    ],
    ids=["content", "size", "gone"],
)
def test_collect_when_an_input_changed_then_it_is_refused_and_nothing_is_touched(
    batch: Batch, tomodir: Path, change: Callable[[Path], object], what: str
) -> None:
    finish_one(batch)
    change(tomodir)
    os.utime(tomodir / "grid/elem.dat", ns=(1, 1))
    before = files_in(tomodir)
    error = refusal(collect(batch))
    assert isinstance(error, TomodirError)
    assert f"changed since it was run: {what}" in error.message
    assert "--force" in error.next_step
    assert files_in(tomodir) == before
    assert sorted(os.listdir(tomodir)) == ["exe", "grid", "mod"]
    assert state(batch) is StateName.DONE, "the result stays in the pack"
    assert is_registered(batch)
    assert collect(batch, force=True).collected == 1
    assert files_in(tomodir)["inv/inv.ctr"] == RESULT["inv/inv.ctr"]


def test_collect_when_inputs_have_a_new_time_and_the_same_content_then_they_have_not_changed(
    batch: Batch, tomodir: Path
) -> None:
    """Touched, or copied back from an archive."""
    finish_one(batch)
    for name in INPUTS:
        os.utime(tomodir / name, (1, 1))
    assert collect(batch).collected == 1


def test_changed_inputs_when_an_input_lies_outside_then_it_is_not_looked_at(tomodir: Path) -> None:
    outside = [["../td9/inv/rho05.mag", 4, 1, "0" * 64], ["/data/elem.dat", 4, 1, "0" * 64]]
    assert changed_inputs(str(tomodir), [*as_staged(tomodir), *outside]) == []


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("directory", ["inv", "exe"])
def test_collect_when_a_directory_is_a_symbolic_link_then_it_is_refused_and_nothing_goes_outside(
    batch: Batch, tomodir: Path, tmp_path: Path, directory: str, force: bool
) -> None:
    outside = write_files(tmp_path / "outside", {"inv.ctr": b"precious\n", "error.dat": b"precious\n"})
    finish_one(batch)
    if (tomodir / directory).exists():
        os.rename(tomodir / directory, outside / "kept")
        for name in os.listdir(outside / "kept"):
            os.rename(outside / "kept" / name, outside / name)
        os.rmdir(outside / "kept")
    (tomodir / directory).symlink_to(outside)
    before = files_in(outside)
    error = refusal(collect(batch, force=force))
    assert isinstance(error, TomodirError)
    assert "symbolic link" in error.message
    assert files_in(outside) == before
    assert not (tomodir / "inv" / "rho01.mag").exists()
    assert state(batch) is StateName.DONE


def test_collect_when_a_directory_that_is_not_written_this_time_is_a_link_then_nothing_behind_it_goes(
    tmp_path: Path,
) -> None:
    """Stale outputs are looked for in every result directory of the .cfg, also in one that got no new file."""
    batch = make_survey(tmp_path, 1, ({**INVERSION, "inv_dirs": ["inv1", "inv2"]},))
    outside = write_files(tmp_path / "outside", {"rho07.mag": b"precious\n"})
    (tmp_path / "td0" / "inv1").symlink_to(outside)
    finish(batch, 0, {"inv2/inv.ctr": b"***finished***\n", "exe/crh.json": b"{}"}, last="inv2/inv.ctr")
    collect(batch)
    assert files_in(outside) == {"rho07.mag": b"precious\n"}


def test_collect_when_a_file_stands_where_a_directory_must_be_then_it_is_refused(batch: Batch, tomodir: Path) -> None:
    finish_one(batch)
    (tomodir / "inv").write_bytes(b"a file\n")
    assert "plain directories only" in str(refusal(collect(batch)))
    assert (tomodir / "inv").read_bytes() == b"a file\n"


def test_collect_when_a_directory_stands_where_a_file_must_be_then_it_is_refused_before_anything_is_placed(
    batch: Batch, tomodir: Path
) -> None:
    finish_one(batch)
    write_files(tomodir, {"inv/rho01.mag/mine": b"1"})
    before = files_in(tomodir)
    assert isinstance(refusal(collect(batch)), TomodirError)
    assert files_in(tomodir) == before


def test_collect_when_a_place_is_a_symbolic_link_then_the_link_is_replaced_and_not_followed(
    batch: Batch, tomodir: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious\n")
    (tomodir / "inv").mkdir()
    (tomodir / "inv" / "inv.ctr").symlink_to(precious)
    finish_one(batch)
    assert collect(batch).collected == 1
    assert precious.read_bytes() == b"precious\n"
    assert not (tomodir / "inv" / "inv.ctr").is_symlink()
    assert os.readlink(os.path.join(batch.paths.replaced, "000000", "inv", "inv.ctr")) == str(precious)


def test_collect_when_one_name_begins_like_another_then_each_gets_its_own(tmp_path: Path) -> None:
    """td1 and td10 (cr_hydra's error 12)."""
    batch = make_survey(tmp_path, 11)
    for number in (1, 10):
        finish_one(batch, number, {**RESULT, "inv/rho01.mag": f"td{number}".encode()})
    assert collect(batch).collected == 2
    assert (tmp_path / "td1/inv/rho01.mag").read_bytes() == b"td1"
    assert (tmp_path / "td10/inv/rho01.mag").read_bytes() == b"td10"
    assert not (tmp_path / "td0/inv").exists()


def test_collect_when_a_member_points_at_a_neighbour_then_nothing_of_the_record_is_taken(tmp_path: Path) -> None:
    """A string prefix would let ../td10 pass as lying in td1."""
    batch = make_survey(tmp_path, 11)
    session = begin(batch)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("inv/inv.ctr", "../td10/exe/crtomo.cfg"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
    data = buffer.getvalue()
    Path(batch.paths.pack(session.token)).write_bytes(data)
    record = {"offset": 0, "length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    session.append("done", id=1, attempt=1, inputs=[], finish="inv/inv.ctr", record=record)
    session.win(1, "done", "symlink")
    error = refusal(collect(batch))
    assert isinstance(error, PackDamaged) and "../td10/exe/crtomo.cfg" in error.message
    assert files_in(tmp_path / "td10") == INPUTS
    assert files_in(tmp_path / "td1") == INPUTS


def test_collect_when_old_outputs_would_lie_about_the_new_ones_then_they_are_moved_to_replaced(
    batch: Batch, tomodir: Path
) -> None:
    """An error.dat is never removed by a later success (seen), and rho07 would be taken for the result of this run."""
    stale = {
        "exe/error.dat": b"old error\n",
        "exe/crtomo.pid": b"1\n",
        "exe/crmod.pid": b"2\n",
        "exe/crh.inversion.out": b"old output\n",
        "inv/rho07.mag": b"7\n",
        "inv/rho07.pha": b"7\n",
        "inv/run.ctr": b"old\n",
        "inv/coverage.mag": b"old\n",
    }
    mine = {
        "inv/notes.txt": b"mine\n",
        "inv/plots/rho07.mag": b"mine\n",
        "exe/run.sh": b"mine\n",
        "mod/rho07.mag": b"m",
    }
    write_files(tomodir, {**stale, **mine})
    finish_one(batch)
    assert collect(batch).collected == 1
    assert files_in(tomodir) == {**INPUTS, **RESULT, **mine}
    assert files_in(Path(batch.paths.replaced)) == {f"000000/{name}": content for name, content in stale.items()}


def test_collect_when_the_node_takes_an_old_result_for_missing_then_it_is_kept_all_the_same(
    batch: Batch, tomodir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As seen on GlusterFS: asked for before another node made it, a name is "not there" until the cache runs out."""
    place = write_files(tomodir, {"inv/inv.ctr": b"old ***finished***\n"}) / "inv/inv.ctr"
    finish_one(batch)
    real = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: os.fspath(path) != str(place) and real(path))
    assert collect(batch).collected == 1
    assert files_in(Path(batch.paths.replaced)) == {"000000/inv/inv.ctr": b"old ***finished***\n"}


def test_collect_when_a_result_replaces_an_old_one_then_the_old_one_is_kept(batch: Batch, tomodir: Path) -> None:
    write_files(tomodir, {"inv/inv.ctr": b"old ***finished***\n", "inv/rho01.mag": RESULT["inv/rho01.mag"]})
    finish_one(batch)
    assert collect(batch).collected == 1
    assert files_in(tomodir) == {**INPUTS, **RESULT}
    assert files_in(Path(batch.paths.replaced)) == {"000000/inv/inv.ctr": b"old ***finished***\n"}


def test_collect_when_an_earlier_copy_is_kept_then_it_is_not_overwritten(batch: Batch, tomodir: Path) -> None:
    kept = write_files(Path(batch.paths.replaced, "000000"), {"inv/inv.ctr": b"oldest\n"})
    write_files(tomodir, {"inv/inv.ctr": b"old\n"})
    finish_one(batch)
    assert collect(batch).collected == 1
    assert files_in(kept) == {"inv/inv.ctr": b"oldest\n", "inv/inv.ctr.2": b"old\n"}


def test_collect_when_outputs_have_a_time_then_it_is_kept(batch: Batch, tomodir: Path, tmp_path: Path) -> None:
    from crh_batch.ledger.pack import PackedFile, PackWriter

    source = tmp_path / "inv.ctr"
    source.write_bytes(b"***finished***\n")
    os.utime(source, (1_700_000_000, 1_700_000_000))
    session = begin(batch)
    writer = PackWriter(batch.paths.pack(session.token), session.token)
    record = writer.append([PackedFile("inv/inv.ctr", str(source)), PackedFile("exe/crh.json", content=b"{}")], "/")
    session.append("done", id=0, attempt=1, inputs=[], finish="inv/inv.ctr", record=record.to_json())
    session.win(0, "done", "symlink")
    assert collect(batch).collected == 1
    assert (tomodir / "inv" / "inv.ctr").stat().st_mtime == 1_700_000_000


def test_collect_when_another_batch_has_the_tomodir_then_it_is_refused(batch: Batch, tomodir: Path) -> None:
    finish_one(batch)
    other = make_batch(Path(batch.paths.root), 1)
    os.unlink(f"{tomodir}.crh")
    register(str(tomodir), other.paths, 0, ELSEWHERE, "inv")
    error = refusal(collect(batch))
    assert isinstance(error, TomodirError) and other.batch_id in error.message
    assert files_in(tomodir) == INPUTS
    assert collect(batch, force=True).collected == 1
    found = read_registration(str(tomodir))
    assert found is not None and found.batch_id == other.batch_id, "their registration is not ours to remove"


@pytest.mark.parametrize("content", [b"", b"garbage", b'{"sim_id": 17}'])
def test_collect_when_the_crh_is_not_ours_then_it_is_refused_and_stays(
    batch: Batch, tomodir: Path, content: bytes
) -> None:
    finish_one(batch)
    Path(f"{tomodir}.crh").write_bytes(content)
    assert isinstance(refusal(collect(batch)), TomodirError)
    assert Path(f"{tomodir}.crh").read_bytes() == content
    assert files_in(tomodir) == INPUTS


def test_collect_when_the_crh_was_removed_then_the_result_is_taken_unless_a_newer_one_is_there(
    batch: Batch, tomodir: Path
) -> None:
    finish_one(batch)
    os.unlink(f"{tomodir}.crh")
    write_files(tomodir, {"exe/crh.json": json.dumps({"batch": "29991231-235959-zzzz"}).encode()})
    error = refusal(collect(batch))
    assert isinstance(error, TomodirError) and "29991231-235959-zzzz" in error.message
    write_files(tomodir, {"exe/crh.json": json.dumps({"batch": "20000101-000000-aaaa"}).encode()})
    assert collect(batch).collected == 1


def test_collect_when_a_record_is_damaged_then_it_is_refused_and_the_others_are_collected(tmp_path: Path) -> None:
    batch = make_survey(tmp_path, 3)
    session = begin(batch)
    for number in range(3):
        inputs = as_staged(tmp_path / f"td{number}")
        finish(batch, number, RESULT, last="inv/inv.ctr", inputs=inputs, session=session)
    pack = Path(batch.paths.pack(session.token))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    report = collect(batch)
    assert report.collected == 2
    ((path, error),) = report.refused
    assert path == "td1"
    assert isinstance(error, PackDamaged) and error.offset == len(data) // 3
    assert files_in(tmp_path / "td1") == INPUTS
    assert [state(batch, number).value for number in range(3)] == ["collected", "done", "collected"]


@pytest.mark.parametrize(
    "event",
    [
        None,
        {"id": 0},
        {"id": 0, "record": None},
        {"id": 0, "record": {"offset": "x", "length": 5, "sha256": "a"}},
        {"id": 0, "record": [1, 2, 3]},
    ],
)
def test_collect_when_the_session_has_no_whole_record_then_it_is_refused(
    batch: Batch, tomodir: Path, event: dict[str, Any] | None
) -> None:
    session = begin(batch)
    if event is not None:
        session.append("done", **event)
    session.win(0, "done", "symlink")
    error = refusal(collect(batch))
    assert isinstance(error, LedgerError) and "td0" in error.message
    assert files_in(tomodir) == INPUTS


def test_collect_when_a_tomodir_is_gone_then_it_is_refused_and_the_others_are_collected(tmp_path: Path) -> None:
    batch = make_survey(tmp_path, 2)
    finish_one(batch, 0)
    finish_one(batch, 1)
    shutil.rmtree(tmp_path / "td0")
    report = collect(batch)
    assert report.collected == 1
    ((path, error),) = report.refused
    assert path == "td0" and "is gone" in str(error)
    assert not (tmp_path / "td0").exists()


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_collect_when_the_disk_is_full_then_it_is_refused_and_a_later_collect_goes_on(
    batch: Batch, tomodir: Path, break_call: BreakCall, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tomodir, {"inv/inv.ctr": b"old\n"})
    finish_one(batch)
    with custody_of(batch) as custody:
        real = getattr(durable.calls, call)
        break_call(call, failing(errno.ENOSPC))
        error = refusal(collect_batch(batch, custody))
        break_call(call, real)
    assert isinstance(error, TomodirError) and "No space left" in error.message
    assert [name for name in os.listdir(tomodir) if name.startswith(".crh-")] == []
    assert state(batch) is StateName.DONE and is_registered(batch)
    assert collect(batch).collected == 1
    assert files_in(tomodir) == {**INPUTS, **RESULT}


@pytest.mark.parametrize("step", [1, 2, 3])
def test_collect_when_a_step_cannot_be_made_durable_then_nobody_of_the_group_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """syncfs(2) says that something was lost, and not what."""
    batch = make_survey(tmp_path, 2)
    for number in range(2):
        finish_one(batch, number)
    count = [0]

    def sync_many(files: Any, directories: Any) -> None:
        count[0] += 1
        if count[0] == step:
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_many", sync_many)
        report = collect(batch)
    assert report.collected == 0
    assert sorted(path for path, _ in report.refused) == ["td0", "td1"]
    assert [state(batch, number).value for number in range(2)] == ["done", "done"]
    assert [name for name in os.listdir(tmp_path / "td0") if name.startswith(".crh-")] == []
    assert collect(batch).collected == 2
    for number in range(2):
        assert files_in(tmp_path / f"td{number}") == {**INPUTS, **RESULT}
        assert not is_registered(batch, number)


def test_collect_when_a_dead_collect_left_its_directory_then_it_goes_and_others_stay(
    batch: Batch, tomodir: Path
) -> None:
    write_files(tomodir, {f".crh-{batch.batch_id}-abcdefgh/0": b"half", ".crh-other-abcdefgh/0": b"not ours"})
    finish_one(batch)
    assert collect(batch).collected == 1
    assert files_in(tomodir) == {**INPUTS, **RESULT, ".crh-other-abcdefgh/0": b"not ours"}


def test_collect_when_its_directories_place_is_a_link_then_it_is_not_followed(
    batch: Batch, tomodir: Path, tmp_path: Path
) -> None:
    outside = write_files(tmp_path / "outside", {"precious": b"1"})
    (tomodir / f".crh-{batch.batch_id}-abcdefgh").symlink_to(outside)
    finish_one(batch)
    collect(batch)
    assert files_in(outside) == {"precious": b"1"}


def test_collect_when_names_are_files_then_it_works_too(tmp_path: Path) -> None:
    batch = make_batch(tmp_path, 1, links="file")
    write_files(tmp_path / "td0", INPUTS)
    register(str(tmp_path / "td0"), batch.paths, 0, this_process(), "inv")
    finish_one(batch)
    assert collect(batch).collected == 1
    assert Path(batch.paths.name(0, "collected")).is_file()
    assert not Path(batch.paths.name(0, "collected")).is_symlink()
    assert state(batch) is StateName.COLLECTED


def test_collect_when_there_are_more_than_go_in_one_group_then_all_are_collected(tmp_path: Path) -> None:
    batch = make_survey(tmp_path, 130)
    session = begin(batch)
    for number in range(130):
        files = {"inv/inv.ctr": str(number).encode(), "exe/crh.json": b"{}"}
        finish(batch, number, files, last="inv/inv.ctr", session=session)
    seen: list[tuple[int, int]] = []
    with custody_of(batch) as custody:
        report = collect_batch(batch, custody, on_progress=lambda done, total: seen.append((done, total)))
    assert (report.collected, report.refused) == (130, [])
    assert seen == [(128, 130), (130, 130)]
    assert all((tmp_path / f"td{number}/inv/inv.ctr").read_text() == str(number) for number in range(130))


def test_collect_when_an_attempt_is_running_beside_a_finished_one_then_the_result_is_taken(
    batch: Batch, tomodir: Path
) -> None:
    """The claim was called lost, a second attempt runs, and the first one finished after all."""
    make_names(batch, "0.claim.001", "0.fail.001.lost")
    claim(batch, begin(batch), 0, 2)
    finish_one(batch)
    assert collect(batch).collected == 1
    assert state(batch) is StateName.COLLECTED


@pytest.mark.parametrize("loser", ["a-first", "z-last"])
def test_collect_when_two_attempts_have_finished_then_the_one_with_the_name_is_taken(
    batch: Batch, tomodir: Path, loser: str
) -> None:
    finish(batch, 0, {**RESULT, "inv/rho01.mag": b"loser\n"}, last="inv/inv.ctr", session=begin(batch, loser))
    os.unlink(batch.paths.name(0, "done"))
    finish(batch, 0, RESULT, last="inv/inv.ctr", session=begin(batch, "middle"))
    assert collect(batch).collected == 1
    assert (tomodir / "inv/rho01.mag").read_bytes() == RESULT["inv/rho01.mag"]
