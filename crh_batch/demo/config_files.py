"""The texts of crmod.cfg, crtomo.cfg and crt.noisemod.

Both programs know a setting by the number of its line. Text behind a number or a letter is ignored, so it explains
the line; nothing may stand behind a path. crtomo.cfg has comments too (lines that begin with #), crmod.cfg has none.
Sources: geophysics-ubonn/titatest, src/fem.f90 (crmod.cfg), src/rall.f90 (crtomo.cfg), src/make_noise.f90.
"""

from __future__ import annotations

from crh_batch.demo.grid import Grid
from crh_batch.demo.spec import Noise, TomodirSpec


def crmod_cfg(spec: TomodirSpec, grid: Grid) -> str:
    """Give the text of exe/crmod.cfg: measurements only, no potentials, no sensitivities."""
    return "\n".join(
        [
            "***FILES***",
            "../grid/elem.dat",
            "../grid/elec.dat",
            "../rho/rho.dat",
            "../config/config.dat",
            "F    ! write potentials?",
            "../mod/pot/pot.dat",
            "T    ! write measurements?",
            "../mod/volt.dat",
            "F    ! write sensitivities?",
            "../mod/sens/sens.dat",
            "F    ! another data set?",
            f"{_dimension(spec)}    ! 2D (=0) or 2.5D (=1)",
            *_boundary_lines(spec, grid),
            "",
        ]
    )


def crtomo_cfg(spec: TomodirSpec, grid: Grid) -> str:
    """Give the text of exe/crtomo.cfg: a complex, smooth inversion from a homogeneous start or a prior model."""
    return "\n".join(
        [
            "1    ! mswitch: write the coverage",
            "../grid/elem.dat",
            "../grid/elec.dat",
            "../mod/volt.dat",
            "../inv",
            "F    ! difference inversion?",
            "# three paths: data, model and response of a reference; the model alone is the starting model",
            "",
            spec.prior_model,
            "",
            "iseed variance    (two numbers here would be noise on a prior model)",
            "0    ! cells in x: a triangulated regularisation needs none",
            "-1   ! cells in z: -1 starts with lambda = number of parameters or data",
            "1.0  ! smoothing in x",
            "1.0  ! smoothing in z",
            f"{spec.max_iterations}   ! iterations at most",
            "F    ! DC inversion?",
            "F    ! robust inversion?",
            "F    ! final phase improvement?",
            "# errors that the inversion assumes",
            f"{spec.error_percent:g}    ! magnitude, relative, percent",
            "1e-6 ! magnitude, absolute, Ohm",
            "0    ! phase: A1, of A1 * R^B + A2/100 * phase + p0",
            "0    ! phase: B",
            "0    ! phase: A2, percent",
            f"{spec.phase_error_mrad:g}  ! phase: p0, mrad",
            "# the homogeneous starting model",
            f"{'F' if spec.prior_model else 'T'}    ! start from it?",
            f"{spec.background_ohm_m:g}  ! Ohm m",
            f"{spec.phase_mrad:g}   ! mrad",
            "F    ! another data set?",
            f"{_dimension(spec)}    ! 2D (=0) or 2.5D (=1)",
            *_boundary_lines(spec, grid),
            "1    ! regularisation: 1 is smoothing over neighbouring cells",
            "lambda",
            "",
        ]
    )


def noisemod(noise: Noise) -> str:
    """Give the text of exe/crt.noisemod, byte for byte as CRTomo writes it.

    CRTomo reads the file and writes it again, in formats I7 and G10.3; a text that is already in its form stays as
    it is, so that running a tomodir does not change its inputs.
    """
    values = [
        (f"{noise.seed:7d}", "Ensemble seed"),
        (_g10_3(noise.magnitude_percent), "Relative error resistance A (noise) [%] von dR=AR+B"),
        (_g10_3(0.0), "Absolute errior resistance B (noise) [Ohm m]"),
        (_g10_3(0.0), "Phase error parameter A1 (noise) [mRad/Ohm/m] von dp=A1*R^B1+A2*p+p0"),
        (_g10_3(0.0), "Phase error parameter B1 (noise) []"),
        (_g10_3(0.0), "Relative phase error A2 (noise) [%]"),
        (_g10_3(noise.phase_mrad), "Absolute phase error p0 (noise) [mRad]"),
    ]
    return "".join(f"{value:<14}# {meaning}\n" for value, meaning in values)


def _g10_3(value: float) -> str:
    """Write a number (0 or above) as Fortran's G10.3 does: three digits, four blanks behind if there is no exponent."""
    if value == 0:
        return "  0.00    "
    exponent = int(f"{value:.2E}"[5:])  # of the rounded value: 0.9996 is 1.00
    if -1 <= exponent <= 2:
        return f"{value:#6.{2 - exponent}f}    "  # '#' keeps the point of "200."
    return f"{value / 10 ** (exponent + 1):.3f}E{exponent + 1:+03d}".rjust(10)


def _dimension(spec: TomodirSpec) -> int:
    return 1 if spec.dims == "2.5D" else 0


def _boundary_lines(spec: TomodirSpec, grid: Grid) -> list[str]:
    """Give the four lines that both files share; in a closed box (2D) the current needs a sink, in a half-space not."""
    return [
        f"{'T' if spec.dims == '2D' else 'F'}    ! fictitious sink?",
        f"{grid.sink_node}  ! its node",
        "F    ! boundary values?",
        "boundary.dat",
    ]
