"""Readers of what lies in tomodirs, with files of the demo and of real surveys."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from crh_batch.demo.survey import write_demo
from crh_batch.errors import TomodirError
from crh_batch.ledger.collect import _provenance_batch
from crh_batch.tomodir.crmod_cfg import read_crmod_cfg
from crh_batch.tomodir.crtomo_cfg import read_crtomo_cfg
from crh_batch.tomodir.error_dat import read_error_dat
from crh_batch.tomodir.inv_ctr import is_finished, read_curve, read_progress
from crh_batch.tomodir.measurements import read_measurements, volt_is_complete
from crh_batch.tomodir.mesh import read_mesh
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.outcome import Exit, judge_crmod, judge_crtomo
from crh_batch.tomodir.provenance import was_done
from crh_batch.tomodir.stage import StageName
from unit.fuzz.reader import Reader

# Real tomodirs beside the checkout, where there are any.
SHARED = Path(os.environ.get("CRH_BATCH_SHARED") or Path(__file__).parents[4] / "shared") / "tomodirs"
_OF_MODELLING = ("exe/crmod.cfg", "config/config.dat", "rho/rho.dat")
_LARGEST_EXAMPLE = 300_000


def of_tomodirs(scratch: Path) -> list[Reader]:
    write_demo(scratch / "demo", count=2, seed=1)
    tomodir = next(path.parent.parent for path in sorted((scratch / "demo").rglob("exe/crtomo.cfg")))
    _as_if_finished(tomodir)
    examples = [scratch / "demo", *([SHARED] if SHARED.is_dir() else [])]

    def described(name: str, direct: Callable[[str], object]) -> Callable[[bytes], object]:
        place = tomodir / name
        before = place.read_bytes() if place.exists() else None
        # What has finished, or was modelled, is hardly looked at.
        hidden = {"inv/inv.ctr", "mod/volt.dat"} if name in _OF_MODELLING else {"inv/inv.ctr"} - {name}

        def read(data: bytes) -> object:
            kept = {one: (tomodir / one).read_bytes() for one in hidden}
            for one in hidden:
                (tomodir / one).unlink()
            place.write_bytes(data)
            try:
                with contextlib.suppress(TomodirError):
                    direct(str(place))
                return json.dumps(dataclasses.asdict(describe(str(tomodir))))
            finally:
                if before is None:
                    place.unlink()
                else:
                    place.write_bytes(before)
                for one, content in kept.items():
                    (tomodir / one).write_bytes(content)

        return read

    def judged(path: str) -> object:
        for judge, spec in ((judge_crmod, {"result": "mod/volt.dat"}), (judge_crtomo, {"inv_dirs": ["inv"]})):
            judge(str(tomodir), Exit(0, "STOP -1\n"), spec)
        return read_error_dat(path)

    def followed(path: str) -> object:
        judge_crtomo(str(tomodir), Exit(0, "STOP 0\n"), {"inv_dirs": ["inv"]})
        return is_finished(path), read_progress(path), read_curve(path)

    elem, elec = str(tomodir / "grid" / "elem.dat"), str(tomodir / "grid" / "elec.dat")
    table: list[tuple[str, Callable[[str], object], tuple[str, ...]]] = [
        ("exe/crmod.cfg", read_crmod_cfg, ("tomodir.crmod_cfg.read_crmod_cfg",)),
        ("exe/crtomo.cfg", read_crtomo_cfg, ("tomodir.crtomo_cfg.read_crtomo_cfg",)),
        ("grid/elem.dat", lambda path: read_mesh(path, elec), ("tomodir.mesh.read_mesh",)),
        ("grid/elec.dat", lambda path: read_mesh(elem, path), ()),
        ("config/config.dat", read_measurements, ("tomodir.measurements.read_measurements",)),
        ("mod/volt.dat", volt_is_complete, ()),
        ("rho/rho.dat", lambda path: None, ()),
        ("inv/inv.ctr", followed, ("tomodir.inv_ctr.read_progress", "tomodir.inv_ctr.read_curve")),
        ("exe/error.dat", judged, ("tomodir.error_dat.read_error_dat",)),
        ("exe/crt.noisemod", lambda path: None, ()),
        ("exe/crh.json", lambda path: _provenance(tomodir), ()),
    ]
    readers = [
        Reader(
            name, _with_own(tomodir / name, _examples(name, examples)), described(name, direct), (TomodirError,), covers
        )
        for name, direct, covers in table
    ]
    stderr = [b"STOP 0\n", b"Program received signal SIGSEGV\n#0  0x7f\nSTOP -1\n", b"Error allocating 800 bytes\n"]

    def end(data: bytes) -> object:
        said = Exit(data[0] if data else 0, data.decode("utf-8", "replace"))
        return judge_crmod(str(tomodir), said, {}), judge_crtomo(str(tomodir), said, {})

    return [*readers, Reader("stderr of programs", stderr, end, ())]


def _as_if_finished(tomodir: Path) -> None:
    """Results as CRMod and CRTomo leave them; those of a real run where there are any at hand."""
    inv_ctr = (
        b"##\n## Git-Branch master\n## Git-ID     cb89\n\n# Model parameters                  4\n"
        b"# Data points                       3\n\n # wavenumbers :                                  7\n"
        b" IT   0    119.5                 119.5             NaN     0\n***finished***\n"
    )
    error_dat = b" CRTomo PID 12 exited abnormally\n" + b"allocation problem sens".ljust(80) + b" 97 0\nout of memory\n"
    provenance = b'{"schema": 1, "batch": "20261122-101500-aaaa", "id": 0, "stages": {"modelling": {"outcome": "done",'
    provenance += b' "inputs": {"exe/crmod.cfg": "00", "grid/elem.dat": "11"}}}}'
    config = (tomodir / "config" / "config.dat").read_bytes() if (tomodir / "config").is_dir() else b"1\n10002 30004\n"
    rows = config.split(b"\n")
    volt = b"\n".join([rows[0], *(row + b" 1.25 0.0" for row in rows[1:] if row.strip())]) + b"\n"
    crmod = (
        b"***FILES***\n../grid/elem.dat\n../grid/elec.dat\n../rho/rho.dat\n../config/config.dat\nF\n../mod/pot/pot.dat\n"
        b"T\n../mod/volt.dat\nF\n../mod/sens/sens.dat\nF\n1\nF\n1660\nF\nboundary.dat\n"
    )
    for name, content in {
        "inv/inv.ctr": inv_ctr,
        "exe/error.dat": error_dat,
        "exe/crh.json": provenance,
        "mod/volt.dat": volt,
        "config/config.dat": config,
        "exe/crmod.cfg": crmod,
        "exe/crt.noisemod": b"1\n1.0\n0.1\n0.0\n0.0\n0.0\n0.0\n",
        "rho/rho.dat": b"4\n100.0 0.0\n100.0 0.0\n100.0 0.0\n100.0 0.0\n",
    }.items():
        place = tomodir / name
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            place.write_bytes(content)


def _examples(name: str, trees: Sequence[Path]) -> list[bytes]:
    """Return different files of this name, small ones first."""
    found = {
        path.read_bytes()
        for tree in trees
        for path in tree.rglob(Path(name).name)
        if path.is_file() and path.stat().st_size <= _LARGEST_EXAMPLE
    }
    return sorted(found, key=lambda data: (len(data), data))[:12]


def _with_own(own: Path, others: list[bytes]) -> list[bytes]:
    """Return examples of which every second one is the tomodir's own, which alone fits its other files."""
    content = own.read_bytes()
    return [one for other in others or [content] for one in (content, other)]


def _provenance(tomodir: Path) -> object:
    return _provenance_batch(str(tomodir)), was_done(str(tomodir), StageName.MODELLING, ("exe/crmod.cfg",))
