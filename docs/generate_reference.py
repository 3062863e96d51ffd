"""Write the generated pages of docs/reference: the commands, the profile's keys, the errors.

    python docs/generate_reference.py           write them
    python docs/generate_reference.py --check   exit with 1 if one is out of date

They are made from the same objects that the program uses: click's commands, the metadata of ``Profile``'s fields, the
docstrings of the error classes. tests/unit/test_docs.py compares the pages with what this module makes.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from crh_batch import errors
from crh_batch.cli.group import COMMANDS, INTERRUPTED, cli
from crh_batch.errors import CrhBatchError
from crh_batch.profile import Profile

REFERENCE = Path(__file__).resolve().parent / "reference"
HOW_TO_MEND = "python docs/generate_reference.py"
_NOTE = f"<!-- Made by `{HOW_TO_MEND}`; change the code that it is made from, not this page. -->"


def pages() -> dict[str, str]:
    """Return the text of each generated page, by file name."""
    return {"cli.md": cli_page(), "profile.md": profile_page(), "errors.md": errors_page()}


# ---------------------------------------------------------------- commands


def cli_page() -> str:
    """Return the page of the commands."""
    context = click.Context(cli, info_name="crh-batch")
    names = cli.list_commands(context)
    lines = [
        "# Commands",
        "",
        _NOTE,
        "",
        *_paragraphs(cli.help or ""),
        "Without a BATCH or PATH a command takes the newest batch at or above the current directory; `wait` and",
        "`collect` take every batch there that is not over or not collected. Data goes to stdout, talk to stderr.",
        "The forms of `--json`: [json.md](json.md). All exit codes: [errors.md](errors.md#exit-codes).",
        "",
        *(f"- [`crh-batch {name}`](#crh-batch-{name}): {_summary(name)}" for name in names),
        "",
    ]
    for name in names:
        command = cli.get_command(context, name)
        assert command is not None, f"{name} is listed"
        lines += _command(name, command)
        if isinstance(command, click.Group):
            for below, one in sorted(command.commands.items()):
                lines += _command(f"{name} {below}", one)
    return _text(lines)


def _summary(name: str) -> str:
    """Return what the command's module says of it in one line."""
    doc = inspect.getdoc(sys.modules[f"crh_batch.cli.{COMMANDS[name]}"]) if _is_loaded(name) else ""
    return (doc or "").partition("\n")[0].partition(": ")[2]


def _is_loaded(name: str) -> bool:
    return cli.get_command(click.Context(cli), name) is not None


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option)]
    usage = " ".join(["crh-batch", name, "[OPTIONS]", *(one.metavar or one.human_readable_name for one in arguments)])
    yield from (f"## crh-batch {name}", "", "```text", usage, "```", "")
    yield from _paragraphs(command.help or "")
    if options:
        yield from ("| option | meaning |", "|---|---|")
        for option in options:
            yield f"| {_option_names(option)} | {_cell(_meaning(option))} |"
        yield ""


def _option_names(option: click.Option) -> str:
    names = ", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts])
    value = _value(option)
    return f"{names} {value}" if value else names


def _value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return _cell("\\|".join(f"`{one}`" for one in option.type.choices), escape=False)
    return option.metavar or {"integer": "N", "integer range": "N", "float range": "X", "path": "PATH"}.get(
        option.type.name, option.type.name.upper()
    )


def _meaning(option: click.Option) -> str:
    parts = [option.help or ""]
    lowest = getattr(option.type, "min", None)
    if lowest is not None:
        parts.append(f"At least {lowest}.")
    if option.show_default and option.default is not None:
        parts.append(f"Default: {option.default}.")
    return " ".join(parts)


# ---------------------------------------------------------------- profile


def profile_page() -> str:
    """Return the page of the profile's keys."""
    lines = [
        "# Profile: a cluster's settings",
        "",
        _NOTE,
        "",
        "TOML files, read in this order; a later one wins key by key, and the command line wins over all:",
        "",
        "1. `/etc/crh-batch/profile.toml`: the site's",
        "2. `~/.config/crh-batch/profile.toml`: yours (`$XDG_CONFIG_HOME/crh-batch/profile.toml` if that is set)",
        "3. the named profile, if one is asked for: `profiles/NAME.toml` in these two directories, or any file",
        "4. `crh-batch.toml` in the survey's directory",
        "",
        'The name comes from `--profile`, else from a line `profile = "NAME"` in the survey\'s `crh-batch.toml`.',
        "`crh-batch profile show` tells what holds and where it is from.",
        "",
        "The survey's directory is the current one if all PATHs lie in it, else their common parent. A key that is",
        "not listed here is refused, with the nearest one that is. What a batch was submitted with stands in its",
        "`batch.json`.",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for one in dataclasses.fields(Profile):
        default = _default(one)
        kind = {str: "text", int: "whole number", bool: "true or false", tuple: "list of texts"}[type(default)]
        lines.append(f"| `{one.name}` | {kind} | `{_toml(default)}` | {_cell(str(one.metadata['description']))} |")
    lines += ["", "All keys with their defaults, to copy from:", "", "```toml"]
    lines += [f"{one.name} = {_toml(_default(one))}" for one in dataclasses.fields(Profile)]
    lines += ["```", "", "How they are made and tried: [how-to/profiles.md](../how-to/profiles.md).", ""]
    return _text(lines)


def _default(one: dataclasses.Field[Any]) -> Any:
    return () if one.default is dataclasses.MISSING else one.default


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


# ---------------------------------------------------------------- errors


def errors_page() -> str:
    """Return the page of the errors and the exit codes."""
    lines = [
        "# Errors and exit codes",
        "",
        _NOTE,
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        "| 0 | all well |",
        "| 1 | some tomodirs failed, can't be run, or are not over yet (`wait --timeout`) |",
        "| 2 | wrong usage: an unknown option, a profile that can't be read, no batch here |",
        "| 3 | the surroundings are at fault: scheduler, program, filesystem, another client; or nobody is left to run"
        " the rest |",
        f"| {INTERRUPTED} | interrupted by Ctrl-C; the same command goes on from there |",
        "",
        "When several things went wrong, the highest code counts. What each command makes of its results:",
        "[cli.md](cli.md).",
        "",
        "## Errors",
        "",
        "A message has three parts: what (path or value), what is wrong, and what to do. Symptoms and causes:",
        "[why-did-it-fail.md](../why-did-it-fail.md). The classes, for programs that import `crh_batch.errors`:",
        "",
        "| class | is a | exit code | meaning |",
        "|---|---|---|---|",
    ]
    for one in error_classes():
        base = one.__bases__[0].__name__
        lines.append(f"| `{one.__name__}` | `{base}` | {one.exit_code} | {_cell(_docstring(one))} |")
    return _text([*lines, ""])


def error_classes() -> list[type[CrhBatchError]]:
    """Return every error class, in the order of the file."""
    found = [
        one
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, CrhBatchError) and one.__module__ == errors.__name__
    ]
    return sorted(found, key=lambda one: inspect.getsourcelines(one)[1])


def _docstring(one: type[CrhBatchError]) -> str:
    """Return the summary of a class's docstring, without its section of arguments."""
    return (inspect.getdoc(one) or "").partition("\n\n")[0]


# ---------------------------------------------------------------- text


def _paragraphs(text: str) -> Iterator[str]:
    r"""Yield a help text's paragraphs as lines; one after ``\b`` is kept as it is, as click does."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith(("\b", "\\b")):
            yield from ("```text", *paragraph.split("\n")[1:], "```", "")
        else:
            yield from (*paragraph.split("\n"), "")


def _cell(text: str, *, escape: bool = True) -> str:
    """Return text for a table's cell: one line, no column marks of its own."""
    line = re.sub(r"\s+", " ", text).strip()
    return line.replace("|", "\\|") if escape else line


def _text(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def outdated() -> list[str]:
    """Return the names of pages that are missing or not as they would be made now."""
    names = []
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            names.append(name)
    return names


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    if parser.parse_args().check:
        old = outdated()
        for name in old:
            print(f"docs/reference/{name} is out of date; run: {HOW_TO_MEND}", file=sys.stderr)
        return 1 if old else 0
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
