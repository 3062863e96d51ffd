"""Stages are written down before the batch counts: what runs where, and the batch as it will be there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crh_batch.errors import Busy
from crh_batch.ledger.batch import new_batch
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import ItemClass, Settings, read_settings
from crh_batch.mirror.make import make_stages
from crh_batch.mirror.programs import ProgramThere
from crh_batch.mirror.stage import read_stages
from crh_batch.profile import Profile
from unit.ledger.making import make_item
from unit.mirror.unsent import CFG, make_part, reading


def begun(tmp_path: Path) -> BatchPaths:
    (tmp_path / "survey").mkdir()
    return new_batch(str(tmp_path / "survey"), 5)


def settings(**more: object) -> Settings:
    return Settings(
        links="symlink",
        classes=(ItemClass(1, 0, 5),),
        programs={"CRMod": {"path": "/far/CRMod", "sha256": "5" * 64, "source": "far:/far/CRMod"}},
        **more,  # type: ignore[arg-type]
    )


def test_make_stages_when_there_are_two_clusters_then_each_has_its_part_and_its_settings(tmp_path: Path) -> None:
    paths = begun(tmp_path)
    items = [make_item(number, stages=[reading(CFG)]) for number in range(5)]
    program = ProgramThere("/sw/CRMod", "7" * 64, "b:/sw/CRMod")
    profile = Profile(scratch="/local", container="apptainer exec 'my image.sif'", idle_minutes=2)
    parts = [
        make_part(Path("/scratch/u"), {0, 3}, on="a", host="a.org"),
        make_part(
            Path("/lustre/u"),
            {1, 2, 4},
            on="b",
            host="b.org",
            scheduler="sge",
            links="file",
            programs={"CRMod": program},
            profile=profile,
            job_mb=4000,
            most_mb=9000,
        ),
    ]
    make_stages(paths, settings(share_gid=4711, extra={"plan": [1]}), items, parts)
    one, two = read_stages(paths)
    assert [sorted(stage.ids) for stage in (one, two)] == [[0, 3], [1, 2, 4]]
    assert (two.on, two.host, two.scheduler, two.top) == ("b", "b.org", "sge", f"/lustre/u/{paths.batch_id}")
    assert two.root == two.top
    there = read_settings(two.here)
    assert there.links == "file"
    assert there.programs == {"CRMod": {"file": "CRMod-777777777777", "sha256": "7" * 64, "source": "b:/sw/CRMod"}}
    assert (there.scratch, there.container, there.idle_s) == ("/local", ("apptainer", "exec", "my image.sif"), 120)
    assert (there.memory_mb, there.max_memory_mb, there.share_gid) == (4000, 9000, 0)
    assert there.extra["plan"] == [1] and there.extra["profile"]["scratch"] == "/local"
    assert read_settings(one.here).links == "symlink"


def test_make_stages_when_they_are_made_then_items_are_the_same_lines(tmp_path: Path) -> None:
    paths = begun(tmp_path)
    items = [make_item(number, f"t\n{number}", stages=[reading(CFG)]) for number in range(4)]
    make_stages(paths, settings(), items, [make_part(Path("/far"), {1, 2})])
    (stage,) = read_stages(paths)
    lines = [json.loads(line) for line in Path(stage.here.items).read_bytes().splitlines()]
    assert [line["path"] for line in lines if "path" in line] == ["t\n1", "t\n2"]


def test_make_stages_when_references_climb_then_each_root_is_as_deep_as_its_own_need(tmp_path: Path) -> None:
    paths = begun(tmp_path)
    items = [make_item(0, stages=[reading(CFG)]), make_item(1, stages=[reading(CFG, "../../../meshes/grid")])]
    make_stages(paths, settings(), items, [make_part(Path("/a"), {0}), make_part(Path("/b"), {1})])
    one, two = read_stages(paths)
    assert one.root == one.top
    assert two.root == f"{two.top}/{tmp_path.name}/survey"


def test_make_stages_when_another_client_was_here_then_it_gives_way(tmp_path: Path) -> None:
    paths = begun(tmp_path)
    items = [make_item(0, stages=[reading(CFG)])]
    make_stages(paths, settings(), items, [make_part(Path("/a"), {0})])
    with pytest.raises(Busy, match=paths.batch_id):
        make_stages(paths, settings(), items, [make_part(Path("/a"), {0})])
