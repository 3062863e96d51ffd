"""Several users of one machine: colleagues who share a batch, and strangers who don't."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import crh_batch
from conftest import Crh, skip_or_fail, tree_sums, wait_until
from crh_batch.demo import write_small_models
from gate import Gate

GROUP = 40100
_PACKAGES = [str(Path(crh_batch.__file__).parents[1]), *site.getsitepackages()]


@dataclass(frozen=True)
class User:
    """A user with a home, who works with umask 077."""

    uid: int
    home: Path
    groups: tuple[int, ...] = ()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command of this user is started by."""
        groups = ("--groups", ",".join(map(str, self.groups))) if self.groups else ("--clear-groups",)
        return (
            *("setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), *groups),
            *("sh", "-c", 'umask 077; shift; exec "$0" "$@"', python()),
        )

    @property
    def env(self) -> dict[str, str]:
        """What differs in this user's environment."""
        home = str(self.home)
        return {
            "HOME": home,
            "XDG_CONFIG_HOME": f"{home}/.config",
            "XDG_STATE_HOME": f"{home}/.local/state",
            "TMPDIR": home,
            "LOGNAME": self.name,
            "USER": self.name,
            "PYTHONPATH": os.pathsep.join(_PACKAGES),
        }

    @property
    def name(self) -> str:
        """What the user is called."""
        return self.home.name

    def writes(self, text: str) -> None:
        """Write the user's profile."""
        place = self.home / ".config/crh-batch"
        place.mkdir(parents=True, exist_ok=True)
        (place / "profile.toml").write_text('scheduler = "local"\n' + text)
        self.owns(self.home)

    def owns(self, directory: Path, group: int | None = None, directories: int = 0o700, files: int = 0o600) -> None:
        """Give a tree to the user, with these modes."""
        for path in (directory, *directory.rglob("*")):
            os.chown(path, self.uid, self.uid if group is None else group)
            path.chmod(directories if path.is_dir() else files)


@pytest.fixture
def place(programs: Path) -> Iterator[Path]:
    """A directory that everybody can enter, and write to as to /tmp."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        skip_or_fail("only root can be several users, with setpriv")
    directory = Path(tempfile.mkdtemp(prefix="crh-users-", dir="/tmp"))
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@functools.cache
def python() -> str:
    """Return a Python that any user can run; empty if there is none.

    Others may not be able to enter the directory that this one lies in; the system's can use the same packages.
    """
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            imports = [path, "-c", "import crh_batch.cli.submit, crh_batch.report.table"]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_PACKAGES)}
            done = subprocess.run(imports, env=environment, user=40999, group=40999, extra_groups=[], check=False)
            if done.returncode == 0:
                return path
    return ""


def make_user(place: Path, name: str, uid: int, *groups: int) -> User:
    """Make a user, who must be able to run Python."""
    if not python():
        skip_or_fail("no Python here that another user can run")
    user = User(uid, place / name, groups)
    user.home.mkdir()
    user.writes("")
    return user


@pytest.fixture
def anna(place: Path) -> User:
    """A user in GROUP."""
    return make_user(place, "anna", 40001, GROUP)


@pytest.fixture
def ben(place: Path) -> User:
    """Another one."""
    return make_user(place, "ben", 40002, GROUP)


@pytest.fixture
def carl(place: Path) -> User:
    """A stranger."""
    return make_user(place, "carl", 40003)


@pytest.fixture
def survey(place: Path, anna: User) -> Path:
    """Anna's: six small models, which her group may write to and nobody else may see."""
    root = place / "survey"
    write_small_models(root, 6, data=60, electrodes=16)
    anna.owns(root, GROUP, 0o2770, 0o660)
    return root


def crh_as(crh: Crh, user: User, *arguments: str | Path, cwd: Path, code: int | None = 0) -> str:
    """Run crh-batch as a user; return what it said."""
    done = crh(*arguments, cwd=cwd, code=code, local=False, prefix=user.prefix, env=user.env)
    return done.stdout + done.stderr


def batch_of(root: Path) -> Path:
    """Return the newest batch."""
    return max((root / ".crh-batch").iterdir())


def test_two_users_of_a_group_work_on_one_batch(crh: Crh, programs: Path, survey: Path, anna: User, ben: User) -> None:
    gate = Gate(survey.parent / "gate", programs)
    profile = f'share_group = "{GROUP}"\n{gate.profile}'
    anna.writes(profile)
    ben.writes(profile)
    crh_as(crh, anna, "submit", "-j1", cwd=survey)
    batch = batch_of(survey)
    argv = [*ben.prefix, sys.executable, "-m", "crh_batch", "pilot", str(batch), "-j1"]
    with subprocess.Popen(argv, cwd=survey, env={**os.environ, **ben.env}) as helping:
        wait_until("both run one", lambda: len(list(batch.glob("names/*/*.claim.001"))) >= 2)
        gate.open()
        assert helping.wait(60) == 0
    crh_as(crh, ben, "wait", "--timeout", "60", cwd=survey)
    owners = {path.lstat().st_uid for path in batch.glob("names/*/*.done")}
    assert owners == {anna.uid, ben.uid}
    assert "6 results put in place" in crh_as(crh, ben, "collect", cwd=survey)
    # What Ben put in place is Anna's to read, change and take away, though his umask is 077.
    for path in (*batch.rglob("*"), *survey.glob("*/*/mod"), *survey.glob("*/*/mod/volt.dat")):
        status = path.lstat()
        assert status.st_gid == GROUP, path
        wanted = 0o2070 if path.is_dir() else 0o040 if path.name == "batch.json" else 0o060
        assert path.is_symlink() or status.st_mode & wanted == wanted, f"{path}: {status.st_mode:o}"
    assert not list(survey.glob("*/*.crh"))
    # Anna goes on with what Ben left, and Ben has a batch of his own beside hers.
    said = json.loads(crh_as(crh, anna, "status", "--json", cwd=survey))
    assert said["counts"]["collected"] == 6
    write_small_models(survey / "more", 1, data=60, electrodes=16)
    ben.owns(survey / "more", GROUP, 0o2770, 0o660)
    crh_as(crh, ben, "run", "-j1", cwd=survey)
    assert batch_of(survey).stat().st_uid == ben.uid
    assert json.loads(crh_as(crh, anna, "status", "--json", cwd=survey))["counts"]["collected"] == 1


def test_dasks_key_stays_with_its_owner_in_a_batch_that_a_group_shares(
    crh: Crh, programs: Path, survey: Path, anna: User, ben: User
) -> None:
    gate = Gate(survey.parent / "gate", programs)
    for user in (anna, ben):
        user.writes(f'share_group = "{GROUP}"\n{gate.profile}')
    argv = [*anna.prefix, sys.executable, "-m", "crh_batch", "submit", "--engine", "dask", "--local", "-j1"]
    with (
        open(survey.parent / "driver.log", "wb") as log,
        subprocess.Popen(
            argv, cwd=survey, env={**os.environ, **anna.env}, stderr=log, stdin=subprocess.DEVNULL
        ) as dask,
    ):
        try:
            wait_until(
                "her worker runs one", lambda: list(survey.glob(".crh-batch/*/names/*/*.claim.*")), timeout_s=120
            )
            batch = batch_of(survey)
            argv = [*ben.prefix, sys.executable, "-m", "crh_batch", "pilot", str(batch), "-j1"]
            with subprocess.Popen(argv, cwd=survey, env={**os.environ, **ben.env}) as helping:
                wait_until("so does his pilot", lambda: len(list(batch.glob("names/*/*.claim.*"))) >= 2, timeout_s=120)
                gate.open()
                assert helping.wait(120) == 0
            assert dask.wait(120) == 0, (survey.parent / "driver.log").read_text()
        finally:
            gate.open()
            dask.terminate()
    assert {path.lstat().st_uid for path in batch.glob("names/*/*.done")} == {anna.uid, ben.uid}
    (its_place,) = (batch / "dask").iterdir()
    modes = {path.name: path.stat().st_mode & 0o777 for path in its_place.iterdir() if not path.is_symlink()}
    assert (its_place.stat().st_uid, its_place.stat().st_mode & 0o777) == (anna.uid, 0o700)
    assert "key.pem" in modes and set(modes.values()) == {0o600}
    argv = [*ben.prefix, sys.executable, "-c", f"open({str(its_place / 'key.pem')!r})"]
    looking = subprocess.run(argv, capture_output=True, check=False)
    assert b"PermissionError" in looking.stderr
    assert "6 results put in place" in crh_as(crh, ben, "collect", cwd=survey)
    for user in (ben, anna):
        said = crh_as(crh, user, "verify", cwd=survey)
        assert "dask" not in said, said
    crh_as(crh, anna, "prune", "--older-than", "0d", "--yes", cwd=survey)
    assert not batch.exists()


def test_a_shared_batch_when_a_member_does_not_trust_the_group_then_only_looks(
    crh: Crh, survey: Path, anna: User, ben: User
) -> None:
    anna.writes(f'share_group = "{GROUP}"\n')
    crh_as(crh, anna, "submit", "-j2", "--wait", cwd=survey)
    batch = batch_of(survey)
    assert json.loads(crh_as(crh, ben, "status", batch, "--json", cwd=survey))["counts"]["done"] == 6
    for command in ("collect", "pilot", "hold", "retry", "cancel"):
        said = crh_as(crh, ben, command, batch, cwd=survey, code=3)
        assert "belongs to" in said and "share_group" in said, command
    # Nor by what the survey's own file says: whoever plants a batch plants that, too.
    (survey / "crh-batch.toml").write_text(f'share_group = "{GROUP}"\n')
    os.chown(survey / "crh-batch.toml", anna.uid, GROUP)
    crh_as(crh, ben, "collect", batch, cwd=survey, code=3)
    assert not any(path.exists() for path in survey.glob("*/*/mod/volt.dat"))


def test_a_private_batch_in_a_tree_that_others_may_write_to_is_respected_and_named(
    crh: Crh, survey: Path, anna: User, ben: User
) -> None:
    crh_as(crh, anna, "submit", "-j2", "--wait", cwd=survey)
    before = tree_sums(survey)
    for arguments in (("check",), ("submit",), ("submit", "--force")):
        said = crh_as(crh, ben, *arguments, cwd=survey, code=None)
        assert "anna" in said or f"user {anna.uid}" in said, said
    assert "gone" not in said
    assert tree_sums(survey) == before
    crh_as(crh, anna, "collect", cwd=survey)


def test_a_stranger_sees_nothing_and_plants_nothing(
    crh: Crh, place: Path, survey: Path, anna: User, carl: User
) -> None:
    crh_as(crh, anna, "submit", "-j2", "--wait", cwd=survey)
    batch = batch_of(survey)
    for path in (batch, batch / "items.jsonl", batch / "packs"):
        assert subprocess.run(
            ["setpriv", f"--reuid={carl.uid}", "--clear-groups", "ls", path], capture_output=True, check=False
        ).returncode
    # He makes a batch above hers that is newer, with a pilot and a program of his own.
    proof = place / "proof"
    planted = place / ".crh-batch" / "20991231-000000-evil"
    shutil.copytree(batch, planted, symlinks=True)
    (planted / "pilot.pyz").write_text(f"open({str(proof)!r}, 'w')\n")
    shutil.copytree(survey / "00000", place / "00000")
    carl.owns(planted.parent, directories=0o755, files=0o755)
    os.chown(place / ".crh-batch", carl.uid, carl.uid)
    assert batch.name in crh_as(crh, anna, "status", cwd=survey)
    for command in ("collect", "pilot", "retry"):
        assert "belongs to" in crh_as(crh, anna, command, planted, cwd=survey, code=3)
    assert not proof.exists()
    crh_as(crh, anna, "collect", cwd=survey)
    assert len(list(survey.glob("*/*/mod/volt.dat"))) == 6


def test_a_strangers_crh_file_is_respected_and_named(crh: Crh, place: Path, anna: User, carl: User) -> None:
    root = place / "open"
    write_small_models(root, 2, data=60, electrodes=16)
    anna.owns(root, directories=0o700)
    (root / "00000").chmod(0o1777)
    root.chmod(0o755)
    planted = root / "00000/td00000.crh"
    planted.write_text("{}\n")
    os.chown(planted, carl.uid, carl.uid)
    said = crh_as(crh, anna, "run", "-j1", cwd=root, code=None)
    assert f"user {carl.uid}" in said
    assert planted.read_text() == "{}\n"
    assert (root / "00000/td00001/mod/volt.dat").exists() and not (root / "00000/td00000/mod/volt.dat").exists()


def test_submit_when_the_group_is_not_ones_own_then_says_which_are(crh: Crh, survey: Path, anna: User) -> None:
    anna.writes('share_group = "40199"\n')
    said = crh_as(crh, anna, "submit", cwd=survey, code=2)
    assert "you are not in this group" in said and str(GROUP) in said
    assert not list((survey / ".crh-batch").glob("*")) if (survey / ".crh-batch").exists() else True
