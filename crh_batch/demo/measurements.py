"""Dipole-dipole measurements along a line, as the text of config.dat.

The format (geophysics-ubonn/titatest, src/rdatm.f90): the number of measurements, then a line for each with two codes,
``A * 10000 + B`` for the current electrodes and ``M * 10000 + N`` for the potential electrodes. volt.dat adds the
resistance in Ohm and the phase in mrad to each line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Measurement(NamedTuple):
    """Four electrodes, numbered from 1: current flows from a to b, the voltage is taken between m and n."""

    a: int
    b: int
    m: int
    n: int

    @property
    def codes(self) -> tuple[int, int]:
        """The two numbers that name it in config.dat and volt.dat."""
        return self.a * 10000 + self.b, self.m * 10000 + self.n


def dipole_dipole(electrodes: int, separations: int, lengths: Sequence[int]) -> list[Measurement]:
    """Give all dipole-dipole measurements of a line.

    The potential dipole is named from its far end (M beyond N), so a half-space gives a positive resistance: CRTomo
    inverts the logarithm and refuses others.

    Args:
        electrodes: number of electrodes on the line.
        separations: the gap between the dipoles is 1 ... separations times the dipole's length.
        lengths: lengths of the dipoles, in electrode spacings.
    """
    found = []
    for length in lengths:
        for separation in range(1, separations + 1):
            for a in range(1, electrodes - (2 + separation) * length + 1):
                b = a + length
                near = b + separation * length
                found.append(Measurement(a, b, near + length, near))
    return found


def geometric_factor_m(measurement: Measurement, spacing_m: float) -> float:
    """Give the factor K, in m, of a line on a half-space: resistivity (Ohm m) = K * resistance (Ohm).

    K = 2 pi / (1/AM - 1/BM - 1/AN + 1/BN), for point electrodes on the surface of a homogeneous half-space; that is
    what 2.5D modelling computes, in 2D electrodes are lines.
    """
    a, b, m, n = (number * spacing_m for number in measurement)
    terms = 1 / abs(a - m) - 1 / abs(b - m) - 1 / abs(a - n) + 1 / abs(b - n)
    return 2 * math.pi / terms


def config_text(measurements: Iterable[Measurement]) -> str:
    """Give the text of config/config.dat."""
    lines = ["{} {}".format(*measurement.codes) for measurement in measurements]
    return "\n".join([str(len(lines)), *lines]) + "\n"
