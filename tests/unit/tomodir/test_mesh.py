from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.errors import MeshError
from crh_batch.tomodir.mesh import Mesh, read_mesh


@pytest.fixture
def grid(tomodir: Path) -> Path:
    return tomodir / "grid"


def read(grid: Path) -> Mesh:
    return read_mesh(str(grid / "elem.dat"), str(grid / "elec.dat"))


def test_mesh_when_usual_then_sizes_and_electrodes_are_read(grid: Path) -> None:
    assert read(grid) == Mesh(
        nodes=10,
        parameters=4,
        electrodes=5,
        bandwidth=7,
        electrode_xz=((0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (4.0, 0.0)),
    )


def test_electrodes_when_nodes_are_permuted_then_the_first_column_leads_to_the_line(grid: Path) -> None:
    """Electrode node e lies at the coordinates of line number[e], number being the first column."""
    lines = (grid / "elem.dat").read_text().splitlines()
    lines[3:6] = ["3 0.0 0.0", "1 1.0 0.0", "2 2.0 -0.5"]
    (grid / "elem.dat").write_text("\n".join(lines))
    assert read(grid).electrode_xz[:3] == ((2.0, -0.5), (0.0, 0.0), (1.0, 0.0))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("10 2 7\n", "10 2 7 nodes, types, bandwidth\n"),
        lambda text: text.replace("8 4 4\n12 2 2\n", "8 4 4 12 2 2\n"),
        lambda text: text.replace("2 1.0 0.0\n3 2.0 0.0\n", "2 1.0 0.0 3 2.0 0.0\n"),
        lambda text: text.replace("1 6 7 2\n", "1 6 7 2 cell\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("2 1.0 0.0", "2 1.0d0 0.0D0"),
        lambda text: text.rstrip("\n"),
    ],
)
def test_mesh_when_laid_out_otherwise_then_it_is_read_the_same(grid: Path, change: object) -> None:
    """CRMod_stable ran with each of these layouts."""
    before = read(grid)
    assert callable(change)
    (grid / "elem.dat").write_bytes(change((grid / "elem.dat").read_bytes().decode()).encode())
    assert read(grid) == before


def test_electrodes_when_text_follows_then_it_is_not_read(grid: Path) -> None:
    (grid / "elec.dat").write_text("5 electrodes\n1 ! first\n\n2\n3\n4\n5\n")
    assert read(grid).electrodes == 5


@pytest.mark.parametrize(
    ("elem", "words"),
    [
        ("", "ends within its first lines"),
        ("10 2\n", "ends within its first lines"),
        ("a b c\n", "'a' is not a whole number"),
        ("0 2 7\n8 4 4\n12 2 2\n", "0 nodes"),
        ("-5 2 7\n", "-5 nodes"),
        ("999999999 2 7\n8 4 4\n12 2 2\n", "999999999 nodes"),
        ("10 2 7\n8 4 4\n12 -2 2\n", "negative"),
        ("10 2 7\n8 400000000 4\n12 2 2\n1 0 0\n", "cut short"),
        ("10 2 99999999999\n", "not a whole number"),
    ],
)
def test_elem_when_damaged_then_it_is_named(grid: Path, elem: str, words: str) -> None:
    (grid / "elem.dat").write_text(elem)
    with pytest.raises(MeshError, match=r"elem\.dat") as caught:
        read(grid)
    assert words in caught.value.message
    assert caught.value.path == str(grid / "elem.dat")
    assert caught.value.next_step


@pytest.mark.parametrize("kept", [20, 100, 150, -4, -6])
def test_elem_when_cut_short_then_it_is_refused(grid: Path, kept: int) -> None:
    (grid / "elem.dat").write_text((grid / "elem.dat").read_text()[:kept])
    with pytest.raises(MeshError):
        read(grid)


@pytest.mark.parametrize("node", ["0", "11", "-1", "x", "1.0"])
def test_electrode_when_its_node_does_not_exist_then_elec_is_named(grid: Path, node: str) -> None:
    (grid / "elec.dat").write_text(f"2\n1\n{node}\n")
    with pytest.raises(MeshError, match=r"elec\.dat"):
        read(grid)


@pytest.mark.parametrize("elec", ["", "5\n1\n2\n", "0\n", "-1\n1\n", "x\n"])
def test_elec_when_cut_short_then_it_is_refused(grid: Path, elec: str) -> None:
    (grid / "elec.dat").write_text(elec)
    with pytest.raises(MeshError, match=r"elec\.dat"):
        read(grid)


def test_node_when_it_leads_nowhere_then_elem_is_named(grid: Path) -> None:
    text = (grid / "elem.dat").read_text()
    (grid / "elem.dat").write_text(text.replace("3 2.0 0.0", "77 2.0 0.0"))
    with pytest.raises(MeshError, match=r"elem\.dat.*77"):
        read(grid)
    (grid / "elem.dat").write_text(text.replace("3 2.0 0.0", "3 2.0 zero"))
    with pytest.raises(MeshError, match=r"elem\.dat.*zero"):
        read(grid)


def test_mesh_when_files_change_then_the_new_one_is_read(grid: Path) -> None:
    """Results are kept by content, so an edited file must not give the old result."""
    assert read(grid).electrodes == 5
    (grid / "elec.dat").write_text("2\n1\n2\n")
    assert read(grid).electrodes == 2


def test_mesh_when_equal_files_lie_elsewhere_then_the_result_is_the_same_object(grid: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("elem.dat", "elec.dat"):
        (copy / name).write_bytes((grid / name).read_bytes())
    assert read(copy) is read(grid)


def test_damage_when_files_are_equal_then_each_error_names_its_own_file(grid: Path, tmp_path: Path) -> None:
    for name in ("a.dat", "b.dat"):
        (tmp_path / name).write_text("10 2 7\n")
        with pytest.raises(MeshError, match=name):
            read_mesh(str(tmp_path / name), str(grid / "elec.dat"))
