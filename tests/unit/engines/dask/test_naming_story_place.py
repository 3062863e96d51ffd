"""What tasks are called, what the page is told, and what lies in a scheduler's directory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crh_batch.engines.dask.engine import check_installed
from crh_batch.engines.dask.naming import group_of, item_id_of, key_of
from crh_batch.engines.dask.place import Options, Place, latest_contact, this_contact
from crh_batch.engines.dask.story import MOST_CURVES, Story
from crh_batch.errors import DaskError
from crh_batch.ledger.session import Job
from unit.ledger.making import make_batch, make_item

STAGES = [{"stage": "modelling", "dims": "2.5D"}, {"stage": "inversion", "dims": "2.5D"}]


def test_a_key_names_stages_dims_tomodir_and_attempt() -> None:
    item = make_item(17, stages=STAGES)
    assert key_of(item, 2, 0) == "2.5D_modelling_inversion-000017-2"
    assert key_of(item, 2, 3) == "2.5D_modelling_inversion-000017-2.3"
    assert item_id_of(key_of(item, 2, 3)) == 17


def test_dask_groups_keys_by_what_is_alike() -> None:
    from dask.utils import key_split

    item = make_item(17, stages=STAGES)
    assert key_split(key_of(item, 2, 3)) == group_of(item)


def test_a_story_keeps_the_curves_of_what_runs_and_the_finished_over_time() -> None:
    story = Story("batch")
    story.note(100.0, {"done": 1, "collected": 2, "running": 2}, 2, 3, [("b", [(0, 9.0), (1, 5.0)]), ("a", [(0, 9.5)])])
    story.note(160.0, {"done": 4}, 2, 2, [("b", [(1, 5.0), (2, 2.5)])])
    assert (story.times_s, story.finished) == ([0.0, 60.0], [3, 4])
    assert story.lines() == [("a", [0], [9.5]), ("b", [0, 1, 2], [9.0, 5.0, 2.5])]
    assert story.running == {"b"}


def test_a_story_forgets_the_curves_that_ended_first() -> None:
    story = Story("batch")
    for number in range(MOST_CURVES + 5):
        story.note(float(number), {}, 0, 0, [(f"td{number:03d}", [(0, 1.0)]), ("td000", [(0, 1.0)])])
    assert [path for path, _, _ in story.lines()][:2] == ["td000", "td006"]
    assert len(story.lines()) == MOST_CURVES


def test_a_long_story_stays_short() -> None:
    story = Story("batch")
    for number in range(10_000):
        story.note(float(number), {"done": number}, 0, 0, [])
    assert len(story.times_s) == len(story.finished) <= 2000
    assert story.times_s[0] == 0.0


def test_a_place_is_its_owners_alone_and_gives_back_what_was_written(tmp_path: Path) -> None:
    paths = make_batch(tmp_path, 1).paths
    umask = os.umask(0)
    try:
        place = Place.make(paths, Options(minimum=1, local=True))
        place.write_secrets(("ca", "cert", "key"))
        assert latest_contact(paths) is None, "nothing listens yet"
        place.write_contact(this_contact("tls://h:1", "127.0.0.1", 8787, Job("slurm", "3"), 1.0))
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(place.directory).st_mode) == 0o700
    files = [one for one in Path(place.directory).iterdir() if not one.is_symlink()]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert os.readlink(place.python) == sys.executable
    assert Place(paths, place.token).options() == Options(minimum=1, local=True)
    assert [Path(one).read_text() for one in place.secrets] == ["ca", "cert", "key"]
    contact = latest_contact(paths)
    assert contact is not None
    assert contact == place.contact()
    assert contact.link == "http://127.0.0.1:8787/status"
    assert contact.tunnel.startswith("ssh -N -L 8787:127.0.0.1:8787 ")
    assert contact.job == Job("slurm", "3")


def test_a_dashboard_for_others_needs_no_tunnel() -> None:
    contact = this_contact("tls://h:1", "0.0.0.0", 8787, Job(), 1.0)
    assert contact.tunnel == ""
    assert contact.link == f"http://{contact.who.host}:8787/status"


def test_options_that_cannot_be_read_are_an_error_that_names_them(tmp_path: Path) -> None:
    paths = make_batch(tmp_path, 1).paths
    with pytest.raises(DaskError, match="nothere"):
        Place(paths, "nothere").options()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "bokeh" else object())
    with pytest.raises(DaskError, match=r"bokeh") as caught:
        check_installed()
    assert "pip install" in caught.value.next_step


def test_commands_do_not_import_dask_before_it_is_used() -> None:
    code = (
        "import sys, crh_batch.cli.submit, crh_batch.cli.dashboard, crh_batch.engines.dask.worker\n"
        "sys.exit(bool({'dask', 'distributed', 'bokeh', 'tornado'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
