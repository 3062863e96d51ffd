"""Whose batch it is: who acts on a batch that others could have written to does what those others want.

Whoever begins a session in a batch (pilots, and clients that do more than read) calls ``check_batch`` first. A batch is
trusted if all that is executed or believed in it belongs to this user or root and nobody else may write it, or only a
group may that the user has named (profile key ``share_group``).

What a batch of another user says about itself counts for nothing: a stranger can say anything there. That its group is
trusted is the word of this user's own profile, which the command line, or the job script that it wrote, hands on with
``trust_groups``.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from typing import Callable

from crh_batch.errors import NotTrusted
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.reading import FILE_LIMIT_BYTES, open_regular, parse_json

Groups = Callable[[str], Collection[int]]


def _no_groups(root: str) -> Collection[int]:
    return ()


_ask: Groups = _no_groups


def trust_groups(ask: Groups) -> None:
    """Say, for this whole process, how to find the groups whose members' batches may be acted on.

    Args:
        ask: called with a batch's root, and only for batches of other users; returns numbers of groups.
    """
    global _ask
    _ask = ask


def check_batch(paths: BatchPaths) -> None:
    """Refuse a batch that others could have written to.

    Raises:
        NotTrusted: which file, who could have, and what to do.
    """
    try:
        top = os.lstat(paths.directory)
    except FileNotFoundError:
        return
    owner = top.st_uid
    if _is_mine(paths.directory, top):
        group = _group_by_settings(paths, owner)
    else:
        group = _group_by_profile(paths, top)
    for path, status in _looked_at(paths):
        _check_owner(path, status, paths, owner, group)
        # Where nobody else may enter, the modes inside say nothing.
        if top.st_mode & 0o077:
            _check_mode(path, status, paths, group)
    _check_above(paths.directory)


def is_trusted(directory: str) -> bool:
    """Return whether a batch is this user's, or one of a group whose members this user trusts; for choosing one."""
    try:
        top = os.stat(directory)
    except OSError:
        return False
    return _is_mine(directory, top) or top.st_gid in _ask(BatchPaths(directory).root)


def owns(directory: str) -> bool:
    """Return whether a batch is this user's own."""
    try:
        return _is_mine(directory, os.lstat(directory))
    except OSError:
        return False


def _is_mine(path: str, status: os.stat_result) -> bool:
    if status.st_uid in (os.geteuid(), 0):
        return True
    # NFS shows owners that it can't translate, and root's files under root_squash, as nobody. What nobody else may
    # enter and this process can write to is its own all the same.
    is_private = not status.st_mode & 0o022
    return status.st_uid == _nobody() and is_private and os.access(path, os.W_OK | os.X_OK)


def _nobody() -> int:
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/kernel/overflowuid", encoding="ascii") as stream:
        return int(stream.read())
    return 65534


def _group_by_settings(paths: BatchPaths, owner: int) -> int | None:
    """Return the group that this user's own batch is shared with."""
    try:
        with open_regular(paths.settings) as stream:
            status = os.fstat(stream.fileno())
            if status.st_uid not in (owner, os.geteuid(), 0) or status.st_mode & 0o022:
                return None
            # read(n) takes n bytes of memory first, and a pilot may have little.
            found = parse_json(stream.read(min(status.st_size, FILE_LIMIT_BYTES)))["share_gid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) and found > 0 else None


def _group_by_profile(paths: BatchPaths, top: os.stat_result) -> int:
    if top.st_mode & stat.S_ISGID and top.st_gid in _ask(paths.root):
        return top.st_gid
    owner, group = user_name(top.st_uid), group_name(top.st_gid)
    raise NotTrusted(
        f"{paths.directory}: belongs to {owner}, who thereby chooses what would run and be written as you",
        f"Reading is safe (crh-batch status BATCH). If everybody in a group may do so, {owner} submits with "
        f'share_group = "{group}" in the profile, and the same line in your own '
        "~/.config/crh-batch/profile.toml says that you trust that group.",
        paths.directory,
    )


def _looked_at(paths: BatchPaths) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all that is executed or believed; the names' shards are made as ``names`` is."""
    yield paths.directory, os.lstat(paths.directory)
    files = (paths.settings, paths.items, paths.pilot, paths.submissions)
    directories = (paths.programs, paths.jobs, paths.sessions, paths.packs, paths.names, paths.logs)
    inside = [entry.path for directory in (paths.programs, paths.jobs) for entry in _entries(directory)]
    for path in (*files, *directories, *inside):
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(path)
            if path in directories and not stat.S_ISDIR(status.st_mode):
                raise NotTrusted(
                    f"{path}: is no directory, and a batch has one there",
                    "Somebody has changed the batch's directory. Move it away, and submit again with --force.",
                    paths.directory,
                )
            yield path, status


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


def _check_owner(path: str, status: os.stat_result, paths: BatchPaths, owner: int, group: int | None) -> None:
    of_group = group is not None and status.st_gid == group
    if status.st_uid not in (owner, os.geteuid(), 0) and not of_group:
        raise NotTrusted(
            f"{path}: belongs to {user_name(status.st_uid)}, and what stands there would be believed or run as you",
            "Find out how it came there. To go on without it, move the batch's directory away and submit again "
            "with --force.",
            paths.directory,
        )


def _check_mode(path: str, status: os.stat_result, paths: BatchPaths, group: int | None) -> None:
    if stat.S_ISLNK(status.st_mode):
        # Its own mode says nothing; bin/python leads to the Python that submitted.
        return
    if status.st_mode & 0o002:
        who, which = "everybody may", "o-w"
    elif status.st_mode & 0o020 and status.st_gid != group:
        who, which = f"the group {group_name(status.st_gid)} may", "g-w"
    else:
        return
    raise NotTrusted(
        f"{path}: {who} write to it, and so choose what runs as you",
        f"Look at what lies there, then take that right away: chmod -R {which} -- {_quoted(paths.directory)}\n"
        '  To share batches with a group, submit with share_group = "NAME" in the profile.',
        paths.directory,
    )


def _check_above(directory: str) -> None:
    """Refuse directories above that this user has left open: anybody could put another batch in the place of this one.

    Those that belong to others are theirs to keep, and many a cluster has open ones that no user can mend. Those that a
    group may write to are common; who is in that group could change the tomodirs as well.
    """
    path = os.path.dirname(os.path.realpath(directory))
    while path != os.path.dirname(path):
        status = os.stat(path)
        if status.st_uid == os.geteuid() and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise NotTrusted(
                f"{path}: everybody may write to it, and so put another directory in the place of this batch's",
                f"Take that right away: chmod o-w -- {_quoted(path)}",
                directory,
            )
        path = os.path.dirname(path)


def _quoted(path: str) -> str:
    # Imported when it is needed, which is rare: a pilot starts faster without. The same below.
    import shlex

    return shlex.quote(path)


def user_name(number: int) -> str:
    """Return a user's login name, or its number where there is none."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def group_name(number: int) -> str:
    """Return a group's name, or its number where there is none."""
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
