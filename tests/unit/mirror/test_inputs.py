"""The archive of a stage: all that is read, exactly as it is here, and nothing else; no tomodir holds up another."""

from __future__ import annotations

import os
import random
import resource
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from crh_batch.mirror.inputs import archive_path, write_archive
from unit.mirror.unsent import CFG, Unsent, make_unsent, reading


def files_in(path: str) -> dict[str, bytes]:
    """The files of an archive with what they hold."""
    found = {}
    with tarfile.open(path, encoding="utf-8") as archive:
        for member in archive:
            if member.isreg():
                assert member.name not in found, "sent twice"
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
    return found


def inputs_in(unsent: Unsent, said: list[str] | None = None) -> dict[str, bytes]:
    """What is sent of tomodirs, by place relative to the stage's top; words go to ``said``, else there are none."""
    words: list[str] = []
    found = files_in(write_archive(unsent.stage, words.append))
    if said is None:
        assert words == []
    else:
        said += words
    return {name: content for name, content in found.items() if "/.crh-batch/" not in f"/{name}"}


def one_of(tmp_path: Path, *names: str) -> Unsent:
    """A tomodir that reads these, in a survey of files that hold their names."""
    return make_unsent(tmp_path / "survey", {"td": [reading(*names)]}, {f"td/{name}": name.encode() for name in names})


def test_archive_when_there_are_old_outputs_then_only_what_is_read_is_sent(tmp_path: Path) -> None:
    files = {"td/exe/crmod.cfg": b"c", "td/rho/rho.dat": b"r", "td/mod/volt.dat": b"old", "td/exe/error.dat": b"old"}
    unsent = make_unsent(tmp_path / "survey", {"td": [reading(CFG, "rho/rho.dat")]}, files)
    assert inputs_in(unsent) == {"td/exe/crmod.cfg": b"c", "td/rho/rho.dat": b"r"}


def test_archive_when_written_then_it_holds_the_batch_with_the_items_last(tmp_path: Path) -> None:
    unsent = one_of(tmp_path, CFG)
    below = f".crh-batch/{unsent.batch.batch_id}"
    names = list(files_in(write_archive(unsent.stage, pytest.fail)))
    assert names == [f"td/{CFG}", f"{below}/batch.json", f"{below}/pilot.pyz", f"{below}/items.jsonl"]


def test_archive_when_several_read_the_same_file_then_it_is_sent_once(tmp_path: Path) -> None:
    stages = [reading(CFG, "../common/grid.elm"), reading(CFG, "../common/grid.elm", "../td1/exe/crmod.cfg")]
    files = {"common/grid.elm": b"grid", "td0/exe/crmod.cfg": b"0", "td1/exe/crmod.cfg": b"1"}
    unsent = make_unsent(tmp_path / "survey", {"td0": stages, "td1": stages}, files)
    assert inputs_in(unsent) == files


def test_archive_when_a_reference_climbs_above_the_survey_then_it_keeps_its_relative_place(tmp_path: Path) -> None:
    survey = tmp_path / "project/survey"
    files = {"line1/td/exe/crmod.cfg": b"c", "../meshes/grid.elm": b"grid"}
    unsent = make_unsent(survey, {"line1/td": [reading(CFG, "../../../meshes/grid.elm")]}, files)
    assert inputs_in(unsent) == {"survey/line1/td/exe/crmod.cfg": b"c", "meshes/grid.elm": b"grid"}
    assert unsent.stage.root == f"{unsent.stage.top}/survey"


def test_archive_when_an_input_is_a_link_then_its_content_is_sent(tmp_path: Path) -> None:
    survey = tmp_path / "survey"
    (survey / "td/exe").mkdir(parents=True)
    (tmp_path / "grid").write_bytes(b"grid")
    (survey / "td/exe/grid").symlink_to("../../../grid")
    unsent = make_unsent(survey, {"td": [reading("exe/grid")]}, {})
    assert inputs_in(unsent) == {"td/exe/grid": b"grid"}


NAMES = ["a b", "new\nline", "it's", 'a"b', "$(x)", "-rf", "ä\u20ac", "tab\t", "*", os.fsdecode(b"\xff\xfe")]


@pytest.mark.parametrize(
    "name", [*NAMES, "n" * 250, "/".join(["deep" * 50] * 12)], ids=lambda name: ascii(name)[1:-1][:20]
)
def test_archive_when_names_are_strange_then_they_arrive_as_they_are(tmp_path: Path, name: str) -> None:
    unsent = make_unsent(tmp_path / "survey", {name: [reading(CFG)]}, {f"{name}/{CFG}": b"c"})
    assert inputs_in(unsent) == {f"{name}/{CFG}": b"c"}


@pytest.mark.parametrize("what", ["gone", "FIFO", "directory", "loop", "too long", "under a file"])
def test_archive_when_an_input_is_none_then_it_is_said_and_the_others_are_sent(tmp_path: Path, what: str) -> None:
    survey = tmp_path / "survey"
    name = {"too long": "n" * 300, "under a file": "exe/crmod.cfg/x"}.get(what, "bad")
    tomodirs = {"td0": [reading(name, CFG)], "td1": [reading(CFG)]}
    unsent = make_unsent(survey, tomodirs, {f"{td}/{CFG}": b"c" for td in tomodirs})
    bad = survey / "td0/bad"
    if what == "FIFO":
        os.mkfifo(bad)
    elif what == "directory":
        bad.mkdir()
    elif what == "loop":
        bad.symlink_to("bad")
    said: list[str] = []
    assert inputs_in(unsent, said) == {f"td0/{CFG}": b"c", f"td1/{CFG}": b"c"}
    (line,) = said
    assert line.startswith(f"td0: {name} isn't sent")


def test_archive_when_many_inputs_are_gone_then_the_words_are_few(tmp_path: Path) -> None:
    unsent = make_unsent(tmp_path / "survey", {f"td{number}": [reading(CFG)] for number in range(30)}, {})
    said: list[str] = []
    assert inputs_in(unsent, said) == {}
    assert len(said) == 21 and said[-1].startswith("10 more")


class Disturbed(tempfile.SpooledTemporaryFile[bytes]):
    """While an input is copied into it, somebody writes to that."""

    path: Path
    times: int

    def write(self, data: Any) -> int:
        if Disturbed.times:
            Disturbed.times -= 1
            Disturbed.path.write_bytes(b"changed %d" % Disturbed.times)
            os.utime(Disturbed.path, ns=(Disturbed.times, Disturbed.times))
        return super().write(data)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_archive_when_an_input_changes_then_no_mixture_is_sent(
    tmp_path: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsent = one_of(tmp_path, "bad", CFG)
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Disturbed)
    monkeypatch.setattr(Disturbed, "path", unsent.survey / "td/bad", raising=False)
    monkeypatch.setattr(Disturbed, "times", times, raising=False)
    said: list[str] = []
    found = inputs_in(unsent, said)
    assert found[f"td/{CFG}"] == CFG.encode()
    assert found.get("td/bad") == (b"changed 0" if times < 3 else None)
    assert ["being written" in line for line in said] == ([] if times < 3 else [True])


def test_archive_when_it_is_there_then_it_is_taken_as_it_is(tmp_path: Path) -> None:
    """A part of it may have arrived already."""
    unsent = one_of(tmp_path, CFG)
    path = write_archive(unsent.stage, pytest.fail)
    before = os.stat(path)
    (unsent.survey / "td" / CFG).write_bytes(b"changed")
    assert write_archive(unsent.stage, pytest.fail) == path
    assert os.stat(path).st_ino == before.st_ino


def test_archive_when_the_disk_is_full_then_no_part_of_one_passes_for_it(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(1 << 20)
    unsent = make_unsent(tmp_path / "survey", {"td": [reading("a", "b")]}, {"td/a": content, "td/b": b"b"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    said: list[str] = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_archive(unsent.stage, said.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said == []
    assert not any(name.startswith("inputs") for name in os.listdir(unsent.stage.directory))
    assert not os.path.exists(archive_path(unsent.stage))
    assert inputs_in(unsent) == {"td/a": content, "td/b": b"b"}
