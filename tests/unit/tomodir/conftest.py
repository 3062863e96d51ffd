"""A tomodir of ten nodes, written here by hand; tests change what they are about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

# Two rows of five nodes, 1 m apart; four cells between them and two boundary elements.
ELEM = """\
10 2 7
8 4 4
12 2 2
1 0.0 0.0
2 1.0 0.0
3 2.0 0.0
4 3.0 0.0
5 4.0 0.0
6 0.0 -1.0
7 1.0 -1.0
8 2.0 -1.0
9 3.0 -1.0
10 4.0 -1.0
1 6 7 2
2 7 8 3
3 8 9 4
4 9 10 5
1 6
5 10
1
4
"""
ELEC = "5\n1\n2\n3\n4\n5\n"
CONFIG = "3\n10002 30004\n20003 40005\n10002 40005\n"
# As CRMod writes it: all lines equally long.
VOLT = """\
           3
       10002       30004   1.25000000      0.000000000E+00
       20003       40005   1.25000000      0.000000000E+00
       10002       40005  0.250000000      0.000000000E+00
"""
RHO = "4\n100.0 0.0\n100.0 0.0\n100.0 0.0\n100.0 0.0\n"
CRMOD_CFG = """\
***FILES***
../grid/elem.dat
../grid/elec.dat
../rho/rho.dat
../config/config.dat
F                ! potentials ?
../mod/pot/pot.dat
T                ! measurements ?
../mod/volt.dat
F                ! sensitivities ?
../mod/sens/sens.dat
F                ! another dataset ?
1                ! 2D (=0) or 2.5D (=1)
F                ! fictitious sink ?
1660             ! fictitious sink node number
F                ! boundary values ?
boundary.dat
"""
CRTOMO_CFG = """\
1
../grid/elem.dat
../grid/elec.dat
../mod/volt.dat
../inv
F                ! difference inversion?



iseed variance
0                ! # cells in x-direction
-1               ! # cells in z-direction
1.000            ! smoothing parameter in x-direction
1.000            ! smoothing parameter in z-direction
20               ! max. nr of iterations
F                ! DC inversion?
F                ! robust inversion?
F                ! final phase improvement?
3                ! rel. magnitude error
1e-2             ! abs. magnitude error
0
0
0
0
T
20.00
0.00
F
1                ! 2D (=0) or 2.5D (=1)
F
6467
F
boundary.dat
1
lambda
"""
STARS = "*" * 109 + " "
INV_CTR = f"""\
##
## Complex Resistivity Tomography (CRTomo)
##
## Git-Branch master
## Git-ID     cb89ccd2c4341b9b08bbe7bb08f5aea0d60916ee
## OS         GNU/Linux
##

# Model parameters                  4
# Data points                       3

***FIXED***
 # wavenumbers :                                  7
{STARS}
 IT   0    119.5                                                     119.5             NaN     0
{STARS}
 UP   1    5.815       112.       220.0       11.22           8                                         1.000
{STARS}
 IT   1    5.545       140.3      55.36       16.95           9      5.545             NaN     0        1.000
{STARS}
"""

SetLine = Callable[[Path, int, str], None]


@pytest.fixture
def tomodir(tmp_path: Path) -> Path:
    """A tomodir with everything for a modelling and an inversion, and nothing run yet."""
    directory = tmp_path / "td"
    for name, text in {
        "grid/elem.dat": ELEM,
        "grid/elec.dat": ELEC,
        "config/config.dat": CONFIG,
        "rho/rho.dat": RHO,
        "exe/crmod.cfg": CRMOD_CFG,
        "exe/crtomo.cfg": CRTOMO_CFG,
    }.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return directory


@pytest.fixture
def modelled(tomodir: Path) -> Path:
    """The same after its modelling."""
    (tomodir / "mod").mkdir()
    (tomodir / "mod" / "volt.dat").write_text(VOLT)
    return tomodir


@pytest.fixture
def finished(modelled: Path) -> Path:
    """The same after its inversion."""
    (modelled / "inv").mkdir()
    (modelled / "inv" / "inv.ctr").write_text(INV_CTR + "***finished***\n")
    return modelled


@pytest.fixture
def set_line() -> SetLine:
    """Put a text in the place of a line, counted from 1."""

    def set_line(file: Path, number: int, text: str) -> None:
        lines = file.read_bytes().split(b"\n")
        lines[number - 1] = text.encode("utf-8", "surrogateescape")
        file.write_bytes(b"\n".join(lines))

    return set_line
