from __future__ import annotations

from pathlib import Path

import pytest

from crh_batch.demo import write_demo, write_small_models, write_time_lapse
from crh_batch.errors import UsageError
from crh_batch.tomodir.crtomo_cfg import read_crtomo_cfg


def contents(directory: Path) -> dict[str, bytes]:
    return {str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def test_demo_is_a_tree_of_both_kinds_by_turns(tmp_path: Path) -> None:
    paths = write_demo(tmp_path, 8)

    assert paths[:3] == ["line1/td00_2D", "line1/td01_2.5D", "line1/td02_2D"]
    assert paths[5:] == ["line1/td05_2.5D", "line2/td06_2D", "line2/td07_2.5D"]
    assert {str(file.parent.parent.relative_to(tmp_path)) for file in tmp_path.rglob("crmod.cfg")} == set(paths)
    assert {str(file.parent.parent.relative_to(tmp_path)) for file in tmp_path.rglob("crtomo.cfg")} == set(paths)


def test_every_demo_tomodir_differs_in_ground_and_noise(tmp_path: Path) -> None:
    paths = write_demo(tmp_path, 12)

    assert len({(tmp_path / path / "rho/rho.dat").read_bytes() for path in paths}) == 12
    assert len({(tmp_path / path / "exe/crt.noisemod").read_bytes() for path in paths}) == 12
    for path in paths:
        values = set((tmp_path / path / "rho/rho.dat").read_text().splitlines()[1:])
        assert len(values) == 2, "a background and a block"


def test_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    write_demo(tmp_path / "a", 4, seed=7)
    write_demo(tmp_path / "b", 4, seed=7)
    write_demo(tmp_path / "c", 4, seed=8)

    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_larger_demo_begins_with_the_smaller_one(tmp_path: Path) -> None:
    write_demo(tmp_path / "a", 2)
    write_demo(tmp_path / "b", 3)

    assert contents(tmp_path / "a").items() < contents(tmp_path / "b").items()


def test_broken_tomodir_comes_last_and_differs_in_its_noise_only(tmp_path: Path) -> None:
    paths = write_demo(tmp_path, 2, with_broken=True)

    assert paths[2:] == ["line1/td02_2D_broken"]
    good, broken = contents(tmp_path / paths[0]), contents(tmp_path / paths[2])
    assert good.keys() == broken.keys()
    assert [name for name in good if good[name] != broken[name]] == ["exe/crt.noisemod"]


def test_small_models_share_all_but_the_block(tmp_path: Path) -> None:
    paths = write_small_models(tmp_path, 102, data=30, electrodes=12)

    assert [paths[0], paths[99], paths[100]] == ["00000/td00000", "00000/td00099", "00001/td00100"]
    first, second = contents(tmp_path / paths[0]), contents(tmp_path / paths[1])
    assert [name for name in first if first[name] != second[name]] == ["rho/rho.dat"]
    assert set(first) == {"exe/crmod.cfg", "grid/elem.dat", "grid/elec.dat", "config/config.dat", "rho/rho.dat"}
    assert len(first["config/config.dat"].splitlines()) == 31
    assert b"?" not in first["rho/rho.dat"]


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_tomodir_is_refused(tmp_path: Path, count: int) -> None:
    for write in (write_demo, write_small_models):
        with pytest.raises(UsageError, match=str(count)):
            write(tmp_path / "new", count)
    assert not (tmp_path / "new").exists()


def test_more_measurements_than_the_line_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 to"):
        write_small_models(tmp_path, 1, data=10_000, electrodes=12)
    assert not list(tmp_path.iterdir())


def test_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")

    for write in (write_demo, write_small_models):
        with pytest.raises(UsageError, match="something in it"):
            write(tmp_path, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(("fan_out", "source"), [(False, "time1"), (True, "time0")])
def test_time_lapse_names_the_last_model_of_another_step(tmp_path: Path, fan_out: bool, source: str) -> None:
    assert write_time_lapse(tmp_path / "survey", 3, fan_out=fan_out) == ["time0", "time1", "time2"]
    (first,) = read_crtomo_cfg(str(tmp_path / "survey/time0/exe/crtomo.cfg"))
    (last,) = read_crtomo_cfg(str(tmp_path / "survey/time2/exe/crtomo.cfg"))
    assert first.dm0 is None
    assert last.dm0 == f"../../{source}/inv/rho02.modl"
