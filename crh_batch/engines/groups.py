"""The group that batches are shared with: its number, and whose word it is that its members are trusted."""

from __future__ import annotations

import grp
import os
from pathlib import Path

from crh_batch.errors import CrhBatchError, ProfileError
from crh_batch.profile import Profile
from crh_batch.profile_files import effective_profile


def group_id(profile: Profile) -> int:
    """Return the number of the group that new batches are shared with; 0 for none.

    Raises:
        ProfileError: there is no such group, or this user isn't in it.
    """
    name = profile.share_group
    if not name:
        return 0
    try:
        number = int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        number = -1
    mine = {os.getegid(), *os.getgroups()}
    if number in mine or (number > 0 and os.geteuid() == 0):
        return number
    raise ProfileError(
        f"share_group = {name!r}: {'there is no such group' if number < 0 else 'you are not in this group'}",
        f"Your groups: {', '.join(sorted(map(_name, mine)))}.",
        "",
        "share_group",
    )


def trusted_groups(root: str) -> frozenset[int]:
    """Return the groups whose members' batches this user may act on: what the user's or the site's profile names.

    A survey's own crh-batch.toml doesn't count unless it is the user's: who plants a batch plants that as well.
    """
    try:
        effective = effective_profile(root)
        source = Path(effective.sources["share_group"])
        if not source.is_absolute() and not source.exists():
            # It is the default.
            return frozenset()
        status = source.stat()
        if status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022:
            return frozenset({group_id(effective.profile)} - {0})
    except (CrhBatchError, OSError):
        # Without a profile that can be read nobody else is trusted; commands that need it say what is wrong with it.
        pass
    return frozenset()


def _name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
