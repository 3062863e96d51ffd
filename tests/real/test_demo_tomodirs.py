"""The synthetic tomodirs in the real CRMod and CRTomo: they finish, fit, and are the physics they say they are."""

from __future__ import annotations

import importlib.util
import math
import os
import resource
import statistics
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from crh_batch.demo import TomodirSpec, write_demo, write_small_models, write_tomodir
from crh_batch.demo.files import measurements_of, tomodir_files
from crh_batch.demo.measurements import geometric_factor_m
from crh_batch.demo.spec import Noise

SMALL = TomodirSpec(dims="2D", electrodes=12, cells_per_spacing=2, layers=5)  # both stages in 0.1 s


class Ended(NamedTuple):
    status: int
    last_word: str  # of stderr: "0" or "-1" of STOP
    stdout: str
    cpu_s: float


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The programs themselves; the wrapper's scripts on PATH drop the exit status."""
    package = importlib.util.find_spec("crtomo_bin_wrapper")
    if package is None or package.origin is None:
        reason = "CRMod and CRTomo are missing; install crtomo-bin-wrapper"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(package.origin).parent / "binaries"


def run(program: Path, tomodir: Path) -> Ended:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [program],
        cwd=tomodir / "exe",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert "STOP" in done.stderr, f"{program} did not come to its end: {done.stderr}"
    return Ended(done.returncode, done.stderr.split()[-1], done.stdout, cpu_s)


def model(binaries: Path, tomodir: Path) -> list[tuple[int, int, float, float]]:
    """Run CRMod and give volt.dat: current and potential code, Ohm, mrad."""
    assert run(binaries / "CRMod_stable", tomodir).last_word == "0"
    first, *lines = (tomodir / "mod/volt.dat").read_text().splitlines()
    assert int(first) == len(lines), "volt.dat is complete"
    return [(int(c), int(v), float(ohm), float(mrad)) for c, v, ohm, mrad in (line.split() for line in lines)]


def final_rms(tomodir: Path) -> float:
    lines = (tomodir / "inv/inv.ctr").read_text().splitlines()
    assert lines[-1].startswith("***finished***")
    return float([line.split()[2] for line in lines if line.startswith(" IT ")][-1])


def inputs_changed(tomodir: Path, spec_files: dict[str, bytes]) -> list[str]:
    return [name for name, content in spec_files.items() if (tomodir / name).read_bytes() != content]


def read_all(tomodir: Path) -> dict[str, bytes]:
    return {str(file.relative_to(tomodir)): file.read_bytes() for file in tomodir.rglob("*") if file.is_file()}


@pytest.mark.parametrize("number", range(4))
def test_demo_tomodir_is_modelled_and_inverted_to_an_rms_near_one(binaries: Path, tmp_path: Path, number: int) -> None:
    """2D and 2.5D, each with a conductive and a resistive block, in seconds, and without changing an input."""
    tomodir = tmp_path / write_demo(tmp_path, 4)[number]
    inputs = read_all(tomodir)
    config = inputs["config/config.dat"].decode().split()[1:]

    data = model(binaries, tomodir)
    assert [str(code) for line in data for code in line[:2]] == config
    assert all(ohm > 0 and -40 < mrad < 0 for _, _, ohm, mrad in data)

    inversion = run(binaries / "CRTomo_stable", tomodir)
    assert (inversion.status, inversion.last_word) == (0, "0")
    assert not (tomodir / "exe/error.dat").exists()
    assert 0.9 < final_rms(tomodir) < 1.1
    assert inversion.cpu_s < 30
    assert inputs_changed(tomodir, inputs) == []


def test_inversion_finds_the_block(binaries: Path, tmp_path: Path) -> None:
    """The best conductor of the final model lies in the block, so the cells of rho.dat are in the mesh's order."""
    write_tomodir(tmp_path / "td", TomodirSpec(dims="2D"))
    model(binaries, tmp_path / "td")
    run(binaries / "CRTomo_stable", tmp_path / "td")

    last_model = (tmp_path / "td/exe" / (tmp_path / "td/exe/inv.lastmod").read_text().strip()).resolve()
    cells = [[float(word) for word in line.split()] for line in last_model.read_text().splitlines()[1:]]
    x_m, z_m, log_ohm_m = min(cells, key=lambda cell: cell[2])
    block = TomodirSpec().block
    assert block is not None
    assert block.holds(x_m, -z_m)
    assert 10**log_ohm_m < 60


def noisy_data(tomodir: Path) -> list[tuple[float, float]]:
    lines = (tomodir / "exe/inv.mynoise_voltages").read_text().splitlines()[1:]
    return [(float(ohm), float(mrad)) for _, _, ohm, mrad in (line.split() for line in lines)]


def test_noise_is_added_and_depends_on_the_seed_alone(binaries: Path, tmp_path: Path) -> None:
    results = {}
    for name, seed in [("first", 5), ("again", 5), ("other", 6)]:
        spec = TomodirSpec(dims="2D", cells_per_spacing=1, layers=5, noise=Noise(seed=seed))
        write_tomodir(tmp_path / name, spec)
        clean = model(binaries, tmp_path / name)
        assert run(binaries / "CRTomo_stable", tmp_path / name).last_word == "0"
        results[name] = noisy_data(tmp_path / name)

    assert results["first"] == results["again"] != results["other"]
    magnitudes = [100 * (noisy[0] / ohm - 1) for noisy, (_, _, ohm, _) in zip(results["first"], clean, strict=True)]
    phases = [noisy[1] - mrad for noisy, (_, _, _, mrad) in zip(results["first"], clean, strict=True)]
    assert 1.5 < statistics.pstdev(magnitudes) < 2.5
    assert 0.2 < statistics.pstdev(phases) < 0.4


def test_no_noise_is_added_without_a_noise_model(binaries: Path, tmp_path: Path) -> None:
    write_tomodir(tmp_path / "td", TomodirSpec(dims="2D", electrodes=12, noise=None))
    model(binaries, tmp_path / "td")

    assert run(binaries / "CRTomo_stable", tmp_path / "td").last_word == "0"
    assert not list((tmp_path / "td/exe").glob("*noise*"))


def test_half_space_in_2_5d_has_the_resistivity_it_was_given(binaries: Path, tmp_path: Path) -> None:
    """Resistance times geometric factor is 100 Ohm m. Wrong normals, nodes or measurement signs would show here."""
    spec = TomodirSpec(dims="2.5D", block=None)
    write_tomodir(tmp_path / "td", spec)

    data = model(binaries, tmp_path / "td")
    for measurement, (_, _, ohm, mrad) in zip(measurements_of(spec), data, strict=True):
        apparent_ohm_m = geometric_factor_m(measurement, spec.spacing_m) * ohm
        # next to the current electrodes three cells a spacing are coarse
        adjacent = abs(measurement.n - measurement.b) == 1
        assert apparent_ohm_m == pytest.approx(100, rel=0.05 if adjacent else 0.02)
        assert mrad == pytest.approx(-5, abs=0.01)


def test_box_in_2d_is_large_enough_to_be_like_a_half_space(binaries: Path, tmp_path: Path) -> None:
    """Line electrodes on a half-space: the potential of one is -rho / pi * ln r."""
    spec = TomodirSpec(dims="2D", block=None)
    write_tomodir(tmp_path / "td", spec)

    data = model(binaries, tmp_path / "td")
    for (a, b, m, n), (_, _, ohm, _) in zip(measurements_of(spec), data, strict=True):
        expected = 100 / math.pi * math.log(abs(b - m) * abs(a - n) / (abs(a - m) * abs(b - n)))
        assert ohm == pytest.approx(expected, rel=0.05)


def test_broken_tomodir_passes_modelling_and_is_refused_by_crtomo(binaries: Path, tmp_path: Path) -> None:
    tomodir = tmp_path / write_demo(tmp_path, 1, with_broken=True)[-1]
    inputs = read_all(tomodir)
    model(binaries, tomodir)

    inversion = run(binaries / "CRTomo_stable", tomodir)
    assert (inversion.status, inversion.last_word) == (0, "-1")
    assert b"Magnitude <= 0" in (tomodir / "exe/error.dat").read_bytes()
    assert not list((tomodir / "inv").iterdir())
    assert inputs_changed(tomodir, inputs) == []


def test_small_models_take_tens_of_milliseconds(binaries: Path, tmp_path: Path) -> None:
    cpu_s = []
    for path in write_small_models(tmp_path, 5):
        assert len(model(binaries, tmp_path / path)) == 2000
        cpu_s.append(run(binaries / "CRMod_stable", tmp_path / path).cpu_s)

    assert 0.005 < statistics.median(cpu_s) < 0.1


def test_inversion_takes_given_data_and_the_model_of_another_tomodir(binaries: Path, tmp_path: Path) -> None:
    """Time-lapse: the second inversion starts from the first one's result, so it fits from the beginning."""
    write_tomodir(tmp_path / "td00", SMALL)
    model(binaries, tmp_path / "td00")
    run(binaries / "CRTomo_stable", tmp_path / "td00")
    last = sorted((tmp_path / "td00/inv").glob("rho*.modl"))[-1].name
    volt_text = (tmp_path / "td00/mod/volt.dat").read_text()

    spec = TomodirSpec(
        dims="2D",
        electrodes=12,
        cells_per_spacing=2,
        layers=5,
        modelling=False,
        volt_text=volt_text,
        prior_model=f"../../td00/inv/{last}",
    )
    assert "exe/crmod.cfg" not in tomodir_files(spec)
    write_tomodir(tmp_path / "td01", spec)
    inversion = run(binaries / "CRTomo_stable", tmp_path / "td01")

    assert inversion.last_word == "0"
    assert "read prior" in inversion.stdout
    start = next(line for line in (tmp_path / "td01/inv/inv.ctr").read_text().splitlines() if " IT   0" in line)
    assert float(start.split()[2]) < 1.1


def test_missing_prior_model_is_an_error_and_not_left_out(binaries: Path, tmp_path: Path) -> None:
    spec = TomodirSpec(
        dims="2D",
        electrodes=6,
        modelling=False,
        volt_text="1\n10002 40003 8.0 -5.0\n",
        prior_model="../../td00/inv/rho03.modl",
    )
    write_tomodir(tmp_path / "td01", spec)

    assert run(binaries / "CRTomo_stable", tmp_path / "td01").last_word == "-1"
    assert b"Specify starting model" in b" ".join((tmp_path / "td01/exe/error.dat").read_bytes().split())
