"""A survey and its tomodirs may have any name, also where they are another machine's: no shell there reads one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.remote_cluster import Laptop, LoginNode
from crh_batch.demo import write_small_models

pytestmark = pytest.mark.slurm

NAMES = [
    b"  two  blanks ",
    b'it\'s "quoted" `touch ran`',
    b"first\nsecond",
    "grüße-测试".encode(),
    b"-j99",
    b"$(touch ran);touch ran&",
    b"back\\slash %j %a",
    b"[a-z]*?{b,c}~",
    b"not \xe4 utf-8",
]


@pytest.mark.parametrize("way", ["mounted", "staged"])
def test_any_name_goes_there_and_comes_back(
    slurm_login: LoginNode, make_laptop: Callable[..., Laptop], programs: Path, way: str
) -> None:
    laptop = make_laptop(slurm_login)
    survey = laptop.real / "a survey's $(touch ran) %j\nwith 'all' of it ü" / "-x"
    roots = f"roots = [{json.dumps(laptop.roots)}]\n" if way == "mounted" else ""
    laptop.set_profile("levante", roots)
    models = laptop.real / "models"
    for model, name in zip(write_small_models(models, len(NAMES), data=60, electrodes=16), NAMES):
        shutil.copytree(models / model, survey / os.fsdecode(name))
    laptop.crh("--on", "levante", "submit", cwd=survey)
    laptop.crh("wait", cwd=survey)
    for name in NAMES:
        assert laptop.crh("log", "--", os.fsdecode(name), cwd=survey).out
    laptop.crh("collect", cwd=survey)
    for name in NAMES:
        assert (survey / os.fsdecode(name) / "mod" / "volt.dat").is_file(), name
    assert not list(laptop.real.rglob("ran")) + list(slurm_login.home.rglob("ran"))
    assert {one["path"] for one in json.loads(laptop.crh("status", "--all", "--json", cwd=survey).out)["tomodirs"]} == {
        os.fsdecode(name) for name in NAMES
    }
