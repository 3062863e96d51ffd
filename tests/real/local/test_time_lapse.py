"""Tomodirs that take results of others, with the real programs: in order, from the packs, as if run by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from conftest import Crh, tree_sums, wait_until
from crh_batch.demo import write_time_lapse
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import holder_of, read_events
from gate import Gate

# What a run by hand doesn't leave, or differently each time: process ids, our own files.
OURS = ("crh.json", "crh.modelling.out", "crh.modelling.err", "crh.inversion.out", "crh.inversion.err")
LAST = "inv/rho02.modl"


def by_hand(root: Path, paths: Iterable[str], programs: Path) -> dict[str, dict[str, str]]:
    """Run the programs in the tomodirs themselves, one after another; return the sums of all files."""
    for path in paths:
        for program in ("CRMod_stable", "CRTomo_stable"):
            surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                [programs / program],
                cwd=root / path / "exe",
                capture_output=True,
                text=True,
                env=surroundings,
                check=True,
            )
            assert "STOP 0" in done.stderr, (path, done.stderr)
    return {path: results_in(root / path) for path in paths}


def results_in(tomodir: Path) -> dict[str, str]:
    """The sums of all files that a run makes or reads; run.ctr holds times."""
    skipped = (*OURS, "run.ctr", "crtomo.pid", "crmod.pid")
    return tree_sums(tomodir, skip=skipped)


@pytest.fixture
def survey(tmp_path: Path, programs: Path) -> Path:
    """Five steps, each starting from the last model of the one before."""
    write_time_lapse(tmp_path / "survey", 5)
    return tmp_path / "survey"


def expected(tmp_path: Path, programs: Path, count: int, *, fan_out: bool = False) -> dict[str, dict[str, str]]:
    paths = write_time_lapse(tmp_path / "by-hand", count, fan_out=fan_out)
    return by_hand(tmp_path / "by-hand", paths, programs)


def newest(root: Path) -> Batch:
    return Batch(batches_of(str(root))[-1])


def times(batch: Batch) -> dict[str, tuple[float, float]]:
    """When each tomodir was claimed and when it was done."""
    found = {}
    for item in batch.items:
        token = holder_of(batch.paths.name(item.item_id, "done")) or ""
        events = [one for one in read_events(batch.paths, token) if one.get("id") == item.item_id]
        claimed = max(one["time"] for one in events if one["event"] == "claim")
        (done,) = (one["time"] for one in events if one["event"] == "done")
        found[item.path] = (claimed, done)
    return found


def status(crh: Crh, root: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(crh("status", "--json", "--all", cwd=root, code=None).stdout)
    return answer


def counts(crh: Crh, root: Path) -> dict[str, int]:
    return {name: number for name, number in status(crh, root)["counts"].items() if number}


def start_pilot(batch: Batch, *arguments: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", batch.paths.pilot, batch.paths.directory, *arguments]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def gated(root: Path, directory: Path, programs: Path) -> Gate:
    """Have a survey use programs behind a gate, which is closed."""
    gate = Gate(directory / "gate", programs)
    (root / "crh-batch.toml").write_text(gate.profile)
    return gate


def register_only(crh: Crh, root: Path) -> Batch:
    """Make a batch and end the pilot that submit starts before it can have finished anything."""
    crh("submit", cwd=root)
    batch = newest(root)
    kill_pilot(batch)
    return batch


def kill_pilot(batch: Batch) -> None:
    """Kill the pilot that submit started, and wait until it is gone."""
    lines = Path(batch.paths.submissions).read_text().splitlines()
    pid = next(json.loads(line)["process"]["pid"] for line in lines if '"started"' in line)
    os.kill(pid, signal.SIGKILL)
    wait_until("the pilot is gone", lambda: not Path(f"/proc/{pid}/cmdline").exists() or is_zombie(pid))


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_run_when_a_chain_of_five_then_in_order_and_as_by_hand(
    crh: Crh, survey: Path, tmp_path: Path, programs: Path
) -> None:
    done = crh("run", "-j", "3", cwd=survey)
    assert "5 of 5 finished" in done.stderr
    when = times(newest(survey))
    for number in range(1, 5):
        assert when[f"time{number}"][0] > when[f"time{number - 1}"][1], "claimed after the other one was done"
    assert {path: results_in(survey / path) for path in when} == expected(tmp_path, programs, 5)
    assert counts(crh, survey) == {"collected": 5}
    assert not list(survey.glob("*.crh"))


def test_run_when_an_old_result_lies_there_then_the_new_one_is_taken(
    crh: Crh, survey: Path, tmp_path: Path, programs: Path
) -> None:
    (survey / "time0" / LAST).write_text("1197\n" + "1.0 0.0\n" * 1197)
    crh("run", "-j", "2", cwd=survey)
    assert {f"time{n}": results_in(survey / f"time{n}") for n in range(5)} == expected(tmp_path, programs, 5)


def make_difference(root: Path) -> None:
    """Make time0 a DC inversion and time1 the inversion of its difference to that: data, model, response from there."""
    for step, settings in {
        "time0": {16: "T"},
        "time1": {
            6: "T",
            7: "../../time0/mod/volt.dat",
            8: "../../time0/inv/rho02.mag",
            9: "../../time0/inv/volt02.dat",
            16: "T",
        },
    }.items():
        cfg = root / step / "exe" / "crtomo.cfg"
        lines = cfg.read_text().split("\n")
        places = [place for place, line in enumerate(lines) if not line.startswith("#")]
        for number, value in settings.items():
            lines[places[number - 1]] = value
        cfg.write_text("\n".join(lines))


def test_run_when_a_difference_inversion_then_data_model_and_response_are_the_other_ones(
    crh: Crh, tmp_path: Path, programs: Path
) -> None:
    root, hand = tmp_path / "survey", tmp_path / "by-hand"
    for place in (root, hand):
        write_time_lapse(place, 2)
        make_difference(place)
    crh("run", "-j", "2", cwd=root)
    assert {path: results_in(root / path) for path in ("time0", "time1")} == by_hand(hand, ["time0", "time1"], programs)
    provenance = json.loads((root / "time1/exe/crh.json").read_text())
    taken = {name for name in provenance["stages"]["inversion"]["inputs"] if name.startswith("../")}
    assert taken == {"../time0/mod/volt.dat", "../time0/inv/rho02.mag", "../time0/inv/volt02.dat"}


def test_check_and_dry_run_when_one_waits_then_they_say_for_whom(crh: Crh, survey: Path) -> None:
    assert "waits for time3" in crh("check", cwd=survey).stdout
    said = json.loads(crh("check", "--json", cwd=survey).stdout)
    assert {one["path"]: one["after"] for one in said["tomodirs"]}["time4"] == ["time3"]
    assert "waits for time0" in crh("submit", "--dry-run", cwd=survey).stdout


def test_check_when_there_is_a_cycle_then_it_is_shown_and_nothing_of_it_is_submitted(crh: Crh, survey: Path) -> None:
    cfg = survey / "time1" / "exe" / "crtomo.cfg"
    cfg.write_text(cfg.read_text().replace("../../time0/", "../../time3/"))
    said = crh("check", cwd=survey, code=1).stderr
    assert "time1 -> time3 -> time2 -> time1" in said
    crh("run", "-j", "2", cwd=survey, code=1)
    assert counts(crh, survey) == {"collected": 1}


def test_pilots_when_six_wait_for_one_then_three_share_them_as_soon_as_it_is_done(
    crh: Crh, tmp_path: Path, programs: Path
) -> None:
    root = tmp_path / "survey"
    write_time_lapse(root, 7, fan_out=True)
    gate = gated(root, tmp_path, programs)
    crh("submit", "-j", "1", cwd=root)
    batch = newest(root)
    pilots = [start_pilot(batch, "--cores", "1") for _ in range(2)]
    wait_until("somebody runs time0", lambda: counts(crh, root) == {"running": 1, "waiting": 6}, pause_s=0.2)
    assert [pilot.poll() for pilot in pilots] == [None, None], "they have nothing to do, and stay"
    gate.open()
    wait_until("time0 is done", lambda: os.path.lexists(batch.paths.name(0, "done")))
    # They look again after some seconds, and these runs are short.
    gate.close()
    wait_until("all three have work", lambda: len(holders(batch)) == 3, pause_s=0.2)
    gate.open()
    for pilot in pilots:
        assert pilot.wait(60) == 0
    wait_until("all is done", lambda: counts(crh, root) == {"done": 7}, pause_s=0.2)
    crh("collect", cwd=root)
    assert {f"time{n}": results_in(root / f"time{n}") for n in range(7)} == expected(
        tmp_path, programs, 7, fan_out=True
    )


def holders(batch: Batch) -> set[str]:
    """Return the sessions that have begun anything."""
    found = (holder_of(batch.paths.name(item_id, "claim.001")) for item_id in batch.items.ids)
    return {token for token in found if token}


def test_pilot_when_killed_in_the_chain_then_the_next_one_goes_on_from_the_packs(
    crh: Crh, survey: Path, tmp_path: Path, programs: Path
) -> None:
    gate = gated(survey, tmp_path, programs)
    gate.open()
    crh("submit", "-j", "1", cwd=survey)
    batch = newest(survey)
    wait_until("time0 is done", lambda: os.path.lexists(batch.paths.name(0, "done")))
    gate.close()
    kill_pilot(batch)
    finished = sum(os.path.lexists(batch.paths.name(number, "done")) for number in range(5))
    assert 1 <= finished < 5
    assert not (survey / "time0" / LAST).exists(), "nothing is collected yet"
    gate.open()
    crh("run", "-j", "2", cwd=survey)
    assert {f"time{n}": results_in(survey / f"time{n}") for n in range(5)} == expected(tmp_path, programs, 5)


def test_run_when_the_source_makes_fewer_iterations_then_the_dependent_says_what_there_is(
    crh: Crh, survey: Path
) -> None:
    cfg = survey / "time1" / "exe" / "crtomo.cfg"
    cfg.write_text(cfg.read_text().replace("rho02.modl", "rho05.modl"))
    done = crh("run", "-j", "2", cwd=survey, code=1)
    assert "the run of time0 did not make inv/rho05.modl" in done.stdout
    assert "inv/rho02.modl" in done.stdout
    assert counts(crh, survey) == {"collected": 1, "failed": 1, "waiting": 3}
    assert "time4: waits for time1, which is failed (input)" in done.stderr
    stuck = crh("status", cwd=survey, code=1)
    assert "3 of them in vain" in stuck.stdout
    crh("wait", cwd=survey, code=1, timeout_s=20)

    cfg.write_text(cfg.read_text().replace("rho05.modl", "rho02.modl"))
    crh("run", "-j", "2", cwd=survey)
    assert not list(survey.glob("*.crh"))
    assert (survey / "time4" / LAST).exists(), "those that waited in vain went with it to the new batch"


def test_collect_when_the_source_was_changed_afterwards_then_the_dependent_is_refused(
    crh: Crh, survey: Path, tmp_path: Path
) -> None:
    crh("submit", "-j", "2", "--wait", cwd=survey)
    crh("collect", survey / "time0", cwd=survey, code=None)
    assert counts(crh, survey) == {"collected": 1, "done": 4}
    (survey / "time0" / LAST).write_text("changed by hand\n")
    refused = crh("collect", cwd=survey, code=1).stderr
    assert "time1: changed since it was run: ../time0/inv/rho02.modl" in refused
    assert "time2: took the result of time1, which was not put in place" in refused
    assert counts(crh, survey) == {"collected": 1, "done": 4}
    crh("collect", "--force", cwd=survey)
    assert counts(crh, survey) == {"collected": 5}


def test_submit_when_an_older_batch_has_the_source_then_it_waits_for_its_collect(
    crh: Crh, survey: Path, tmp_path: Path, programs: Path
) -> None:
    crh("submit", "-j", "1", "--wait", "time0", cwd=survey)
    said = crh("submit", "time1", cwd=survey, code=None).stderr
    assert "time1" in said
    assert "time0 of batch" in said
    assert "which is done" in said
    crh("collect", "time0", cwd=survey, code=None)
    crh("run", "-j", "2", cwd=survey)
    assert {f"time{n}": results_in(survey / f"time{n}") for n in range(5)} == expected(tmp_path, programs, 5)


def test_cancel_and_hold_when_one_waits_then_it_is_given_up_or_held(
    crh: Crh, survey: Path, tmp_path: Path, programs: Path
) -> None:
    gated(survey, tmp_path, programs)
    batch = register_only(crh, survey)
    crh("cancel", "time4", cwd=survey)
    assert counts(crh, survey)["failed"] == 1
    crh("hold", "time3", cwd=survey)
    found = counts(crh, survey)
    assert (found["held"], found["waiting"]) == (1, 2)
    assert len(batch.items) == 5


def test_pilot_when_the_pack_is_gone_and_the_source_collected_then_the_tomodir_s_own_is_taken(
    crh: Crh, survey: Path, tmp_path: Path, programs: Path
) -> None:
    gate = gated(survey, tmp_path, programs)
    gate.open()
    crh("submit", "-j", "1", cwd=survey)
    batch = newest(survey)
    wait_until("time0 is done", lambda: os.path.lexists(batch.paths.name(0, "done")))
    gate.close()
    kill_pilot(batch)
    crh("collect", cwd=survey, code=None)
    for pack in Path(batch.paths.packs).iterdir():
        pack.unlink()
    gate.open()
    crh("run", "-j", "1", cwd=survey)
    assert {f"time{n}": results_in(survey / f"time{n}") for n in range(5)} == expected(tmp_path, programs, 5)
