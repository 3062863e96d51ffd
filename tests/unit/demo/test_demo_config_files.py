"""The .cfg files by their line numbers, which is how the programs know a setting."""

from __future__ import annotations

import pytest

from crh_batch.demo.config_files import crmod_cfg, crtomo_cfg, noisemod
from crh_batch.demo.files import grid_of
from crh_batch.demo.spec import Noise, TomodirSpec

TWO_D = TomodirSpec(dims="2D", max_iterations=7)
TWO_AND_A_HALF_D = TomodirSpec(dims="2.5D")


def crmod_lines(spec: TomodirSpec) -> list[str]:
    return crmod_cfg(spec, grid_of(spec)).splitlines()


def crtomo_lines(spec: TomodirSpec) -> list[str]:
    return [line for line in crtomo_cfg(spec, grid_of(spec)).splitlines() if not line.startswith("#")]


def test_crmod_cfg_has_its_seventeen_lines() -> None:
    lines = crmod_lines(TWO_D)

    assert len(lines) == 17
    paths = ["../grid/elem.dat", "../grid/elec.dat", "../rho/rho.dat", "../config/config.dat", "../mod/volt.dat"]
    assert [lines[index - 1] for index in (2, 3, 4, 5, 9)] == paths
    assert [lines[index - 1].split()[0] for index in (6, 8, 10, 12)] == ["F", "T", "F", "F"]


def test_crtomo_cfg_has_its_thirty_five_lines() -> None:
    lines = crtomo_lines(TWO_D)

    assert len(lines) == 35
    assert lines[1:5] == ["../grid/elem.dat", "../grid/elec.dat", "../mod/volt.dat", "../inv"]
    assert lines[6:9] == ["", "", ""]
    assert lines[14].split()[0] == "7"
    assert lines[24].split()[0] == "T"
    assert lines[27].split()[0] == "F"


@pytest.mark.parametrize(("spec", "number", "sink"), [(TWO_D, "0", "T"), (TWO_AND_A_HALF_D, "1", "F")])
def test_dimension_and_sink_stand_where_the_programs_look(spec: TomodirSpec, number: str, sink: str) -> None:
    crmod, crtomo = crmod_lines(spec), crtomo_lines(spec)

    assert [crmod[12].split()[0], crtomo[28].split()[0]] == [number, number]
    assert [crmod[13].split()[0], crtomo[29].split()[0]] == [sink, sink]
    assert crmod[14].split()[0] == crtomo[30].split()[0] == str(grid_of(spec).sink_node)


def test_prior_model_stands_in_line_8_and_is_demanded_in_line_25() -> None:
    lines = crtomo_lines(TomodirSpec(prior_model="../../td00/inv/rho03.modl"))

    assert lines[6:9] == ["", "../../td00/inv/rho03.modl", ""]
    assert lines[24].split()[0] == "F"


@pytest.mark.parametrize(
    ("percent", "first_14"),
    [
        (0, "  0.00        "),
        (0.05, " 0.500E-01    "),
        (0.3, " 0.300        "),
        (0.9996, "  1.00        "),
        (2, "  2.00        "),
        (12.34, "  12.3        "),
        (200, "  200.        "),
        (1500, " 0.150E+04    "),
    ],
)
def test_noise_model_is_in_the_form_of_fortrans_g10_3(percent: float, first_14: str) -> None:
    """CRTomo writes the file anew; in another form it would change. The third and fifth were seen, others are G10.3."""
    assert noisemod(Noise(magnitude_percent=percent)).splitlines()[1][:15] == first_14 + "#"


def test_noise_model_has_seven_lines_from_seed_to_phase() -> None:
    lines = noisemod(Noise(seed=4321, magnitude_percent=2, phase_mrad=0.3)).splitlines()

    assert [float(line.split()[0]) for line in lines] == [4321, 2, 0, 0, 0, 0, 0.3]
