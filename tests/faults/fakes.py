"""Programs that stand for CRMod and CRTomo where processes are killed by the hundred, and surveys for them.

Each is a shell script of a few lines that takes a millisecond or two. What it writes is told by its inputs alone, is
judged as the real one's output is, and shows which inputs it had, so a result that got into the wrong tomodir, or was
made from a wrong input, is found out.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from crh_batch.demo import Block, TomodirSpec, write_tomodir
from faults.surveys import Survey, survey_of, write_tool

# While this file exists, programs end as with a bad input; while the other one does, they take a little longer.
BROKEN = "BROKEN"
SLOW = "SLOW"
_BEGIN = 'if [ -e "$CRH_BATCH_FAKES/BROKEN" ]; then echo broken > error.dat; echo "STOP -1" >&2; exit 0; fi\n'
_BEGIN += 'if [ -e "$CRH_BATCH_FAKES/SLOW" ]; then sleep 0.02; fi\n'
_CRMOD = (
    _BEGIN
    + """sum=$(cksum < ../rho/rho.dat); sum=${sum% *}
{ read -r count; echo "$count"; while read -r a b rest; do echo "$a $b $sum"; done; } \\
    < ../config/config.dat > ../mod/volt.dat
echo "STOP 0" >&2"""
)
# Line 8 is the model to begin with, if there is one.
_CRTOMO = (
    _BEGIN
    + """prior=$(sed -n 8p crtomo.cfg); prior=${prior%% *}
sum=$(cat crtomo.cfg ../mod/volt.dat $prior | cksum); sum=${sum% *}
cat > ../inv/rho02.modl <<END
1
$sum 0
END
echo "$sum" > ../inv/rho02.mag
printf '***finished***\\n' > ../inv/inv.ctr
echo "STOP 0" >&2"""
)


def write_fakes(directory: Path) -> Path:
    """Write both programs; return their directory, which CRH_BATCH_FAKES must name when they run."""
    directory.mkdir()
    write_tool(directory / "CRMod", _CRMOD)
    write_tool(directory / "CRTomo", _CRTOMO)
    return directory


def spec_of(number: int, *, dims: str = "2D", inversion: bool = False, prior: str = "") -> TomodirSpec:
    """Return the smallest tomodir that there is; its block's resistivity tells it from others."""
    return TomodirSpec(
        dims="2.5D" if dims == "2.5D" else "2D",
        electrodes=6,
        cells_per_spacing=1,
        layers=3,
        padding_cells=2,
        separations=2,
        dipole_lengths=(1,),
        block=Block(2.0, 0.0, 2.0, 1.0, 20.0 + number, -20.0),
        inversion=inversion,
        noise=None,
        max_iterations=2,
        prior_model=prior,
    )


def write_profile(root: Path, programs: Path, **keys: str | int) -> None:
    """Write the survey's profile, with the programs to use."""
    lines = [f'crmod = "{programs / "CRMod"}"', f'crtomo = "{programs / "CRTomo"}"']
    lines += [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in keys.items()]
    (root / "crh-batch.toml").write_text("\n".join(lines) + "\n")


def make_fake_survey(
    root: Path,
    fakes: Path,
    specs: Sequence[TomodirSpec],
    *,
    names: Sequence[str] = (),
    scheduler: str = "local",
) -> Survey:
    """Write tomodirs, and find out beside them what the programs make of each, one after another."""
    paths = tuple(names or [f"line1/td{number:02d}" for number in range(len(specs))])
    root.mkdir(parents=True)
    for path, spec in zip(paths, specs, strict=True):
        write_tomodir(root / path, spec)
    write_profile(root, fakes, scheduler=scheduler, max_pilots=1, time_minutes=10)
    beside = root.with_name(root.name + "-beside")
    shutil.copytree(root, beside)
    finishes = {}
    for path, spec in zip(paths, specs, strict=True):
        finishes[path] = "inv/rho02.modl" if spec.inversion else "mod/volt.dat"
        for program in ("CRMod", "CRTomo") if spec.inversion else ("CRMod",):
            ran = subprocess.run(
                [fakes / program], cwd=beside / path / "exe", capture_output=True, env={"CRH_BATCH_FAKES": str(fakes)}
            )
            assert ran.stderr == b"STOP 0\n", (path, ran)
    survey = survey_of(root, paths, beside, finishes)
    shutil.rmtree(beside)
    return survey
