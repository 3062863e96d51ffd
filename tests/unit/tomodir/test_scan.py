from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.errors import ConfigError
from crh_batch.hosts import remote_files
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.scan import STAGE_MARKER, find_tomodirs, is_tomodir


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., None]:
    """Make tomodirs at paths relative to the root."""

    def make(*places: str, cfg: str = "crtomo.cfg") -> None:
        for place in places:
            exe = tmp_path / place / "exe"
            exe.mkdir(parents=True)
            (exe / cfg).write_text("")

    return make


Make = Callable[..., None]


def test_find_when_there_are_several_then_they_come_sorted_and_depth_first(tmp_path: Path, make: Make) -> None:
    make("line2/td01", "line1/td10", "line1/td02", "a", "line1/sub/td01")
    make("line10/td", cfg="crmod.cfg")
    assert list(find_tomodirs(str(tmp_path))) == [
        "a",
        "line1/sub/td01",
        "line1/td02",
        "line1/td10",
        "line10/td",
        "line2/td01",
    ]


def test_find_when_root_is_one_then_it_is_a_dot(tmp_path: Path, make: Make) -> None:
    make(".", "nested")
    assert list(find_tomodirs(str(tmp_path))) == [".", "nested"]


def test_find_when_nested_then_both_are_found(tmp_path: Path, make: Make) -> None:
    make("td", "td/skeleton_td", "td/a/b/c")
    assert list(find_tomodirs(str(tmp_path))) == ["td", "td/a/b/c", "td/skeleton_td"]


def test_find_when_seitdir_then_its_frequencies_are_found(tmp_path: Path, make: Make) -> None:
    make("sip/invmod/01_0.100000", "sip/invmod/02_1.000000")
    (tmp_path / "sip" / "frequencies.dat").write_text("0.1\n1.0\n")
    assert list(find_tomodirs(str(tmp_path))) == ["sip/invmod/01_0.100000", "sip/invmod/02_1.000000"]


def test_find_when_directories_were_dropped_by_git_then_it_is_found_all_the_same(tmp_path: Path, make: Make) -> None:
    make("td")
    assert sorted(os.listdir(tmp_path / "td")) == ["exe"]
    assert list(find_tomodirs(str(tmp_path))) == ["td"]


def test_find_when_exe_holds_no_cfg_then_it_is_none_and_is_searched(tmp_path: Path, make: Make) -> None:
    (tmp_path / "x" / "exe").mkdir(parents=True)
    make("x/exe/td", "inv/td")
    assert list(find_tomodirs(str(tmp_path))) == ["inv/td", "x/exe/td"]


@pytest.mark.parametrize("own", ["exe", "config", "rho", "grid", "mod", "inv"])
def test_find_when_in_a_tomodirs_own_directory_then_it_is_left_out(tmp_path: Path, make: Make, own: str) -> None:
    make("td", f"td/{own}/deeper")
    assert list(find_tomodirs(str(tmp_path))) == ["td"]


def test_find_when_own_directories_are_large_then_they_are_not_listed(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("td")
    (tmp_path / "td" / "inv").mkdir()
    listed = []
    real = os.scandir

    def scandir(path: str) -> object:
        listed.append(os.path.relpath(path, tmp_path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(find_tomodirs(str(tmp_path))) == ["td"]
    assert listed == [".", "td"]


@pytest.mark.parametrize("hidden", [".crh-batch/20261122-101500-k3f9", ".git", ".snapshot/td"])
def test_find_when_hidden_then_it_is_left_out(tmp_path: Path, make: Make, hidden: str) -> None:
    make("td", hidden)
    assert list(find_tomodirs(str(tmp_path))) == ["td"]


def test_find_when_links_make_a_loop_then_each_is_found_once(tmp_path: Path, make: Make) -> None:
    make("a/td")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "td" / "self").symlink_to(".")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("c")
    assert list(find_tomodirs(str(tmp_path))) == ["a/td"]


def test_find_when_cfg_is_something_else_then_it_is_found_so_that_describe_can_say_what_is_wrong(
    tmp_path: Path, make: Make
) -> None:
    make("real")
    for name, target in (("linked", "../../real/exe/crtomo.cfg"), ("dangling", "nowhere"), ("looped", "crtomo.cfg")):
        (tmp_path / name / "exe").mkdir(parents=True)
        (tmp_path / name / "exe" / "crtomo.cfg").symlink_to(target)
    (tmp_path / "fifo" / "exe").mkdir(parents=True)
    os.mkfifo(tmp_path / "fifo" / "exe" / "crtomo.cfg")
    (tmp_path / "directory" / "exe" / "crtomo.cfg").mkdir(parents=True)
    found = list(find_tomodirs(str(tmp_path)))
    assert found == ["dangling", "directory", "fifo", "linked", "looped", "real"]
    for name in ("dangling", "directory", "fifo", "looped"):
        with pytest.raises(ConfigError, match=f"{name}/exe/crtomo.cfg: "):
            describe(str(tmp_path / name))


def test_find_when_exe_is_a_link_then_it_is_found_so_that_describe_can_say_what_is_wrong(
    tmp_path: Path, make: Make
) -> None:
    make("a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "exe").symlink_to("../a/exe")
    assert list(find_tomodirs(str(tmp_path))) == ["a", "b"]


@pytest.mark.parametrize("name", ["-rf", "two words", "line\nbreak", "ünï", "\udcff\udcfe", "'; rm", "*"])
def test_find_when_names_are_odd_then_they_are_kept(tmp_path: Path, make: Make, name: str) -> None:
    make(f"{name}/td")
    assert list(find_tomodirs(str(tmp_path))) == [f"{name}/td"]


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file")])
def test_find_when_a_directory_cannot_be_listed_then_it_is_told_and_the_search_goes_on(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """One bad directory ended cr_hydra's whole scan."""
    make("a/td", "b/td", "c/td")
    real = os.scandir

    def scandir(path: str) -> object:
        if os.path.basename(path) == "b":
            raise error
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    problems: list[tuple[str, str]] = []
    assert list(find_tomodirs(str(tmp_path), lambda path, message: problems.append((path, message)))) == [
        "a/td",
        "c/td",
    ]
    assert problems == [("b", error.strerror)]
    assert list(find_tomodirs(str(tmp_path))) == ["a/td", "c/td"]


def test_find_when_root_is_missing_then_it_is_told(tmp_path: Path) -> None:
    problems: list[tuple[str, str]] = []
    assert list(find_tomodirs(str(tmp_path / "none"), lambda *told: problems.append(told))) == []
    assert problems == [(".", "No such file or directory")]


def test_is_tomodir_when_asked_then_only_its_own_cfg_counts(tmp_path: Path, make: Make) -> None:
    make("td")
    assert is_tomodir(str(tmp_path / "td"))
    assert not is_tomodir(str(tmp_path))
    assert not is_tomodir(str(tmp_path / "none"))
    assert not is_tomodir("nul\0byte")


NAMES = st.sampled_from(["a", "b", "exe", "inv", "td", ".hidden"])


def test_find_when_another_machine_sent_copies_here_then_they_are_left_out(tmp_path: Path, make: Make) -> None:
    make("td", "crh-batch-stages/batch/td", "crh-batch-stages/other/td")
    (tmp_path / "crh-batch-stages" / "batch" / STAGE_MARKER).touch()
    assert list(find_tomodirs(str(tmp_path))) == ["crh-batch-stages/other/td", "td"]
    assert list(find_tomodirs(str(tmp_path / "crh-batch-stages" / "batch"))) == []
    assert STAGE_MARKER == remote_files.STAGE_MARKER, "the other end writes it, and can't import this"


TREES = st.recursive(
    st.sampled_from([None, "crtomo.cfg"]),
    lambda children: st.dictionaries(NAMES, children, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_find_when_tree_is_any_then_it_agrees_with_a_plain_definition(
    tmp_path_factory: pytest.TempPathFactory, tree: object
) -> None:
    root = tmp_path_factory.mktemp("tree")
    expected = []
    own = {"exe", "config", "rho", "grid", "mod", "inv"}

    def build(directory: Path, node: object, visible: bool) -> None:
        directory.mkdir(exist_ok=True)
        if not isinstance(node, dict):
            if isinstance(node, str) and directory.name == "exe":
                (directory / node).write_text("")
            return
        is_one = node.get("exe") == "crtomo.cfg"
        if is_one and visible:
            expected.append(os.path.relpath(directory, root))
        for name, child in sorted(node.items()):
            left_out = name.startswith(".") or (is_one and name in own)
            build(directory / name, child, visible and not left_out)

    build(root, tree, True)
    assert list(find_tomodirs(str(root))) == expected
