"""What a trial of a filesystem found, in words: whether it can hold a survey, and if not, why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from crh_batch.ledger.durable import FILE, SYMLINK
from crh_batch.pilot.fs_together import CREATED, RACES
from crh_batch.report.finding import CHANGE, FINE, NOTE, Finding, is_fine

FIT = "fit"
FIT_WITH_FILES = "fit with files instead of symbolic links"
UNFIT = "unfit"

_ELSEWHERE = "This filesystem can't hold a survey. Put the survey on another one."
_TWICE = "This filesystem can't hold a survey: tomodirs would be run twice. Put the survey on another one."
# A way there and back that takes longer makes progress and claims come late into sight.
_SLOW_S = 5.0
_LITTLE_BYTES = 1 << 30
_FEW_INODES = 10_000
_CLOCK_OFF_S = 60.0
_IN_MEMORY = ("tmpfs", "ramfs")


def verdict(links: str, findings: Sequence[Finding]) -> str:
    """Return FIT, FIT_WITH_FILES or UNFIT.

    Args:
        links: the kind of exclusive names that a batch would use.
    """
    if not is_fine(findings):
        return UNFIT
    return FIT_WITH_FILES if links == FILE else FIT


# ---- one process


def findings_alone(found: dict[str, Any]) -> Iterator[Finding]:
    """Judge what one process found (pilot/fs_alone.py)."""
    yield from _kind(found["kind"])
    for key, subject, what, advice in (
        ("exclusive_error", "exclusive files", "exclusive files don't work", _TWICE),
        ("replace_error", "rename", "a file can't be replaced by rename", _ELSEWHERE),
        (
            "modes_error",
            "modes",
            "owners or modes are not kept",
            "Batches here would be refused, for others could write to them. Put the survey on another filesystem.",
        ),
        (
            "execute_error",
            "programs",
            "no program can be started from here",
            "Programs are copied beside the survey: have it mounted without noexec, or put the survey elsewhere.",
        ),
    ):
        if found[key]:
            yield Finding(CHANGE, subject, f"{what}: {found[key]}", advice)
    yield from _sync(found["sync"], found["filesystem"])
    yield _hard_links(found["link"])
    yield _names(found["names"])
    yield _room(found["room"])
    yield _clock(found["clock"])


def _kind(kind: dict[str, str]) -> Iterator[Finding]:
    if kind["error"]:
        yield Finding(CHANGE, "names", kind["error"], _ELSEWHERE)
    elif kind["links"] == FILE:
        text = "symbolic links don't work here; exclusive files are used instead, which submit finds out by itself"
        yield Finding(NOTE, "names", text)


def _sync(sync: dict[str, Any], filesystem: str) -> Iterator[Finding]:
    if sync["error"]:
        text = f"fsync fails: {sync['error']}"
        yield Finding(CHANGE, "fsync", text, "A result could be lost in a crash. Put the survey on another filesystem.")
        return
    text = f"{1e3 * sync['file_s']:.2g} ms a file, {1e3 * sync['directory_s']:.2g} ms a directory"
    if filesystem in _IN_MEMORY:
        yield Finding(NOTE, "fsync", f"{text}; but it lies in memory ({filesystem}) and is gone after a crash")
    else:
        yield Finding(FINE, "fsync", f"{text} ({filesystem or 'unknown filesystem'})")


def _hard_links(link: dict[str, Any]) -> Finding:
    if not link["error"]:
        return Finding(FINE, "hard links", "as many as were tried")
    if link["most"] > 2:
        return Finding(FINE, "hard links", f"at most {link['most']} to one file ({link['error']}); 2 are enough")
    return Finding(
        NOTE,
        "hard links",
        f"none to be had ({link['error']}): registrations are made in place, so a crash may leave an empty .crh file, "
        "which the next submit reports",
    )


def _names(names: dict[str, list[str]]) -> Finding:
    odd = [*names["refused"], *names["changed"]]
    if not odd:
        return Finding(FINE, "file names", "any, of up to 255 bytes")
    return Finding(
        NOTE, "file names", f"not possible, or listed in another form: {', '.join(odd)}; don't use such ones"
    )


def _room(room: dict[str, int]) -> Finding:
    inodes = "" if room["inodes"] < 0 else f", {room['inodes']} inodes"
    text = f"{room['bytes'] / (1 << 30):.1f} GB{inodes} free"
    if not room["bytes"] or not room["inodes"]:
        return Finding(CHANGE, "room", text, "Make room, or ask for more.")
    if room["bytes"] < _LITTLE_BYTES or 0 <= room["inodes"] < _FEW_INODES:
        return Finding(NOTE, "room", f"{text}: that is little; a quota may leave you less")
    return Finding(FINE, "room", f"{text}; a quota may leave you less")


def _clock(clock: dict[str, Any]) -> Finding:
    ahead_s = float(clock["ahead_s"])
    text = f"{abs(ahead_s):.3g} s {'ahead of' if ahead_s >= 0 else 'behind'} this machine's"
    if clock["whole_seconds"]:
        text += ", in whole seconds: an input that is changed within one and keeps its size counts as unchanged"
        return Finding(NOTE, "clock", text)
    if abs(ahead_s) > _CLOCK_OFF_S:
        return Finding(NOTE, "clock", f"{text}: times in lists are off; nothing is decided by them")
    return Finding(FINE, "clock", text)


# ---- several processes


def findings_together(parties: Sequence[dict[str, Any]], links: str, who: str = "processes") -> Iterator[Finding]:
    """Judge what several processes found at once (pilot/fs_together.py).

    Args:
        links: the kind of exclusive names that a batch would use.
        who: what they are called.
    """
    errors = [str(party["error"]) for party in parties if party["error"]]
    if errors:
        text = f"the {who} did not see each other's files: {errors[0]}"
        yield Finding(CHANGE, "filesystem", text, "Put the survey on another one.")
        return
    yield _delays(parties)
    for kind in RACES:
        yield from _race([party[f"race_{kind}"] for party in parties], kind, links, who)
    yield _held(parties, who)
    yield _replaced(parties)
    yield _appended(parties)


_WAYS = {"listed": "in a listing", "asked": "a name that was asked for too early", "content": "a replaced file"}


def _delays(parties: Sequence[dict[str, Any]]) -> Finding:
    times = {way: seconds for party in parties for way, seconds in party["there_and_back_s"].items()}
    patience = f"not within {max(party['patience_s'] for party in parties):.0f} s"
    said = [f"{words} {f'{times[way]:.2g} s' if way in times else patience}" for way, words in _WAYS.items()]
    text = f"what one writes the other sees, there and back: {', '.join(said)}"
    if times.get("listed", _SLOW_S + 1) <= _SLOW_S:
        return Finding(FINE, "filesystem", text)
    advice = "That is long: states and progress are seen late; another filesystem may be quicker."
    return Finding(NOTE, "filesystem", text, advice)


_SUBJECTS = {SYMLINK: "symbolic links", FILE: "linked files", CREATED: "exclusive files"}


def _race(races: Sequence[dict[str, Any]], kind: str, links: str, who: str) -> Iterator[Finding]:
    subject = "names" if kind == links else _SUBJECTS[kind]
    # Registrations are files, whatever names are; links matter only if names are links.
    level, advice = (NOTE, "") if kind == SYMLINK != links else (CHANGE, _TWICE)
    errors = [str(race["error"]) for race in races if race["error"]]
    if errors:
        yield Finding(level, subject, f"the {who} could not make names: {errors[0]}", advice)
        return
    tried = max(race["tried"] for race in races)
    wins = Counter(number for race in races for number in race["won"])
    twice = sum(count > 1 for count in wins.values())
    nobody = sum(number not in wins for number in range(tried))
    if twice or nobody:
        text = f"of {tried} exclusive names {twice} were won by more than one and {nobody} by none"
        yield Finding(level, subject, text, advice)
        return
    rate = sum(race["tried"] for race in races) / max(max(race["took_s"] for race in races), 1e-3)
    shares = ", ".join(str(len(race["won"])) for race in races)
    yield Finding(
        FINE,
        subject,
        f"{tried} tried by {len(races)} {who} at once: {shares} won, none twice ({rate:.0f} tries/s)",
    )


def _held(parties: Sequence[dict[str, Any]], who: str) -> Finding:
    numbers = Counter(int(number) for party in parties for number, _, _ in party["held"])
    twice = sum(count > 1 for count in numbers.values())
    overlaps = _overlaps(parties)
    if twice or overlaps:
        text = f"of {len(numbers)} numbers {twice} were held by two {who}; {overlaps} overlapped in time"
        return Finding(CHANGE, "holding", text, _TWICE)
    return Finding(FINE, "holding", f"{len(numbers)} times one of the {who} held it alone, never two at once")


def _overlaps(parties: Sequence[dict[str, Any]]) -> int:
    """Count the spans of time that begin before another one's end, among processes with one clock."""
    found = 0
    for boot_id in {party["boot_id"] for party in parties if party["boot_id"]}:
        spans = sorted(
            (since, until) for party in parties if party["boot_id"] == boot_id for _, since, until in party["held"]
        )
        found += sum(later[0] < earlier[1] for earlier, later in zip(spans, spans[1:]))
    return found


def _replaced(parties: Sequence[dict[str, Any]]) -> Finding:
    total = Counter[str]()
    for party in parties:
        total.update(party["replaced"])
    text = f"a file was replaced {total['replaced']} times and read {total['read']} times meanwhile"
    if total["missing"] or total["partial"]:
        text += f": {total['missing']} times it was not there, {total['partial']} times it was a part"
        return Finding(CHANGE, "rename", text, _ELSEWHERE)
    if total["blinks"] or total["stale"]:
        text += f"; {total['blinks'] + total['stale']} times it could not be had for a moment, which readers wait for"
        return Finding(NOTE, "rename", text)
    return Finding(FINE, "rename", f"{text}, always whole")


def _appended(parties: Sequence[dict[str, Any]]) -> Finding:
    lost = max(party["appended"]["lost"] for party in parties)
    lines = max(party["appended"]["lines"] for party in parties)
    if lost:
        text = f"of the lines that were appended to one file in turn, {lost} are gone"
        return Finding(CHANGE, "appending", text, _ELSEWHERE)
    return Finding(FINE, "appending", f"{lines} lines by one after the other, none lost")
