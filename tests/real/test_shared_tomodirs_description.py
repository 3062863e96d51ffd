"""Real tomodirs, with what is known of each, are described as they are.

They lie beside the checkout, in shared/tomodirs, or where CRH_BATCH_SHARED says; without them nothing is tested here.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import DataError
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.outcome import read_progress
from crh_batch.tomodir.scan import find_tomodirs

SHARED = Path(os.environ.get("CRH_BATCH_SHARED") or Path(__file__).parents[3] / "shared") / "tomodirs"
STAGES = {"mod": "modelling", "inv": "inversion"}


def load_expected() -> list[Any]:
    """Return one parameter a tomodir, or a skipped one if they are not there."""
    try:
        expected = json.loads((SHARED / "expected.json").read_text())
    except OSError:
        return [pytest.param({}, marks=pytest.mark.skip(reason=f"no real tomodirs in {SHARED}"))]
    return [pytest.param(one, id=one["path"]) for one in expected["tomodirs"]]


EXPECTED = load_expected()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A directory for a copy, because nothing may be changed in the shared ones."""
    return tmp_path / "td"


@pytest.mark.parametrize("expected", EXPECTED)
def test_description_when_tomodir_is_real_then_it_agrees_with_what_was_measured(
    expected: dict[str, Any], copy: Path
) -> None:
    shutil.copytree(SHARED / expected["path"], copy)
    if expected.get("blocked"):
        with pytest.raises(DataError, match=r"no mod/volt\.dat") as caught:
            describe(str(copy))
        assert expected["blocked"] == ["inv: ../mod/volt.dat is absent"]
        assert caught.value.path == str(copy / "mod" / "volt.dat")
        return
    found = describe(str(copy))
    assert [stage.name.value for stage in found.stages] == [STAGES[need] for need in expected["needs"]]
    main = "inv" if "inv" in expected["kind"] else "mod"
    assert found.dims == expected["dims"][main]
    assert found.wavenumbers == expected["wavenumbers"][main]
    assert found.size.nodes == expected["nodes"]
    assert found.size.parameters == expected["parameters"]
    assert found.size.electrodes == expected["electrodes"]
    assert found.size.data == expected["data"][main]
    for need, stage in zip(expected["needs"], found.stages):
        assert stage.dims == expected["dims"][need]
        assert stage.wavenumbers == expected["wavenumbers"][need]
        assert stage.size.data == expected["data"][need]
        assert list(stage.outside) == expected["external"]
        for name in stage.inputs:
            assert (copy / name).is_file()


@pytest.mark.parametrize("expected", EXPECTED)
def test_progress_when_the_inversion_was_run_then_its_header_agrees_with_the_description(
    expected: dict[str, Any], copy: Path
) -> None:
    """What CRTomo itself wrote, against what is computed here from mesh and measurements."""
    shutil.copytree(SHARED / expected["path"], copy)
    if not (copy / "inv" / "inv.ctr").exists():
        return
    found, progress = describe(str(copy)), read_progress(str(copy / "inv" / "inv.ctr"))
    assert (progress.parameters, progress.data) == (found.size.parameters, found.size.data)
    assert (progress.wavenumbers or 1) == found.wavenumbers
    assert progress.finished == expected["state"].startswith("finished")


def test_scan_when_tomodirs_are_real_then_all_are_found() -> None:
    if not (SHARED / "expected.json").exists():
        pytest.skip(f"no real tomodirs in {SHARED}")
    known = sorted(parameter.values[0]["path"] for parameter in EXPECTED)
    assert sorted(find_tomodirs(str(SHARED))) == known
