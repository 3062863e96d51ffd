"""Requests of the other end that concern files: names are data, what is written stays, errors name the path."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import HostError
from unit.hosts.pipe_host import PipeHost

# What shells, JSON and encodings trip over. The last one is no UTF-8.
NAMES = ["a b", "a\nb", "'\"$(x)`", "-rf", "ümlaut ☃", "*?[a]", "\\", os.fsdecode(b"\xff\xfe")]


@pytest.mark.parametrize("name", NAMES)
def test_names_when_they_are_hostile_then_each_is_one_name(far: PipeHost, tmp_path: Path, name: str) -> None:
    directory, file = str(tmp_path / name), str(tmp_path / name / name)
    far.ask("make_directories", paths=[directory])
    far.ask("write", path=file, text="content ü")
    assert Path(file).read_text(encoding="utf-8") == "content ü"
    assert far.ask("exists", paths=[file, file + "x"]) == {"exists": [True, False]}
    ((listed, size, _, kind),) = far.ask("list", path=directory)["entries"]
    assert (listed, size, kind) == (name, 10, "f")
    found = far.ask("digest", path=file)
    assert found == {"size": 10, "sha256": hashlib.sha256("content ü".encode()).hexdigest()}
    assert far.put(file, file + ".sent") == 10
    assert far.fetch_tail(file, file + ".fetched", 10) == 10
    assert Path(file + ".fetched").read_bytes() == Path(file + ".sent").read_bytes() == Path(file).read_bytes()
    assert far.run(["printf", "%s", name]).stdout == os.fsencode(name).decode(errors="replace")


def test_paths_when_the_locale_there_is_no_utf8_then_they_are_the_same(tmp_path: Path) -> None:
    far = PipeHost(env={"PATH": os.environ["PATH"], "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    far.ask("write", path=str(tmp_path / "ü"), text="")
    assert [entry[0] for entry in far.ask("list", path=str(tmp_path))["entries"]] == ["ü"]
    far.close()
    assert os.listdir(tmp_path) == ["ü"]


def test_write_when_a_file_is_there_then_it_is_replaced_and_nothing_else_is_left(far: PipeHost, tmp_path: Path) -> None:
    path = tmp_path / "job.sh"
    far.ask("write", path=str(path), text="old", mode=0o700)
    far.ask("write", path=str(path), base64="AP8=", mode=0o600)
    assert path.read_bytes() == b"\0\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["job.sh"]


def test_write_when_it_can_not_then_one_line_names_machine_path_and_reason(far: PipeHost, tmp_path: Path) -> None:
    path = str(tmp_path / "none" / "f")
    with pytest.raises(HostError) as caught:
        far.ask("write", path=path, text="")
    assert caught.value.message == f"far: {path}: No such file or directory"
    assert caught.value.next_step
    (tmp_path / "d").mkdir()
    with pytest.raises(HostError, match="d: Is a directory"):
        far.ask("write", path=str(tmp_path / "d"), text="")
    assert os.listdir(tmp_path) == ["d"], "what was begun is taken away"


def test_make_directories_when_asked_again_then_nothing_changes(far: PipeHost, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    for _ in range(2):
        far.ask("make_directories", paths=[str(deep), str(tmp_path / "d")], mode=0o700)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (deep, deep.parent, tmp_path / "d")} == {0o700}
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(HostError, match=r"Not a directory|exists"):
            far.ask("make_directories", paths=[str(path)])


def test_exists_when_a_link_leads_nowhere_then_it_is_there(far: PipeHost, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert far.ask("exists", paths=[str(tmp_path / "link")]) == {"exists": [True]}


def test_list_when_there_is_no_directory_then_none_and_kinds_are_told(far: PipeHost, tmp_path: Path) -> None:
    assert far.ask("list", path=str(tmp_path / "none")) == {"entries": None}
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_bytes(b"123")
    os.utime(tmp_path / "f", ns=(1, 1234567890123456789))
    (tmp_path / "l").symlink_to("f")
    entries = far.ask("list", path=str(tmp_path))["entries"]
    assert [(name, kind) for name, _, _, kind in entries] == [("d", "d"), ("f", "f"), ("l", "o")]
    assert entries[1][1:3] == [3, 1234567890123456789]
    with pytest.raises(HostError, match="f: Not a directory"):
        far.ask("list", path=str(tmp_path / "f"))


def test_links_when_asked_then_symlinks_and_nothing_is_left(far: PipeHost, tmp_path: Path) -> None:
    assert far.ask("links", directory=str(tmp_path)) == {"links": "symlink"}
    assert os.listdir(tmp_path) == []
    with pytest.raises(HostError, match="No such file"):
        far.ask("links", directory=str(tmp_path / "none"))


def test_space_when_the_directory_is_not_there_yet_then_that_above_it_counts(far: PipeHost, tmp_path: Path) -> None:
    found = far.ask("space", path=str(tmp_path / "to" / "be"))
    assert found["directory"] == str(tmp_path)
    assert found["free_bytes"] > 0
    assert (found["problem"], found["code"]) == ("", "")
    assert os.listdir(tmp_path) == []
    assert far.ask("space", path="/proc/sys/kernel")["problem"], "a place that can't be written to says why"


def test_digest_when_there_is_no_file_then_minus_one(far: PipeHost, tmp_path: Path) -> None:
    assert far.ask("digest", path=str(tmp_path / "none")) == {"size": -1, "sha256": ""}
    (tmp_path / "f").write_bytes(b"abcdef")
    assert far.ask("digest", path=str(tmp_path / "f"), length=3) == {
        "size": 6,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }


def test_publish_when_what_arrived_is_another_then_it_gets_no_name(far: PipeHost, tmp_path: Path) -> None:
    part, path = tmp_path / "f.part", tmp_path / "f"
    part.write_bytes(b"abc")
    known = hashlib.sha256(b"abc").hexdigest()
    asked: dict[str, Any] = {"part": str(part), "path": str(path), "sha256": known}
    assert far.ask("publish", size=4, **asked) == {"size": 3, "published": False}
    assert not path.exists()
    for _ in range(2):
        assert far.ask("publish", size=3, **asked)["published"]
    assert path.read_bytes() == b"abc"


def test_facts_when_scratch_is_set_there_then_stages_go_there(tmp_path: Path) -> None:
    for scratch, stages in ((str(tmp_path), f"{tmp_path}/crh-batch"), ("not/absolute", f"{tmp_path}/crh-batch-stages")):
        far = PipeHost(env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SCRATCH": scratch})
        facts = far.facts()
        assert (facts["home"], facts["stages"], facts["user"]) == (str(tmp_path), stages, str(os.getuid()))
        assert facts["python"].startswith("3.")
        assert facts["machine"] == os.uname().machine
        far.close()


def test_run_when_a_job_surrounds_it_then_its_variables_do_not_get_in() -> None:
    far = PipeHost(env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": "1", "SLURM_CONF": "/etc/s.conf", "A": "b"})
    lines = far.run(["env"]).stdout.splitlines()
    far.close()
    assert {"SLURM_CONF=/etc/s.conf", "A=b"} <= set(lines)
    assert "SLURM_JOB_ID=1" not in lines


def test_run_when_it_takes_too_long_then_it_is_ended_and_has_no_status(far: PipeHost) -> None:
    done = far.run(["sh", "-c", "echo begun; exec sleep 600"], timeout_s=0.3)
    assert (done.exit_status, done.stdout) == (None, "begun\n")
    assert far.run(["sh", "-c", "echo err >&2; exit 3"]).stderr == "err\n"


def test_run_when_there_is_no_such_program_then_an_error_and_the_line_stands(far: PipeHost) -> None:
    with pytest.raises(HostError, match=r"far: no-such-program: can't be started there: No such file"):
        far.run(["no-such-program"])
    assert not far.has("no-such-program")
    assert far.has("sh")
    assert far.lines == 1
