"""A profile's file as `crh-batch profile init` writes it: what was found is filled in, the rest stands as comments."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crh_batch.profile import Profile
from crh_batch.site import Partition, Site

_WIDTH = 116
# Long enough for most tomodirs, short enough for most queues, where the site allows more.
_USUAL_MINUTES = 1440


@dataclass(frozen=True)
class _Entry:
    """What is written for a key.

    Args:
        value: None: the key stands as a comment.
        notes: what was found about it.
        example: what the comment shows instead of the default.
    """

    value: Any = None
    notes: tuple[str, ...] = ()
    example: Any = None


def draft(site: Site, made: str) -> str:
    """Return the text of a profile for a site.

    Args:
        made: when, for its first line.
    """
    title = {"slurm": "Slurm", "sge": "SGE"}[site.scheduler]
    entries = _found(site)
    lines = [
        *_comment(f"{title} {site.version.removeprefix('SGE').strip()}, asked by crh-batch profile init on {made}."),
        *_comment(
            "A key that is commented out has the value shown. Change what you like, then try it on a node: "
            "crh-batch profile test"
        ),
        *(_comment(_of_the_site(site)) if _of_the_site(site) else ()),
    ]
    for one in dataclasses.fields(Profile):
        entry = entries.get(one.name, _Entry())
        default = () if one.default is dataclasses.MISSING else one.default
        lines += ["", *_comment(str(one.metadata["description"]))]
        for note in entry.notes:
            lines += _comment(note, indent="  ")
        if entry.value is not None:
            lines.append(f"{one.name} = {toml(entry.value)}")
        else:
            lines.append(f"# {one.name} = {toml(default if entry.example is None else entry.example)}")
    # TOML allows no control characters, not even in comments; a scheduler's answer may hold some.
    return "".join(letter if letter == "\n" or letter.isprintable() else "?" for letter in "\n".join(lines)) + "\n"


def toml(value: Any) -> str:
    """Return a value as TOML: text, whole number, true or false, or a list of texts."""
    if isinstance(value, tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    # A basic string of TOML has JSON's escapes (TOML 1.0, "String").
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str, indent: str = "") -> list[str]:
    # What a scheduler says must not end the comment, so line breaks in it are blanks here.
    width = _WIDTH - len(indent)
    return [
        f"# {indent}{line}" for line in textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False) or [""]
    ]


def _of_the_site(site: Site) -> str:
    words = []
    if site.max_array_size:
        words.append(f"An array may have {site.max_array_size} tasks.")
    if site.accounting is not None:
        words.append(f"Accounting is {'on' if site.accounting else 'off'}.")
    if site.kill_wait_s is not None:
        words.append(f"Between SIGTERM and SIGKILL at the time limit lie {site.kill_wait_s} s (KillWait).")
    return " ".join(words)


def _found(site: Site) -> Mapping[str, _Entry]:
    usable = [one for one in site.partitions if one.is_up] or list(site.partitions)
    chosen = next((one for one in usable if one.is_default), usable[0] if usable else None)
    found = {
        "scheduler": _Entry(site.scheduler),
        "partition": _partition(site, chosen),
        "account": _one_of(site.accounts),
        "qos": _one_of(site.qos, fill_in=False),
        "constraint": _Entry(notes=_listed("Features of nodes: ", _features(site.partitions))),
        **_time(chosen),
        **_memory(site, chosen),
        **_environment(site),
    }
    whole = site.whole_nodes or (chosen is not None and chosen.whole_nodes)
    if whole:
        found["whole_nodes"] = _Entry(True, ("Jobs get their nodes alone here, so tomodirs are packed into them.",))
    if chosen is not None and chosen.largest.cores:
        note = f"A node of {chosen.name} has {chosen.largest.cores}."
        found["cores"] = _Entry(notes=(note,))
        found["max_threads"] = _Entry(notes=(note,))
    return found


def _partition(site: Site, chosen: Partition | None) -> _Entry:
    notes = tuple(_describe(one) for one in site.partitions)
    if chosen is None:
        return _Entry(notes=notes)
    # SGE looks through all queues by itself where none is named; a queue in a profile only takes choices away.
    if site.scheduler == "sge":
        return _Entry(notes=notes, example=chosen.name)
    return _Entry(chosen.name, notes)


def _describe(one: Partition) -> str:
    counts: dict[tuple[int, int], int] = {}
    for kind in one.kinds:
        counts[kind.cores, kind.memory_mb] = counts.get((kind.cores, kind.memory_mb), 0) + kind.count
    kinds = ", ".join(
        f"{count or 'some'} {'node' if count == 1 else 'nodes'} of {cores} cores and {memory_mb or 'unknown'} MB"
        for (cores, memory_mb), count in counts.items()
    )
    limit = "no time limit" if one.max_minutes is None else f"at most {one.max_minutes} minutes"
    default = (
        "" if one.default_minutes in (None, one.max_minutes) else f" ({one.default_minutes} if none are asked for)"
    )
    marks = [
        word
        for word, holds in (("the default", one.is_default), ("whole nodes", one.whole_nodes), ("down", not one.is_up))
        if holds
    ]
    mark = f" ({', '.join(marks)})" if marks else ""
    return f"{one.name}{mark}: {kinds or 'no nodes'}; {limit}{default}"


def _one_of(names: tuple[str, ...], *, fill_in: bool = True) -> _Entry:
    if len(names) == 1 and fill_in:
        return _Entry(names[0])
    return _Entry(notes=_listed("Yours: ", names), example=names[0] if names else None)


def _listed(title: str, names: Iterable[str]) -> tuple[str, ...]:
    text = ", ".join(names)
    return (title + text,) if text else ()


def _features(partitions: Iterable[Partition]) -> list[str]:
    return sorted({feature for one in partitions for kind in one.kinds for feature in kind.features})


def _time(chosen: Partition | None) -> dict[str, _Entry]:
    if chosen is None or chosen.max_minutes is None:
        note = "Tomodirs that take longer never finish; without a limit of its own a job may wait longer."
        return {"time_minutes": _Entry(_USUAL_MINUTES, (note,))}
    minutes = min(chosen.max_minutes, _USUAL_MINUTES)
    entries = {
        "time_minutes": _Entry(
            minutes, (f"{chosen.name} allows {chosen.max_minutes}. Must be longer than your longest tomodir.",)
        )
    }
    if minutes * 60 <= 4 * Profile().warn_s:
        entries["warn_s"] = _Entry(max(minutes * 15, 5), ("A quarter of the time limit, which is short.",))
    return entries


def _memory(site: Site, chosen: Partition | None) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    if site.scheduler == "sge":
        notes = tuple(
            f"{one.name}: {'counted' if one.is_counted else 'not counted'}"
            f"{'; a job that takes more is ended' if one.is_limit else ''}"
            for one in site.memory_resources
        )
        counted = next((one.name for one in site.memory_resources if one.is_counted), None)
        entries["memory_resource"] = _Entry(counted, notes)
    else:
        entries["memory"] = _Entry(site.memory)
    if chosen is not None and chosen.largest.memory_mb:
        entries["max_memory_mb"] = _Entry(notes=(f"A node of {chosen.name} has {chosen.largest.memory_mb}.",))
    return entries


def _environment(site: Site) -> dict[str, _Entry]:
    notes = tuple(
        f"{one.name}: {'all slots on one node' if one.on_one_node else f'allocation rule {one.rule}, of no use here'}"
        for one in site.environments
    )
    fit = [one.name for one in site.environments if one.on_one_node]
    return {"parallel_environment": _Entry(fit[0] if fit else None, notes)} if notes else {}
