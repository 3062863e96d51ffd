"""What `profile init` writes: a file that loads, with what the site told filled in or listed."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crh_batch.profile import Profile
from crh_batch.profile_files import load_profile
from crh_batch.report.profile_draft import draft
from crh_batch.schedulers import sge_site, slurm_site
from crh_batch.site import NodeKind, Partition, Site
from unit.schedulers.test_sge_site import FIRST
from unit.schedulers.test_slurm_site import recorded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]


def slurm() -> Site:
    answers = [recorded(f"slurm-{name}") for name in ("config", "partitions", "associations")]
    return slurm_site.parse_site(answers, "root")


def sge() -> Site:
    cases = [*FIRST, "sge-environment-make", "sge-environment-smp"]
    return sge_site.parse_site([recorded(case) for case in cases], "root")


def loaded(text: str, directory: Path) -> Profile:
    (directory / "crh-batch.toml").write_text(text, encoding="utf-8")
    return load_profile(str(directory))


def test_draft_when_slurm_told_all_then_it_is_filled_in_and_loads(tmp_path: Path) -> None:
    text = draft(slurm(), "2026-11-22 10:00")
    assert loaded(text, tmp_path) == Profile(scheduler="slurm", partition="work", time_minutes=1440, memory="mem")
    assert "# Slurm 22.05.8, asked by crh-batch profile init on 2026-11-22 10:00." in text
    assert (
        "#   work (the default): 3 nodes of 4 cores and 8000 MB; at most 1440 minutes (30 if none are asked for)\n"
        in text
    )
    assert "#   whole (whole nodes): 1 node of 4 cores and 8000 MB; at most 10830 minutes\n" in text
    assert "#   closed (down): 2 nodes of 4 cores and 8000 MB; no time limit\n" in text
    assert '#   Yours: geo42, root\n# account = "geo42"\n' in text
    assert "#   Features of nodes: avx2, fat\n" in text
    assert "An array may have 1001 tasks. Accounting is on." in text


def test_draft_when_sge_told_all_then_it_is_filled_in_and_loads(tmp_path: Path) -> None:
    text = draft(sge(), "2026-11-22 10:00")
    assert loaded(text, tmp_path) == Profile(
        scheduler="sge", time_minutes=1440, memory_resource="h_vmem", parallel_environment="smp"
    )
    assert "#   make: allocation rule $round_robin, of no use here\n" in text
    assert "#   h_vmem: counted; a job that takes more is ended\n" in text
    assert "#   short: 3 nodes of 4 cores and 24064 MB; at most 2 minutes\n" in text


def test_draft_when_every_key_is_looked_for_then_each_stands_with_its_meaning() -> None:
    text = " ".join(draft(slurm(), "now").replace("\n# ", " ").split())
    for one in dataclasses.fields(Profile):
        assert f"{one.name} = " in text
        assert " ".join(str(one.metadata["description"]).split()) in text


@pytest.mark.parametrize(
    ("limit", "time_minutes", "warn_s"), [(2, 2, 30), (8, 8, 120), (9, 9, 120), (60, 60, 120), (None, 1440, 120)]
)
def test_draft_when_the_limit_is_short_then_the_warning_fits_into_it(
    tmp_path: Path, limit: int | None, time_minutes: int, warn_s: int
) -> None:
    site = Site("slurm", partitions=(Partition("p", (NodeKind(4, 8000),), limit, is_default=True),))
    profile = loaded(draft(site, "now"), tmp_path)
    assert (profile.time_minutes, profile.warn_s) == (time_minutes, warn_s)


def test_draft_when_nodes_are_given_whole_then_tomodirs_are_packed(tmp_path: Path) -> None:
    site = Site("slurm", partitions=(Partition("p", (NodeKind(4, 8000),), whole_nodes=True, is_default=True),))
    assert loaded(draft(site, "now"), tmp_path).whole_nodes
    assert loaded(draft(Site("slurm", whole_nodes=True), "now"), tmp_path).whole_nodes


WORDS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8)
PARTITIONS = st.builds(Partition, WORDS, st.just((NodeKind(1, 1, 1, ("a\nb",)),)), st.none() | st.integers(1, 99999))


@given(
    st.builds(
        Site,
        st.sampled_from(["slurm", "sge"]),
        st.text(max_size=8),
        st.lists(PARTITIONS, max_size=3).map(tuple),
        accounts=st.lists(WORDS.filter(lambda word: len(word.split()) < 2), max_size=2).map(tuple),
        qos=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    )
)
def test_draft_when_a_scheduler_says_anything_then_it_is_toml_all_the_same(site: Site) -> None:
    data = tomllib.loads(draft(site, "now"))
    assert set(data) <= {one.name for one in dataclasses.fields(Profile)}
