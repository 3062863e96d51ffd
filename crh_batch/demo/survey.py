"""Trees of synthetic tomodirs: a survey to try crh-batch on, and many small models to measure it with."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path
from typing import Literal

from crh_batch.demo.files import measurements_of, require_unused, tomodir_files, write_files
from crh_batch.demo.spec import Block, Noise, TomodirSpec
from crh_batch.errors import UsageError

TOMODIRS_A_LINE = 6
MODELS_A_FOLDER = 100
TIME_LAPSE_ITERATIONS = 2


def write_demo(
    directory: str | os.PathLike[str], count: int = 12, *, with_broken: bool = False, seed: int = 1
) -> list[str]:
    """Make a small survey: ``line1/td00_2D``, ``line1/td01_2.5D`` and so on, six tomodirs a line.

    Every tomodir has both stages, modelling and the inversion of what was modelled, with noise. They differ in the
    block that is hidden in the ground. Measured on one core: 0.4 to 0.8 s of processor time for one
    in 2D, 2.3 to 4.5 s in 2.5D.

    Args:
        directory: does not exist or is empty.
        count: number of tomodirs.
        with_broken: add one that only the program itself finds at fault: its crt.noisemod asks for noise of
            200 percent instead of 2.00, some resistances become negative, and after a good modelling CRTomo ends
            with status 0, "STOP -1" and "Magnitude <= 0" in exe/error.dat (measured).
        seed: the same seed makes the same files; the first tomodirs don't depend on ``count``.

    Returns:
        The tomodirs' paths relative to ``directory``, in the order of their numbers.

    Raises:
        UsageError: there is something in ``directory``, or ``count`` is below 1.
    """
    _require_count(count)
    require_unused(directory)
    draw = random.Random(seed)
    specs = [_survey_spec(number, draw) for number in range(count)]
    names = [f"td{number:02d}_{spec.dims}" for number, spec in enumerate(specs)]
    if with_broken:
        specs.append(dataclasses.replace(specs[0], noise=Noise(magnitude_percent=200.0)))
        names.append(f"td{count:02d}_{specs[0].dims}_broken")
    paths = [f"line{number // TOMODIRS_A_LINE + 1}/{name}" for number, name in enumerate(names)]
    for path, spec in zip(paths, specs):
        write_files(Path(directory, path), tomodir_files(spec))
    return paths


def write_time_lapse(
    directory: str | os.PathLike[str],
    steps: int = 5,
    *,
    dims: Literal["2D", "2.5D"] = "2D",
    fan_out: bool = False,
    seed: int = 1,
) -> list[str]:
    """Make a time-lapse survey: ``time0``, ``time1`` and so on; each inversion starts from another one's last model.

    The block in the ground becomes wider and more conductive. An inversion may make two iterations, so that the name of
    its last model, ``inv/rho02.modl``, is known beforehand (seen: each of 5 steps makes two, in 2D and 2.5D).

    Args:
        directory: does not exist or is empty.
        steps: number of tomodirs.
        fan_out: all start from ``time0``, instead of each from the one before it.
        seed: the same seed makes the same files.

    Returns:
        The tomodirs' paths relative to ``directory``, in their order.

    Raises:
        UsageError: there is something in ``directory``, or ``steps`` is below 1.
    """
    _require_count(steps)
    require_unused(directory)
    paths = [f"time{number}" for number in range(steps)]
    for number, path in enumerate(paths):
        block = Block(4.0, 1.0, 3.0 + 0.5 * number, 2.0, 25.0 / (1 + 0.2 * number), -20.0)
        source = paths[0 if fan_out else number - 1]
        spec = TomodirSpec(
            dims=dims,
            electrodes=16,
            block=block,
            noise=Noise(seed=seed + number),
            max_iterations=TIME_LAPSE_ITERATIONS,
            prior_model=f"../../{source}/inv/rho{TIME_LAPSE_ITERATIONS:02d}.modl" if number else "",
        )
        write_files(Path(directory, path), tomodir_files(spec))
    return paths


def write_small_models(
    directory: str | os.PathLike[str], count: int, *, data: int = 2000, electrodes: int = 64, seed: int = 1
) -> list[str]:
    """Make many 2D tomodirs with nothing but a modelling of about 20 ms: what a batch costs, not what CRMod does.

    They share mesh and measurements and differ in the resistivity of their block. About 80 KB each, 1,000 in a
    second or two; ``00000/td00000`` and so on, a hundred a folder.

    Args:
        directory: does not exist or is empty.
        count: number of tomodirs.
        data: measurements of each, which CRMod's time and volt.dat grow with.
        electrodes: electrodes of each, which the mesh grows with.
        seed: the same seed makes the same files.

    Returns:
        The tomodirs' paths relative to ``directory``, in order.

    Raises:
        UsageError: there is something in ``directory``, ``count`` or ``data`` is below 1, or a line of so many
            electrodes has fewer measurements than ``data``.
    """
    _require_count(count)
    require_unused(directory)
    files, rho_template = _small_model(data, electrodes)
    draw = random.Random(seed)
    paths = [f"{number // MODELS_A_FOLDER:05d}/td{number:05d}" for number in range(count)]
    for path in paths:
        files["rho/rho.dat"] = rho_template.replace("?", f"{draw.uniform(10, 1000):.2f}")
        write_files(Path(directory, path), files)
    return paths


def _survey_spec(number: int, draw: random.Random) -> TomodirSpec:
    """Draw the next tomodir of a survey: 2D and 2.5D by turns, two conductive blocks and two resistive ones."""
    conductive = number // 2 % 2 == 0
    spec = TomodirSpec(dims="2.5D" if number % 2 else "2D", electrodes=20 if number % 2 else 24)
    length_m = (spec.electrodes - 1) * spec.spacing_m
    width_m = round(draw.uniform(2.5, 4.0), 2)
    block = Block(
        x_m=round(draw.uniform(3.0, length_m - 3.0 - width_m), 2),
        depth_m=round(draw.uniform(0.6, 1.2), 2),
        width_m=width_m,
        height_m=round(draw.uniform(1.5, 2.5), 2),
        ohm_m=round(draw.uniform(15, 40) if conductive else draw.uniform(250, 500), 1),
        phase_mrad=round(draw.uniform(-30, -15), 1),
    )
    return dataclasses.replace(spec, block=block, noise=Noise(seed=draw.randint(1, 9999)))


def _small_model(data: int, electrodes: int) -> tuple[dict[str, str], str]:
    """Give the files of a small model, and its rho.dat with "?" for the block's resistivity.

    Ten thousand times the same grid would take minutes; one text and a replacement take seconds.
    """
    spec = TomodirSpec(
        dims="2D",
        electrodes=electrodes,
        cells_per_spacing=1,
        layers=12,
        padding_cells=6,
        separations=9,
        dipole_lengths=(1, 2, 3, 4, 5, 6),
        block=Block(electrodes / 2 - 4, 1.0, 8.0, 4.0, float("inf"), -20.0),
        inversion=False,
    )
    available = len(measurements_of(spec))
    if not 1 <= data <= available:
        raise UsageError(
            f"{data} measurements were asked for; a line of {electrodes} electrodes has 1 to {available} here.",
            "Ask for a number in that range, or for more electrodes.",
        )
    files = tomodir_files(spec)
    lines = files["config/config.dat"].splitlines()[1 : data + 1]
    files["config/config.dat"] = "\n".join([str(data), *lines]) + "\n"
    return files, files["rho/rho.dat"].replace("inf", "?")


def _require_count(count: int) -> None:
    if count < 1:
        raise UsageError(f"{count} tomodirs were asked for.", "Ask for 1 or more.")
