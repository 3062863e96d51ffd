"""`crh-batch profile` on a real scheduler: what init writes can be used, and test says what is fine and what is not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clusters.cluster import Cluster
from conftest import Crh, wait_until
from crh_batch.demo import write_small_models
from crh_batch.profile_files import load_profile

# Both hold a job back until somebody lets it go.
HOLD = {"slurm": "#SBATCH --hold", "sge": "#$ -h"}


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    directory = tmp_path / "it's a survey"
    directory.mkdir()
    return directory


def findings(stdout: str) -> dict[str, dict[str, Any]]:
    return {one["subject"]: one for one in json.loads(stdout)["findings"]}


def test_profile_when_it_was_made_by_init_then_its_trial_is_fine_and_a_broken_one_says_what_to_change(
    cluster: Cluster, survey: Path, tmp_path: Path, programs: Path, crh: Crh
) -> None:
    said = crh("profile", "init", "--scheduler", cluster.scheduler, cwd=survey, local=False, code=2).stderr
    assert "exists already" in said, "the fixture has written one"
    said = crh("profile", "init", "--scheduler", cluster.scheduler, "--force", cwd=survey, local=False).stderr
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "crh-batch" / "profile.toml"
    (copy,) = path.parent.glob("profile.toml.*")
    assert f"wrote {path}" in said and f"kept the former one as {copy}" in said
    assert copy.read_text() == f'scheduler = "{cluster.scheduler}"\n'
    profile = load_profile(str(survey))
    assert (profile.scheduler, profile.time_minutes) == (cluster.scheduler, 1440)
    assert (profile.partition, profile.memory_resource, profile.parallel_environment) == (
        ("work", "", "") if cluster.scheduler == "slurm" else ("", "h_vmem", "smp")
    )

    other = tmp_path / "other"
    other.mkdir()
    # A real CRTomo that wants a library which no node has.
    crtomo = tmp_path / "CRTomo"
    crtomo.write_bytes((programs / "CRTomo_stable").read_bytes().replace(b"libgfortran.so.5", b"libgfortrax.so.5"))
    crtomo.chmod(0o755)
    broken = tmp_path / "broken.toml"
    broken.write_text(f'scratch = "/proc/none"\ncrtomo = "{crtomo}"\ncrmod = "/no/such/CRMod"\n')
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(crh, "profile", "test", "--json", cwd=survey, local=False)
        bad = pool.submit(crh, "profile", "test", "--json", "--profile", broken, cwd=other, local=False, code=1)
    found = json.loads(good.result().stdout)
    assert found["ok"], found["findings"]
    texts = {one["subject"]: one["text"] for one in found["findings"]}
    assert re.fullmatch(r"two jobs, on (n\d) and (?!\1)n\d", texts["nodes"])
    assert "150 tried by 2 jobs at once" in texts["names"] and "none twice" in texts["names"]
    assert "there and back" in texts["filesystem"]
    assert texts["CRMod"] == texts["CRTomo"] == "starts, with 2 threads"
    for job in found["jobs"]:
        ((name, seconds),) = job["found"]["signals"][:1]
        assert name == "SIGUSR1" and 0 < seconds < 75
        assert 100 < job["found"]["time_left_s"] <= 121

    changes = {subject: one for subject, one in findings(bad.result().stdout).items() if one["level"] == "change"}
    assert set(changes) == {"programs", "scratch", "CRTomo"}
    assert "/no/such/CRMod: not a file that can be executed" in changes["programs"]["text"]
    assert "/proc/none: can't be used: No such file or directory" in changes["scratch"]["text"]
    assert "libgfortrax.so.5" in changes["CRTomo"]["text"]
    assert "lacks libgfortrax.so.5: load a module" in changes["CRTomo"]["advice"]
    assert list(survey.iterdir()) == list(other.iterdir()) == [], "nothing is left behind"

    write_small_models(survey, 2, data=60, electrodes=16)
    crh("submit", "--wait", "--collect", cwd=survey, local=False)
    assert json.loads(crh("status", "--json", cwd=survey, local=False).stdout)["complete"]


def test_profile_when_it_asks_for_what_is_not_there_then_it_is_said_before_any_job(
    cluster: Cluster, survey: Path, crh: Crh
) -> None:
    path = survey / "crh-batch.toml"
    path.write_text('partition = "nowhere"\n')
    said = crh("profile", "test", cwd=survey, local=False, code=2).stderr
    assert f"{path}: partition nowhere: " in said
    path.write_text('partition = "short"\ntime_minutes = 3\n')
    said = crh("profile", "test", cwd=survey, local=False, code=2).stderr
    assert "3 minutes: short allows 2 minutes" in said
    write_small_models(survey / "line", 1, data=60, electrodes=16)
    said = crh("submit", cwd=survey, local=False, code=2).stderr
    assert "3 minutes: short allows 2 minutes" in said
    # Both are allowed, one fits; the batch was kept, and goes on.
    path.write_text('partition = "short,work"\ntime_minutes = 3\n')
    said = crh("submit", "--wait", "--collect", cwd=survey, local=False).stderr
    scripts = list((survey / ".crh-batch").glob("*/jobs/*.sh"))
    option = {"slurm": "--partition=work", "sge": "-q work"}[cluster.scheduler]
    assert [option in script.read_text().replace("short,", "") for script in scripts] == [True]
    assert "short" not in scripts[0].read_text()


def test_profile_test_when_the_job_does_not_begin_then_it_says_why_and_cancels_it(
    cluster: Cluster, survey: Path, crh: Crh
) -> None:
    (survey / "crh-batch.toml").write_text(f'extra_directives = ["{HOLD[cluster.scheduler]}"]\n')
    done = crh("profile", "test", "--timeout", "5", "--json", cwd=survey, local=False, code=1)
    said = findings(done.stdout)["queue"]["text"]
    assert {"slurm": "PENDING (JobHeldUser)", "sge": "hqw"}[cluster.scheduler] in said
    _nothing_is_left(cluster, survey, done.stderr)


def test_profile_test_when_it_is_interrupted_then_the_job_is_cancelled(cluster: Cluster, survey: Path) -> None:
    (survey / "crh-batch.toml").write_text(f'extra_directives = ["{HOLD[cluster.scheduler]}"]\n')
    log = survey.parent / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "crh_batch", "profile", "test"], cwd=survey, stderr=stream, start_new_session=True
        )
    wait_until("the job waits", lambda: "waits:" in log.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "the job was cancelled" in log.read_text() and "Traceback" not in log.read_text()
    _nothing_is_left(cluster, survey, log.read_text())


def _nothing_is_left(cluster: Cluster, survey: Path, said: str) -> None:
    job_id = re.findall(r"submitted \w+ array (\d+)", said)[0]
    assert set(cluster.states(job_id).values()) <= {"CANCELLED"}
    assert [path.name for path in survey.iterdir()] == ["crh-batch.toml"]
