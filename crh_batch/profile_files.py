"""Where profiles lie and how they are laid over each other; TOML.

A later one wins key by key: /etc/crh-batch/profile.toml (the site's), profile.toml in the user's configuration
directory, the named profile, the survey's crh-batch.toml, the command line.

A named profile is ``profiles/NAME.toml`` in one of these two directories (in both: the site's first, then the user's),
or any file. Its name comes from the command line, else from the survey's ``profile = "NAME"``.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crh_batch.errors import ProfileError
from crh_batch.ledger.trust import group_name, user_name
from crh_batch.profile import Profile
from crh_batch.tomodir.files import TEXT_LIMIT_BYTES, read_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

SURVEY_FILE = "crh-batch.toml"
SITE_DIRECTORY = Path("/etc/crh-batch")
# The survey's file may say which named profile it is for.
NAMING_KEY = "profile"
COMMAND_LINE = "command line"
DEFAULT = "default"
_SUFFIX = ".toml"
# What a name may be; anything else is a path.
_NAME = re.compile(r"[\w+-][\w.+-]*\Z")


@dataclass(frozen=True)
class Layer:
    """One file of those that hold, the winning one last.

    Args:
        values: what it says; empty where it isn't there.
    """

    path: Path
    exists: bool
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Effective:
    """The profile that holds for a survey, and where each key's value is from.

    Args:
        sources: for each key a file's path, COMMAND_LINE or DEFAULT.
        name: the named profile that holds; empty if none.
    """

    profile: Profile
    sources: Mapping[str, str]
    layers: tuple[Layer, ...]
    name: str


def config_directory() -> Path:
    """Return the user's configuration directory of crh-batch (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "crh-batch"


def profile_files(root: str, name: str = "") -> list[Path]:
    """Return where a survey's profile is looked for, the winning place last.

    Args:
        name: the named profile, or the path of a file; empty for none.

    Raises:
        ProfileError: there is no such profile.
    """
    places = [SITE_DIRECTORY / "profile.toml", config_directory() / "profile.toml"]
    return [*places, *(_named_files(name) if name else ()), Path(root) / SURVEY_FILE]


def named_profiles() -> dict[str, list[Path]]:
    """Return the names of all named profiles with their files, the winning one last."""
    found: dict[str, list[Path]] = {}
    for directory in (SITE_DIRECTORY, config_directory()):
        for path in sorted((directory / "profiles").glob(f"*{_SUFFIX}")):
            if _NAME.match(path.stem):
                found.setdefault(path.stem, []).append(path)
    return found


def own_file(name: str = "") -> Path:
    """Return where the user's own profile of this name lies or would lie; without a name, the one for everything.

    Raises:
        ProfileError: it can't be a name.
    """
    if not name:
        return config_directory() / "profile.toml"
    if not _NAME.match(name):
        raise ProfileError(
            f"{name!r} can't be a profile's name", "Use letters, digits, and ._+- inside it, or give --output FILE."
        )
    return config_directory() / "profiles" / f"{name}{_SUFFIX}"


def _named_files(name: str) -> list[Path]:
    if os.sep in name or name.endswith(_SUFFIX):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ProfileError(f"{name}: there is no such profile", "Give the path of a TOML file.", name)
        return [path]
    known = named_profiles()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else f"Known: {', '.join(known)}. " if known else ""
    raise ProfileError(
        f"{name}: there is no profile of this name",
        f"{hint}crh-batch profile init {name} makes {config_directory() / 'profiles'}/{name}{_SUFFIX}",
        name,
    )


def load_profile(root: str, name: str = "", **overrides: Any) -> Profile:
    """Read the profile that holds for a survey.

    Args:
        root: the survey's directory.
        name: a named profile, or the path of a file; empty for what the survey's file says, if anything.
        overrides: keys from the command line; None means not given.

    Raises:
        ProfileError: a file can't be read, has an unknown key (the nearest known one is named) or a wrong value.
    """
    return effective_profile(root, name, **overrides).profile


def effective_profile(root: str, name: str = "", **overrides: Any) -> Effective:
    """Read the profile that holds for a survey, with where each value is from.

    Args, Raises: as for ``load_profile``.
    """
    survey = Path(root) / SURVEY_FILE
    named = name or _name_in(survey)
    layers = []
    values: dict[str, Any] = {}
    sources = {one.name: DEFAULT for one in dataclasses.fields(Profile)}
    for path in _files_for(root, named, "" if name else str(survey)):
        data = _read(path)
        if data and path == survey:
            _check_writers(path, data, str(values.get("share_group", "")))
        layers.append(Layer(path, data is not None, data or {}))
        values.update(data or {})
        sources.update(dict.fromkeys(data or {}, str(path)))
    for key, value in overrides.items():
        if value is not None:
            values[key], sources[key] = value, COMMAND_LINE
    return Effective(_made(values, sources), sources, tuple(layers), named)


# Who writes these decides what runs as the user, and where; the others are numbers and names.
_RUNS = (
    *("crmod", "crtomo", "container", "setup", "extra_directives", "scratch", "share_group"),
    *("on", "host", "roots", "stage"),
)


def _check_writers(survey: Path, data: Mapping[str, Any], trusted: str) -> None:
    """Refuse a survey's file that says what runs, if it is another user's: anyone may leave one in an open directory.

    Args:
        trusted: the group whose members this user trusts, by name or number, as the files before say.
    """
    keys = [key for key in _RUNS if data.get(key)]
    try:
        status = survey.stat()
    except FileNotFoundError:
        return
    mine = status.st_uid in (os.geteuid(), 0) or _group_names(status.st_gid) & {trusted}
    if not keys or (mine and not status.st_mode & 0o002):
        return
    whose = "everybody may write to it" if mine else f"it belongs to {user_name(status.st_uid)}"
    raise ProfileError(
        f"{survey}: says what runs as you ({', '.join(keys)}), and {whose}",
        "Look at it. To use it, make it yours (cp, then mv in its place; chmod go-w), or put these keys into your own "
        f'profile: {config_directory() / "profile.toml"}. share_group = "NAME" there trusts the files of that group.',
        str(survey),
        keys[0],
    )


def _group_names(number: int) -> set[str]:
    return {str(number), group_name(number)}


def _files_for(root: str, named: str, said_in: str) -> list[Path]:
    try:
        return profile_files(root, named)
    except ProfileError as error:
        if not said_in:
            raise
        # The name is the survey's word, not the command line's.
        raise ProfileError(f"{said_in}: {error.message}", error.next_step, said_in, NAMING_KEY) from error


def _made(values: Mapping[str, Any], sources: Mapping[str, str]) -> Profile:
    try:
        return Profile(**values)
    except ProfileError as error:
        raise say_where(error, sources) from error


def say_where(error: ProfileError, sources: Mapping[str, str]) -> ProfileError:
    """Return an error about a key's value with the file that the value is from."""
    source = sources.get(error.key, DEFAULT)
    if error.file or source in (DEFAULT, COMMAND_LINE):
        return error
    return ProfileError(f"{source}: {error.message}", error.next_step, source, error.key)


def _name_in(survey: Path) -> str:
    """Return the named profile that the survey's file asks for; a path in it is meant from where the file lies."""
    value = (_parse(survey) or {}).get(NAMING_KEY, "")
    if not isinstance(value, str):
        raise ProfileError(f"{survey}: {NAMING_KEY} = {value!r}: must be a text", "Mend the value.", str(survey))
    if os.sep in value or value.endswith(_SUFFIX):
        return os.path.join(survey.parent, os.path.expanduser(value))
    return value


def _read(path: Path) -> dict[str, Any] | None:
    data = _parse(path)
    if data is None:
        return None
    if path.name == SURVEY_FILE:
        data.pop(NAMING_KEY, None)
    return {key: _checked(path, key, value) for key, value in data.items()}


def _parse(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = tomllib.loads(read_bytes(str(path), TEXT_LIMIT_BYTES).decode())
        return data
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ProfileError(
            f"{path}: can't be read: {why}",
            'Write KEY = VALUE lines as in TOML: time_minutes = 30, partition = "work" (texts in quotes), '
            'whole_nodes = true, setup = ["module load gcc"]',
            str(path),
        ) from error
    except OSError as error:
        raise ProfileError(
            f"{path}: can't be read: {error.strerror or error}", "It must be a file that you may read.", str(path)
        ) from error


def _checked(path: Path, key: str, value: Any) -> Any:
    known = {one.name: one for one in dataclasses.fields(Profile)}
    if key == NAMING_KEY:
        raise ProfileError(
            f"{path}: a profile is named by the survey's {SURVEY_FILE} or by --profile alone",
            f"Take the line with {NAMING_KEY} out.",
            str(path),
            key,
        )
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Known keys: " + ", ".join(known) + "."
        raise ProfileError(f"{path}: unknown key {key}", hint, str(path), key)
    default = () if known[key].default is dataclasses.MISSING else known[key].default
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(line, str) for line in value):
        return tuple(value)
    if type(value) is not type(default):
        kind = {str: "a text", int: "a whole number", bool: "true or false", tuple: "a list of texts"}[type(default)]
        raise ProfileError(f"{path}: {key} = {value!r}: must be {kind}", "Mend the value.", str(path), key)
    return value
