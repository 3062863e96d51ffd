"""Named profiles: one cluster's settings beside another's, laid over what always holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch import profile_files
from crh_batch.errors import ProfileError
from crh_batch.profile import Profile
from crh_batch.profile_files import COMMAND_LINE, DEFAULT, effective_profile, load_profile, named_profiles, own_file

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file of the site (etc/...), the user (user/...), or the survey (survey/...)."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(profile_files, "SITE_DIRECTORY", tmp_path / "etc")
    (tmp_path / "survey").mkdir()
    places = {"etc": tmp_path / "etc", "user": tmp_path / "config" / "crh-batch", "survey": tmp_path / "survey"}

    def write(name: str, text: str) -> Path:
        first, _, rest = name.partition("/")
        path = places[first] / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def survey(tmp_path: Path, write: Write) -> str:
    return str(tmp_path / "survey")


def test_load_profile_when_every_place_says_something_then_the_documented_order(write: Write, survey: str) -> None:
    """One key a pair of neighbours: the later of the two wins."""
    write("etc/profile.toml", 'partition = "etc"\naccount = "etc"\nmax_pilots = 1\n')
    write("user/profile.toml", 'partition = "user"\nqos = "user"\nmax_pilots = 2\n')
    write("etc/profiles/fast.toml", 'qos = "etc-fast"\nconstraint = "etc-fast"\nmax_pilots = 3\n')
    write("user/profiles/fast.toml", 'constraint = "user-fast"\nscratch = "user-fast"\nmax_pilots = 4\n')
    write("survey/crh-batch.toml", 'profile = "fast"\nscratch = "survey"\ncrmod = "survey"\nmax_pilots = 5\n')
    effective = effective_profile(survey, crmod="/typed", max_pilots=6, max_threads=None)
    profile = effective.profile
    assert (profile.account, profile.partition, profile.qos, profile.constraint) == (
        "etc",
        "user",
        "etc-fast",
        "user-fast",
    )
    assert (profile.scratch, profile.crmod, profile.max_pilots) == ("survey", "/typed", 6)
    assert effective.name == "fast"
    assert effective.sources["partition"].endswith("config/crh-batch/profile.toml")
    assert effective.sources["qos"].endswith("etc/profiles/fast.toml")
    assert (effective.sources["max_pilots"], effective.sources["nice"]) == (COMMAND_LINE, DEFAULT)
    assert [layer.path.parent.name for layer in effective.layers] == [
        "etc",
        "crh-batch",
        "profiles",
        "profiles",
        "survey",
    ]


def test_load_profile_when_the_command_line_names_one_then_it_replaces_the_surveys_name(
    write: Write, survey: str
) -> None:
    write("user/profiles/fast.toml", 'partition = "fast"\n')
    write("user/profiles/slow.toml", 'qos = "slow"\n')
    write("survey/crh-batch.toml", 'profile = "fast"\n')
    assert load_profile(survey) == Profile(partition="fast")
    assert load_profile(survey, "slow") == Profile(qos="slow")


def test_load_profile_when_a_path_is_given_then_that_file(write: Write, survey: str, tmp_path: Path) -> None:
    path = write("survey/mine.toml", 'qos = "mine"\n')
    assert load_profile(survey, str(path)).qos == "mine"
    write("survey/crh-batch.toml", 'profile = "mine.toml"\n')
    assert load_profile(survey).qos == "mine", "a path in the survey's file is meant from where that lies"


def test_load_profile_when_the_name_is_unknown_then_the_nearest_is_named(write: Write, survey: str) -> None:
    write("user/profiles/bigcluster.toml", "")
    with pytest.raises(ProfileError, match="bigclutser: there is no profile of this name") as caught:
        load_profile(survey, "bigclutser")
    assert caught.value.next_step.startswith("Did you mean bigcluster? ")
    path = write("survey/crh-batch.toml", 'profile = "zzz"\n')
    with pytest.raises(ProfileError, match=r"crh-batch.toml: zzz: there is no profile") as caught:
        load_profile(survey)
    assert "Known: bigcluster." in caught.value.next_step
    assert (caught.value.file, caught.value.key) == (str(path), "profile")
    with pytest.raises(ProfileError, match=r"none\.toml: there is no such profile"):
        load_profile(survey, "none.toml")


@pytest.mark.parametrize("place", ["user/profile.toml", "user/profiles/a.toml"])
def test_load_profile_when_another_file_names_a_profile_then_it_is_refused(
    write: Write, survey: str, place: str
) -> None:
    path = write(place, 'profile = "b"\n')
    with pytest.raises(ProfileError, match=r"named by the survey's crh-batch\.toml or by --profile alone") as caught:
        load_profile(survey, "a" if "profiles" in place else "")
    assert (caught.value.file, caught.value.key) == (str(path), "profile")


def test_load_profile_when_the_named_one_has_a_fault_then_its_file_is_named(write: Write, survey: str) -> None:
    path = write("user/profiles/a.toml", "max_pilots = 0\n")
    with pytest.raises(ProfileError, match=r"a\.toml: max_pilots = 0: must be at least 1") as caught:
        load_profile(survey, "a")
    assert caught.value.file == str(path)
    write("survey/crh-batch.toml", "profile = 5\n")
    with pytest.raises(ProfileError, match="profile = 5: must be a text"):
        load_profile(survey)


def test_named_profiles_when_both_directories_have_some_then_the_users_file_wins(write: Write) -> None:
    first, second = write("etc/profiles/a.toml", ""), write("user/profiles/a.toml", "")
    other = write("user/profiles/b.toml", "")
    write("user/profiles/b.toml~", "")
    write("user/profiles/.hidden.toml", "")
    assert named_profiles() == {"a": [first, second], "b": [other]}


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "a\nb", "with space"])
def test_own_file_when_it_is_no_name_then_it_is_refused(name: str) -> None:
    with pytest.raises(ProfileError, match="can't be a profile's name"):
        own_file(name)


def test_partitions_when_several_are_written_then_each() -> None:
    assert Profile(partition="work, fat,").partitions == ("work", "fat")
    assert Profile().partitions == ()


def test_inside_container_when_paths_are_absolute_then_they_are_inside_it() -> None:
    inside = Profile(container="apptainer exec x.sif", crmod="/opt/CRMod", crtomo="bin/CRTomo").is_inside_container
    assert dict(inside) == {"CRMod": True, "CRTomo": False}
    assert not any(Profile(crmod="/opt/CRMod").is_inside_container.values())
    assert Profile(container="apptainer exec --bind '/a b' x.sif").container_words[3] == "/a b"
