"""What a synthetic tomodir is made of: the ground, the line on it, the stages and the noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Block:
    """A rectangle in the ground that differs from the background.

    Args:
        x_m: its left edge along the line, where the first electrode is 0, in m.
        depth_m: its upper edge below the surface, in m.
        width_m: along the line, in m.
        height_m: downwards, in m.
        ohm_m: magnitude of its resistivity, in Ohm m.
        phase_mrad: phase of its resistivity in mrad, 0 or negative.
    """

    x_m: float
    depth_m: float
    width_m: float
    height_m: float
    ohm_m: float
    phase_mrad: float = 0.0

    def holds(self, x_m: float, depth_m: float) -> bool:
        """Whether a point lies in it."""
        return 0 <= x_m - self.x_m <= self.width_m and 0 <= depth_m - self.depth_m <= self.height_m


@dataclass(frozen=True)
class Noise:
    """Gaussian noise that CRTomo adds to the data when it finds exe/crt.noisemod.

    CRTomo refuses a resistance that noise has made negative ("Magnitude <= 0", measured at 60 percent). Some of its
    sources (titatest, src/rdati.f90) refuse positive phases too, so keep phase noise well below the data's phases.

    Args:
        seed: 1 or more; the same seed gives the same noise on the same data.
        magnitude_percent: standard deviation, in percent of each resistance.
        phase_mrad: standard deviation of each phase, in mrad.
    """

    seed: int = 1
    magnitude_percent: float = 2.0
    phase_mrad: float = 0.3


@dataclass(frozen=True)
class TomodirSpec:
    """A tomodir on paper; ``write_tomodir`` makes it.

    Args:
        dims: "2D" (electrodes are lines in a closed box) or "2.5D" (points on a half-space).
        electrodes: number of electrodes on the line, 4 or more.
        spacing_m: their distance, in m.
        cells_per_spacing: cells of the grid between two electrodes.
        layers: rows of square cells below the line.
        padding_cells: growing columns on each side, and growing rows below. None is 5 in 2.5D, whose mixed boundary
            continues the half-space, and 9 in 2D, whose box must be large to be like one. Resistances are within 5 %
            of a homogeneous half-space then, most within 1 % (measured).
        separations: how many gaps a dipole-dipole measurement has at most, in dipole lengths.
        dipole_lengths: lengths of the dipoles, in spacings.
        background_ohm_m: magnitude of the background's resistivity, in Ohm m; the start of an inversion too.
        phase_mrad: phase of the background in mrad, 0 or negative; the start of an inversion too.
        block: what is hidden in the ground, if anything.
        modelling: exe/crmod.cfg and its inputs are written.
        inversion: exe/crtomo.cfg is written.
        volt_text: the text of mod/volt.dat, for an inversion without modelling.
        noise: written as exe/crt.noisemod, None for data as they are.
        error_percent: what the inversion takes as standard deviation of a resistance, in percent.
        phase_error_mrad: what it takes as standard deviation of a phase, in mrad.
        max_iterations: at which the inversion stops, 1 to 99.
        prior_model: path of a file like rho.dat, relative to exe/, as the inversion's starting model (line 8 of
            crtomo.cfg), such as another tomodir's ``inv/rho03.modl``. Without that file the inversion ends with
            "Specify starting model", because line 25 is F then; with T, CRTomo would silently go on without it.
    """

    dims: Literal["2D", "2.5D"] = "2.5D"
    electrodes: int = 20
    spacing_m: float = 1.0
    cells_per_spacing: int = 3
    layers: int = 10
    padding_cells: int | None = None
    separations: int = 6
    dipole_lengths: tuple[int, ...] = (1, 2)
    background_ohm_m: float = 100.0
    phase_mrad: float = -5.0
    block: Block | None = field(default=Block(7.0, 1.0, 3.0, 2.0, 25.0, -20.0))
    modelling: bool = True
    inversion: bool = True
    volt_text: str | None = None
    noise: Noise | None = field(default=Noise())
    error_percent: float = 2.0
    phase_error_mrad: float = 0.3
    max_iterations: int = 20
    prior_model: str = ""
