"""Real tomodirs of public repositories, run by crh-batch: the results are the bytes that the programs alone made.

They lie beside the checkout, in shared/tomodirs, or where CRH_BATCH_SHARED says; expected.json there tells what they
are and what came out. Those that take more than half a minute are planned, not run.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import Crh, skip_or_fail, tree_sums

SHARED = Path(os.environ.get("CRH_BATCH_SHARED") or Path(__file__).parents[4] / "shared") / "tomodirs"
TOO_LONG = ("IndividualErrors_01", "Inversion2.5D_td", "td_large")
STAGES = {"mod": "modelling", "inv": "inversion"}
# Of these, old outputs are replaced or taken away.
OLD_OUTPUTS = {
    "DC_Problem_DC": {"exe/error.dat", "exe/crtomo.pid", "inv/inv.ctr", "inv/run.ctr", "inv/cjg.ctr", "inv/wiggle.ctr"},
    "Electrode_Capacitances": {"exe/error.dat", "exe/crmod.pid"},
}


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, Any]]:
    """What is known of each tomodir, by its path."""
    try:
        listed = json.loads((SHARED / "expected.json").read_text())["tomodirs"]
    except OSError:
        skip_or_fail(f"there are no real tomodirs in {SHARED}")
    return {one["path"]: one for one in listed}


@pytest.fixture
def survey(tmp_path: Path, expected: dict[str, dict[str, Any]]) -> Path:
    """A copy of them all."""
    root = tmp_path / "survey"
    shutil.copytree(SHARED, root)
    return root


def test_check_agrees_with_what_was_measured(
    survey: Path, expected: dict[str, dict[str, Any]], crh: Crh, programs: Path
) -> None:
    before = tree_sums(survey)
    said = json.loads(crh("check", "--json", cwd=survey, code=1).stdout)

    assert [one["path"] for one in said["problems"]] == ["not_runnable"]
    assert "mod/volt.dat" in said["problems"][0]["error"]
    found = {one["path"]: one for one in said["tomodirs"]}
    assert set(found) == set(expected) - {"not_runnable"}
    for path, one in found.items():
        known = expected[path]
        main = "inv" if "inv" in known["kind"] else "mod"
        assert one["stages"] == [STAGES[need] for need in known["needs"]], path
        assert one["dims"] == known["dims"][main], path
        assert one["wavenumbers"] == known["wavenumbers"][main], path
        if one["stages"]:
            widest = max(known["wavenumbers"][need] for need in known["needs"])
            assert one["threads"] == (1 if widest == 1 else min(os.cpu_count() or 1, one["threads"])), path
    assert tree_sums(survey) == before, "check changes nothing"


def test_run_gives_the_bytes_that_were_measured(
    survey: Path, expected: dict[str, dict[str, Any]], crh: Crh, programs: Path
) -> None:
    for path in TOO_LONG:
        shutil.rmtree(survey / path)
    before = {path: tree_sums(survey / path, skip=("skeleton_td",)) for path in expected if path not in TOO_LONG}
    before["nested/skeleton_td"] = tree_sums(survey / "nested/skeleton_td")
    before["skeleton_td"] = tree_sums(survey / "skeleton_td")

    done = crh("run", "-j2", "--json", cwd=survey, code=1, timeout_s=250)
    (batch,) = json.loads(done.stdout)["batches"]
    ran = {path for path, known in expected.items() if known["needs"]} - {"not_runnable", *TOO_LONG}
    assert {one["path"] for one in batch["tomodirs"]} == ran
    assert {one["state"] for one in batch["tomodirs"]} == {"collected"}
    assert batch["complete"]
    assert "1 can't be run" in done.stderr
    assert "not_runnable: " in done.stderr

    for path in sorted(ran):
        _check_results(survey / path, expected[path])
    for path, sums in before.items():
        now = tree_sums(survey / path)
        different = {name for name, sha256 in sums.items() if now.get(name) != sha256}
        assert different <= OLD_OUTPUTS.get(path, set()), f"{path}: the user's files are as they were"
        _check_kept(survey, batch, path, different, sums)
    assert not (survey / "Electrode_Capacitances/exe/error.dat").exists(), "it would lie about the result"
    assert not [path for path in ran for _ in (survey / path / "exe").glob("*.pid")], "they speak of nothing that lives"
    assert not [path for path in survey.rglob("*.crh") if ".crh-batch" not in path.parts]

    again = crh("run", "-j2", cwd=survey, code=1)
    assert "nothing to do" in again.stderr


def _check_results(tomodir: Path, known: dict[str, Any]) -> None:
    """Compare each stage's result with what the same program made, alone, on one thread and on two."""
    runs = {**known["runs"], **known.get("runs_with_mod_pot_made", {})}
    for need in known["needs"]:
        result = runs[need][0]["result"]
        if result is not None:
            assert tree_sums(tomodir)[result] == runs[need][0]["sha256"], f"{tomodir.name}: {result}"
    provenance = json.loads((tomodir / "exe/crh.json").read_text())
    assert list(provenance["stages"]) == [STAGES[need] for need in known["needs"]]
    assert provenance["inputs_changed_by_program"] == []


def _check_kept(survey: Path, batch: dict[str, Any], path: str, names: set[str], sums: dict[str, str]) -> None:
    """Each file that was replaced or taken away lies in the batch's directory."""
    kept = tree_sums(survey / ".crh-batch" / batch["batch"]).items()
    for name in names:
        assert any(place.endswith(f"/{name}") and sha256 == sums[name] for place, sha256 in kept), f"{path}: {name}"
