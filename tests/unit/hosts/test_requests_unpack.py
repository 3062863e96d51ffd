"""A stage is made of an archive that anybody could have sent, can be asked for again, and alone is removed."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusters.waiting import wait_until
from crh_batch.errors import HostError
from unit.hosts.pipe_host import PipeHost

NS = 1_700_000_000_123_456_789
BATCH = "20261122-170956-6vaq"


def member(name: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.pax_headers = {"mtime": "1700000000.123456789"}
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


class Archive:
    """An archive that was sent, and the request to unpack it."""

    def __init__(self, directory: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
        self.path = directory / "inputs.tar.gz"
        with tarfile.open(self.path, "w:gz", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
            for info, content in members:
                archive.addfile(info, io.BytesIO(content))
        self.top = directory / "stages" / BATCH
        self.marker = self.top / "arrived"
        self.request: dict[str, Any] = {
            "archive": str(self.path),
            "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "top": str(self.top),
            "root": str(self.top / "survey"),
            "programs": [],
            "marker": str(self.marker),
        }


def test_unpack_when_it_arrived_then_contents_modes_and_times_are_those_sent(far: PipeHost, tmp_path: Path) -> None:
    program = tmp_path / "CRMod"
    program.write_bytes(b"#!/bin/sh\n")
    names = ["survey/td 1/-a\nb", "survey/ü", os.fsdecode(b"survey/\xff")]
    archive = Archive(
        tmp_path,
        *(member(name, name.encode("utf-8", "surrogateescape"), mode=0o444) for name in names),
        member("survey/x", b"#!", mode=0o777),
        member("empty", type=tarfile.DIRTYPE, mode=0o777),
    )
    sha256 = hashlib.sha256(program.read_bytes()).hexdigest()
    programs = [{"path": str(program), "sha256": sha256, "target": "bin/CRMod-1"}]
    assert far.ask("unpack", **{**archive.request, "programs": programs}) == {"unpacked": True}
    for name in names:
        path = archive.top / name
        assert path.read_bytes() == os.fsencode(name)
        assert path.stat().st_mtime_ns == NS
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((archive.top / "survey/x").stat().st_mode) == 0o700
    assert stat.S_IMODE((archive.top / "empty").stat().st_mode) == 0o700
    assert stat.S_IMODE(archive.top.stat().st_mode) == 0o700
    copy = archive.top / "survey/bin/CRMod-1"
    assert (copy.read_bytes(), stat.S_IMODE(copy.stat().st_mode)) == (program.read_bytes(), 0o755)
    assert archive.marker.is_file()
    assert not archive.path.exists()


def test_unpack_when_asked_again_then_nothing_is_done(far: PipeHost, tmp_path: Path) -> None:
    archive = Archive(tmp_path, member("f", b"sent"))
    assert far.ask("unpack", **archive.request) == {"unpacked": True}
    (archive.top / "f").write_bytes(b"a pilot's by now")
    assert far.ask("unpack", **archive.request) == {"unpacked": False}
    assert (archive.top / "f").read_bytes() == b"a pilot's by now"


def test_unpack_when_an_earlier_try_broke_off_then_its_halves_are_replaced(far: PipeHost, tmp_path: Path) -> None:
    archive = Archive(tmp_path, member("a/f", b"whole"), member("a/g", b"g"))
    (archive.top / "a").mkdir(parents=True)
    (archive.top / "a/f").write_bytes(b"wh")
    far.ask("unpack", **archive.request)
    assert (archive.top / "a/f").read_bytes() == b"whole"


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param(member("../out", b"x"), id="above"),
        pytest.param(member("a/../../out", b"x"), id="above later"),
        pytest.param(member("/etc/out", b"x"), id="absolute"),
        pytest.param(member("link", type=tarfile.SYMTYPE, linkname="/etc"), id="symbolic link"),
        pytest.param(member("link", type=tarfile.LNKTYPE, linkname="good"), id="hard link"),
        pytest.param(member("pipe", type=tarfile.FIFOTYPE), id="pipe"),
        pytest.param(member("disk", type=tarfile.BLKTYPE), id="device"),
    ],
)
def test_unpack_when_a_member_is_evil_then_it_is_refused_and_named(
    far: PipeHost, tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes]
) -> None:
    archive = Archive(tmp_path, member("good", b"x"), evil)
    with pytest.raises(HostError, match=f"far: {evil[0].name}: (leads out|is neither)"):
        far.ask("unpack", **archive.request)
    assert not archive.marker.exists()
    assert sorted(os.listdir(archive.top)) == [".crh-batch-stage", "good"]
    assert archive.path.exists(), "what was sent is kept"


def test_unpack_when_a_link_lies_in_the_way_then_nothing_goes_through_it(far: PipeHost, tmp_path: Path) -> None:
    archive = Archive(tmp_path, member("a/f", b"x"), member("g", b"x"))
    (tmp_path / "elsewhere").mkdir()
    archive.top.mkdir(parents=True)
    (archive.top / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="exists"):
        far.ask("unpack", **archive.request)
    (archive.top / "a").unlink()
    (archive.top / "g").symlink_to(tmp_path / "elsewhere" / "g")
    far.ask("unpack", **archive.request)
    assert os.listdir(tmp_path / "elsewhere") == []
    assert not (archive.top / "g").is_symlink()


@pytest.mark.parametrize("changed", ["sha256", "top", "marker", "target", "program"])
def test_unpack_when_the_request_is_wrong_then_it_is_refused(far: PipeHost, tmp_path: Path, changed: str) -> None:
    archive = Archive(tmp_path, member("f", b"x"))
    program = {"path": str(archive.path), "sha256": "0" * 64, "target": "f2"}
    (tmp_path / "file").touch()
    changes: dict[str, dict[str, Any]] = {
        "sha256": {"sha256": "0" * 64},
        "top": {"top": str(tmp_path / "file"), "root": str(tmp_path / "file"), "marker": str(tmp_path / "file/m")},
        "marker": {"marker": str(tmp_path / "m")},
        "target": {"programs": [{**program, "target": "../../out"}]},
        "program": {"programs": [program]},
    }
    with pytest.raises(HostError, match=r"is not the archive|no directory|outside the stage|another program"):
        far.ask("unpack", **{**archive.request, **changes[changed]})
    assert not archive.marker.exists()
    assert archive.path.exists()


# ---- and away again


def _stage(tmp_path: Path) -> Path:
    top = tmp_path / BATCH
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/f").write_bytes(b"x")
    (top / "link").symlink_to(tmp_path)
    (top / ".crh-batch-stage").touch()
    return top


def test_remove_when_it_is_a_stage_then_it_is_gone_and_nothing_else(far: PipeHost, tmp_path: Path) -> None:
    top = _stage(tmp_path)
    (tmp_path / "mine").touch()
    (top / "a/b").chmod(0o500)
    assert far.ask("remove", top=str(top), batch_id=BATCH) == {"removed": True}
    assert far.ask("remove", top=str(top), batch_id=BATCH) == {"removed": False}
    assert os.listdir(tmp_path) == ["mine"]


def _another_name(top: Path) -> str:
    top.rename(top.parent / "other")
    return str(top.parent / "other")


def _unmarked(top: Path) -> str:
    (top / ".crh-batch-stage").unlink()
    return str(top)


def _link(top: Path) -> str:
    top.rename(top.parent / "other")
    top.symlink_to("other")
    return str(top)


def _relative(top: Path) -> str:
    return os.path.relpath(top)


def _winding(top: Path) -> str:
    return f"{top.parent}/../{top.parent.name}/{BATCH}"


def _of_another_user(top: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(top, 12345, 12345)
    return str(top)


@pytest.mark.parametrize("make", [_another_name, _unmarked, _link, _relative, _winding, _of_another_user])
def test_remove_when_it_may_not_be_a_stage_then_it_is_refused(
    far: PipeHost, tmp_path: Path, make: Callable[[Path], str]
) -> None:
    asked = make(_stage(tmp_path))
    with pytest.raises(HostError, match="is not removed: "):
        far.ask("remove", top=asked, batch_id=BATCH)
    assert list(tmp_path.rglob("b/f")), "nothing is gone"


def test_remove_when_there_is_no_batch_id_then_it_is_refused(far: PipeHost, tmp_path: Path) -> None:
    _stage(tmp_path)
    with pytest.raises(HostError, match="is not removed"):
        far.ask("remove", top=f"{tmp_path}", batch_id="")


@pytest.mark.parametrize("left", ["directories and links", "a file"])
def test_remove_when_a_site_has_purged_the_files_then_only_what_holds_none_goes(
    far: PipeHost, tmp_path: Path, left: str
) -> None:
    top = tmp_path / "20261122-101500-k3f9"
    (top / "names/000").mkdir(parents=True)
    (top / "names/000/000001.done").symlink_to("../../sessions/gone.crh")
    if left == "a file":
        (top / "mine").touch()
        with pytest.raises(HostError, match=r"it holds files, and no \.crh-batch-stage"):
            far.ask("remove", top=str(top), batch_id=top.name)
        assert (top / "mine").exists()
    else:
        assert far.ask("remove", top=str(top), batch_id=top.name)["removed"]
        assert not top.exists()


def test_unpack_when_another_process_is_at_it_then_it_waits_and_leaves_what_that_made(
    far: PipeHost, tmp_path: Path
) -> None:
    """A connection broke, its process goes on, and the client has come again: pilots may be reading soon."""
    archive = Archive(tmp_path, member("x", b"new"))
    lock = Path(f"{archive.path}.unpacking")
    answers = []
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        far.ask("ping")
        asking = threading.Thread(target=lambda: answers.append(far.ask("unpack", **archive.request)))
        asking.start()
        wait_until(lambda: _waits_for(lock), 60, "it waits for the other one")
        archive.top.mkdir(parents=True)
        (archive.top / "x").write_bytes(b"old")
        archive.marker.touch()
    asking.join()
    assert answers == [{"unpacked": False}]
    assert (archive.top / "x").read_bytes() == b"old"
    assert not lock.exists()


def _waits_for(lock: Path) -> bool:
    # proc(5): a process that waits stands behind an arrow, below the lock that it waits for.
    inode = f":{lock.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())
