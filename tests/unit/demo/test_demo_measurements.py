from __future__ import annotations

import math

import pytest

from crh_batch.demo.measurements import Measurement, config_text, dipole_dipole, geometric_factor_m


def test_dipole_dipole_of_five_electrodes_is_known() -> None:
    found = dipole_dipole(5, separations=2, lengths=(1, 2))

    assert found == [Measurement(1, 2, 4, 3), Measurement(2, 3, 5, 4), Measurement(1, 2, 5, 4)]


def test_all_electrodes_exist_and_no_measurement_comes_twice() -> None:
    found = dipole_dipole(20, separations=6, lengths=(1, 2, 3))

    assert len(set(found)) == len(found)
    assert {electrode for measurement in found for electrode in measurement} == set(range(1, 21))


def test_config_text_holds_the_count_and_the_codes() -> None:
    text = config_text([Measurement(1, 2, 4, 3), Measurement(10, 12, 16, 14)])

    assert text == "2\n10002 40003\n100012 160014\n"


@pytest.mark.parametrize("separation", [1, 2, 5])
def test_geometric_factor_of_adjacent_dipoles_is_the_textbook_formula(separation: int) -> None:
    """K = pi n (n + 1) (n + 2) a for dipoles of length a, n lengths apart; positive, so resistances are."""
    measurement = Measurement(1, 2, separation + 3, separation + 2)

    textbook = math.pi * separation * (separation + 1) * (separation + 2) * 0.5
    assert geometric_factor_m(measurement, spacing_m=0.5) == pytest.approx(textbook)
