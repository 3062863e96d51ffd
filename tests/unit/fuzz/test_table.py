"""Each function that reads what others wrote is in the table of readers, or stands here with the reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import crh_batch
from unit.fuzz.readers import make_readers

PACKAGE = Path(crh_batch.__file__).parent
PREFIXES = ("read_", "parse_", "load_", "expand_")

# What needs no damaged input of its own, and why.
LEFT_OUT = {
    "tomodir.files.read_bytes": "gives bytes, whatever they are; tests of files that are none: test_hostile_files.py",
    "tomodir.files.read_ends": "as read_bytes",
    "ledger.reading.parse_json": "under all readers of JSON",
    "engines.trial_directory.read_json": "reads what the job of `profile test` wrote in a directory of its own",
    "report.outputs.read_outputs": "reads records as collect does (pack) and sessions as all do (session)",
    "report.usage.read_usage": "called by the reader of sessions",
}


def functions() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith(PREFIXES):
                found.add(f"{module}.{node.name}")
    return found


@pytest.mark.usefixtures("_own_surroundings")
def test_readers_when_a_new_one_is_written_then_it_must_be_in_the_table(tmp_path: Path) -> None:
    covered = {name for reader in make_readers(tmp_path) for name in reader.covers}
    known = functions()
    verify = {name for name in known if name.startswith("verify.")}
    assert known - verify - covered - set(LEFT_OUT) == set(), "a reader without damaged inputs: put it in readers.py"
    assert set(LEFT_OUT) <= known, "a reason for what is not there any more"
    # Methods of other modules may be covered by name, too; functions that are gone must go from the table.
    gone = {name for name in covered if name.rpartition(".")[2].startswith(PREFIXES)} - known
    assert gone == set(), "the table names what is not there"


def test_readers_when_they_are_listed_then_each_has_a_name_and_examples(tmp_path: Path) -> None:
    readers = make_readers(tmp_path)
    names = [reader.name for reader in readers]
    assert len(names) == len(set(names))
    assert all(reader.corpus for reader in readers)
