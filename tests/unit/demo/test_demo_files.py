from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.demo import Block, TomodirSpec, write_tomodir
from crh_batch.demo.files import SUBDIRECTORIES, grid_of, measurements_of, rho_text, write_files, writing
from crh_batch.errors import UsageError

SMALL = TomodirSpec(electrodes=6, cells_per_spacing=1, layers=2, padding_cells=1)


def files_below(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_tomodir_has_all_six_directories_and_both_stages(tmp_path: Path) -> None:
    write_tomodir(tmp_path / "line1" / "td", SMALL)

    assert {entry.name for entry in (tmp_path / "line1" / "td").iterdir()} == set(SUBDIRECTORIES)
    grid, exe = {"grid/elem.dat", "grid/elec.dat"}, {"exe/crmod.cfg", "exe/crtomo.cfg", "exe/crt.noisemod"}
    assert files_below(tmp_path / "line1" / "td") == grid | exe | {"config/config.dat", "rho/rho.dat"}


def test_inversion_only_takes_the_data_it_is_given(tmp_path: Path) -> None:
    spec = TomodirSpec(electrodes=6, modelling=False, noise=None, volt_text="1\n10002 40003 1.5 -2.0\n")
    write_tomodir(tmp_path / "td", spec)

    assert {entry.name for entry in (tmp_path / "td").iterdir()} == set(SUBDIRECTORIES)
    assert files_below(tmp_path / "td") == {"grid/elem.dat", "grid/elec.dat", "exe/crtomo.cfg", "mod/volt.dat"}
    assert (tmp_path / "td/mod/volt.dat").read_text() == spec.volt_text


def test_modelling_only_has_nothing_for_crtomo(tmp_path: Path) -> None:
    write_tomodir(tmp_path / "td", TomodirSpec(electrodes=6, inversion=False))

    assert {file for file in files_below(tmp_path / "td") if file.startswith("exe")} == {"exe/crmod.cfg"}


def test_rho_holds_the_block_where_its_cells_are() -> None:
    spec = TomodirSpec(
        electrodes=4, cells_per_spacing=1, layers=2, padding_cells=1, block=Block(1.0, 1.0, 1.0, 1.0, 25.0, -20.0)
    )

    # 5 columns of 3 rows; the block is the middle cell of the second row
    lines = ["15", *["100 -5"] * 7, "25 -20", *["100 -5"] * 7]
    assert rho_text(spec, grid_of(spec)).splitlines() == lines


def test_measurements_need_no_electrode_that_the_grid_lacks() -> None:
    electrodes = {electrode for measurement in measurements_of(SMALL) for electrode in measurement}

    assert max(electrodes) == len(grid_of(SMALL).electrode_columns)


def test_empty_directory_is_taken(tmp_path: Path) -> None:
    write_tomodir(tmp_path, SMALL)

    assert (tmp_path / "exe" / "crmod.cfg").is_file()


@pytest.mark.parametrize("there", ["directory", "file", "dangling link"])
def test_what_exists_is_never_written_over(tmp_path: Path, there: str) -> None:
    target = tmp_path / "td"
    if there == "directory":
        (target / "exe").mkdir(parents=True)
    elif there == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path / "nowhere")

    problem = "something in it" if there == "directory" else "not a directory"
    with pytest.raises(UsageError, match=f"td .*{problem}") as refusal:
        write_tomodir(target, SMALL)
    assert refusal.value.next_step
    assert files_below(tmp_path) == ({"td"} if there == "file" else set())
    assert not (tmp_path / "nowhere").exists()


def test_refusal_of_the_filesystem_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"exe/missing/crmod\.cfg can't be written: No such file") as refusal:
        write_files(tmp_path / "td", {"exe/missing/crmod.cfg": ""})
    assert refusal.value.next_step


def test_full_filesystem_names_the_tomodir() -> None:
    """An error of write(2) has no file name; /dev/full gives one on demand."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is Linux's")
    with (
        pytest.raises(UsageError, match=r"^td can't be written: No space left"),
        writing(Path("td")),
        full.open("w") as file,
    ):
        file.write("x")


def test_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    """Two demos started at once in one directory: neither writes into the other's files."""
    write_files(tmp_path, {"exe/crmod.cfg": "first"})

    with pytest.raises(UsageError, match="File exists"):
        write_files(tmp_path, {"exe/crmod.cfg": "second"})
    assert (tmp_path / "exe/crmod.cfg").read_text() == "first"
