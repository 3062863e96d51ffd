"""A cluster's settings: later files win key by key, and what can't be used is said with the way out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from crh_batch.errors import ProfileError
from crh_batch.profile import Profile
from crh_batch.profile_files import config_directory, load_profile, profile_files


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A survey without a profile, for a user without one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "crh-batch").mkdir(parents=True)
    (tmp_path / "survey").mkdir()
    return tmp_path / "survey"


def write_users(root: Path, text: str) -> Path:
    path = root.parent / "config" / "crh-batch" / "profile.toml"
    path.write_text(text)
    return path


def write_surveys(root: Path, text: str) -> Path:
    path = root / "crh-batch.toml"
    path.write_text(text)
    return path


def test_load_profile_when_there_is_none_then_the_defaults(root: Path) -> None:
    assert load_profile(str(root)) == Profile()


def test_load_profile_when_several_say_something_then_the_nearest_wins_key_by_key(root: Path) -> None:
    write_users(root, 'partition = "work"\naccount = "geo"\nmax_pilots = 10\nsetup = ["module load a", "umask 7"]\n')
    write_surveys(root, 'partition = "short"\nmax_pilots = 20\n')
    profile = load_profile(str(root), max_pilots=30, max_threads=None)
    assert profile == Profile(
        partition="short", account="geo", max_pilots=30, max_threads=0, setup=("module load a", "umask 7")
    )


def test_profile_files_when_listed_then_the_winning_one_comes_last(root: Path) -> None:
    assert [str(path) for path in profile_files(str(root))] == [
        "/etc/crh-batch/profile.toml",
        str(config_directory() / "profile.toml"),
        str(root / "crh-batch.toml"),
    ]


def test_config_directory_when_the_variable_is_missing_then_below_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    assert str(config_directory()) == "/home/somebody/.config/crh-batch"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert str(config_directory()) == "/elsewhere/crh-batch"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("patrition", "partition"), ("max_pilot", "max_pilots"), ("crtomo_path", "crtomo"), ("Account", "account")],
)
def test_load_profile_when_a_key_is_misspelt_then_the_nearest_is_named(root: Path, key: str, nearest: str) -> None:
    path = write_surveys(root, f'{key} = "x"\n')
    with pytest.raises(ProfileError, match=f"unknown key {key}") as caught:
        load_profile(str(root))
    assert caught.value.next_step == f"Did you mean {nearest}?"
    assert (caught.value.file, caught.value.key) == (str(path), key)
    assert caught.value.exit_code == 2


def test_load_profile_when_a_key_is_like_none_then_all_are_named(root: Path) -> None:
    write_surveys(root, "zzz = 1\n")
    with pytest.raises(ProfileError) as caught:
        load_profile(str(root))
    assert all(field.name in caught.value.next_step for field in dataclasses.fields(Profile))


@pytest.mark.parametrize(
    ("line", "must_be"),
    [
        ("partition = 5", "a text"),
        ("partition = true", "a text"),
        ('max_pilots = "10"', "a whole number"),
        ("max_pilots = 1.5", "a whole number"),
        ("max_pilots = true", "a whole number"),
        ('setup = "module load a"', "a list of texts"),
        ("setup = [1, 2]", "a list of texts"),
        ('setup = ["a", 2]', "a list of texts"),
        ("[partition]\nname = 1", "a text"),
        ("time_minutes = 2026-11-22", "a whole number"),
    ],
)
def test_load_profile_when_a_value_is_of_the_wrong_kind_then_it_says_what_it_must_be(
    root: Path, line: str, must_be: str
) -> None:
    path = write_surveys(root, line + "\n")
    with pytest.raises(ProfileError, match=f"must be {must_be}") as caught:
        load_profile(str(root))
    assert caught.value.file == str(path)
    assert caught.value.key in line


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('memory = "per-node"', "memory"),
        ('scheduler = "pbs"', "scheduler"),
        ("warn_s = -1", "warn_s"),
        ("time_minutes = -5", "time_minutes"),
        ("max_threads = -1", "max_threads"),
        ("throttle = -1", "throttle"),
        ("max_pilots = 0", "max_pilots"),
        ("charged_attempts = 0", "charged_attempts"),
        ('partition = "work\\n#SBATCH --account=other"', "partition"),
        ('account = "a\\u0000b"', "account"),
        ('setup = ["a\\nb"]', "setup"),
        ('extra_directives = ["#SBATCH -A x\\rrm"]', "extra_directives"),
        ('partition = "work --uid=0"', "partition"),
        ('account = "two words"', "account"),
        ('container = "apptainer exec \\"open"', "container"),
        ("memory_mb = 5\nmax_memory_mb = 4", "memory_mb"),
        ("warn_s = 60\ntime_minutes = 1", "warn_s"),
        ("whole_nodes = true\ncores = 4\nmax_threads = 8", "max_threads"),
        ('roots = ["/home/data"]', "roots"),
        ('roots = ["data:/lustre"]', "roots"),
        ('roots = ["/data:/lustre:/more"]', "roots"),
        ('stage = "scratch/me"', "stage"),
        ('stage = "$SCRATCH/me"', "stage"),
    ],
)
def test_load_profile_when_a_value_cannot_be_used_then_file_and_key_are_named(root: Path, line: str, key: str) -> None:
    path = write_surveys(root, line + "\n")
    with pytest.raises(ProfileError) as caught:
        load_profile(str(root))
    assert caught.value.key == key
    assert caught.value.message.startswith(f"{path}: {key}")
    assert caught.value.file == str(path)
    assert caught.value.next_step


@pytest.mark.parametrize("content", [b"partition = ", b"\xff\xfe", b"a b c", b"x = 1\nx = 2\n"])
def test_load_profile_when_a_file_is_no_toml_then_it_is_named(root: Path, content: bytes) -> None:
    path = root / "crh-batch.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match="can't be read") as caught:
        load_profile(str(root))
    assert caught.value.file == str(path)


def test_load_profile_when_a_directory_stands_there_then_it_is_named(root: Path) -> None:
    (root / "crh-batch.toml").mkdir()
    with pytest.raises(ProfileError, match="is not a regular file"):
        load_profile(str(root))


def test_load_profile_when_a_word_is_misspelt_then_the_nearest_is_named(root: Path) -> None:
    write_surveys(root, 'memory = "mem_per_cpu"\n')
    with pytest.raises(ProfileError) as caught:
        load_profile(str(root))
    assert "Did you mean 'mem-per-cpu'?" in caught.value.next_step


def test_load_profile_when_keys_of_two_files_contradict_each_other_then_the_file_of_the_named_key(root: Path) -> None:
    users = write_users(root, "warn_s = 600\n")
    write_surveys(root, "time_minutes = 5\n")
    with pytest.raises(ProfileError, match="not shorter than the time limit of 5 minutes") as caught:
        load_profile(str(root))
    assert caught.value.file == str(users)


def test_load_profile_when_an_override_cannot_be_used_then_the_key_is_named(root: Path) -> None:
    with pytest.raises(ProfileError, match="max_pilots"):
        load_profile(str(root), max_pilots=0)


def test_profile_when_its_keys_are_listed_then_each_says_what_it_is() -> None:
    for field in dataclasses.fields(Profile):
        assert len(field.metadata["description"]) > 10, field.name


def test_to_json_when_asked_then_every_key() -> None:
    data = Profile(partition="work", setup=("module load a",)).to_json()
    assert data["partition"] == "work"
    assert list(data["setup"]) == ["module load a"]
    assert set(data) == {field.name for field in dataclasses.fields(Profile)}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
@pytest.mark.parametrize(
    ("line", "own_profile", "mode", "refused"),
    [
        ('setup = ["touch owned"]', "", 0o644, True),
        ('crtomo = "/tmp/mine"', "", 0o644, True),
        ('on = "elsewhere"', "", 0o644, True),
        ('roots = ["/:/mnt"]', "", 0o644, True),
        ("time_minutes = 30", "", 0o644, False),
        ('setup = ["touch owned"]', 'share_group = "40100"', 0o664, False),
        ('setup = ["touch owned"]', 'share_group = "40101"', 0o664, True),
    ],
)
def test_load_when_the_survey_file_is_another_users_then_it_may_not_say_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, own_profile: str, mode: int, refused: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/crh-batch").mkdir(parents=True)
    (tmp_path / "config/crh-batch/profile.toml").write_text(own_profile)
    survey = tmp_path / "crh-batch.toml"
    survey.write_text(line)
    survey.chmod(mode)
    os.chown(survey, 40001, 40100)
    if refused:
        with pytest.raises(ProfileError, match="it belongs to user 40001") as caught:
            load_profile(str(tmp_path))
        assert line.split()[0] in caught.value.message
    else:
        load_profile(str(tmp_path))


def test_load_when_everybody_may_write_the_survey_file_then_it_may_not_say_what_runs(tmp_path: Path) -> None:
    (tmp_path / "crh-batch.toml").write_text('setup = ["touch owned"]')
    (tmp_path / "crh-batch.toml").chmod(0o666)
    with pytest.raises(ProfileError, match="everybody may write"):
        load_profile(str(tmp_path))
