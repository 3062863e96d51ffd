"""Real tomodirs with results measured elsewhere: through Slurm alone, for results don't depend on the scheduler."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from clusters.slurm_cluster import SlurmCluster
from conftest import Crh, tree_sums

pytestmark = [pytest.mark.slurm, pytest.mark.long]

SHARED = Path(os.environ.get("CRH_BATCH_SHARED") or Path(__file__).parents[4] / "shared") / "tomodirs"
TOO_SLOW_S = 30.0


def test_shared_tomodirs_give_the_measured_results(slurm_env: SlurmCluster, tmp_path: Path, crh: Crh) -> None:
    """Those that take long are planned, not run."""
    survey = tmp_path / "survey"
    survey.mkdir()
    if not (SHARED / "expected.json").is_file():
        pytest.skip(f"no real tomodirs beside this checkout ({SHARED})")
    expected = json.loads((SHARED / "expected.json").read_text())["tomodirs"]
    shutil.copytree(SHARED, survey / "shared")
    before = tree_sums(survey)
    seconds = {one["path"]: _seconds(one) for one in expected}
    slow = {path for path, needed in seconds.items() if needed > TOO_SLOW_S}
    assert slow == {"IndividualErrors_01", "Inversion2.5D_td", "td_large"}
    wanted = [one["path"] for one in expected if one["path"] not in slow]
    (survey / "list").write_text("".join(f"shared/{path}\n" for path in wanted))
    before["list"] = tree_sums(survey)["list"]

    submitted = crh("submit", "--from-file", "list", "--wait", "--collect", cwd=survey, local=False, timeout_s=280)
    assert "not_runnable" in submitted.stderr
    for one in expected:
        runs = {**one["runs"], **one.get("runs_with_mod_pot_made", {})}
        if one["path"] in slow or one["path"] == "not_runnable" or not one["needs"]:
            continue
        for kind in one["needs"]:
            result, sha256 = runs[kind][0].get("result"), runs[kind][0].get("sha256")
            if result:
                assert tree_sums(survey / "shared" / one["path"])[result] == sha256, one["path"]
    after = tree_sums(survey, skip=[".crh-batch"])
    replaced = {f"shared/Electrode_Capacitances/exe/{name}" for name in ("error.dat", "crmod.pid")} | {
        name for name in before if name.startswith(("shared/DC_Problem_DC/inv/", "shared/DC_Problem_DC/exe/"))
    }
    assert {name: after.get(name) for name in before if name not in replaced} == {
        name: before[name] for name in before if name not in replaced
    }


def _seconds(one: dict[str, Any]) -> float:
    return sum(float(runs[0]["wall_s_indicative"]) for runs in one["runs"].values())
