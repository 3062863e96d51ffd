"""Batches that the real commands made, copied and hurt, and what `verify` says of them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from crh_batch.cli.group import cli
from crh_batch.errors import CrhBatchError
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.identity import this_process
from crh_batch.ledger.names import states

Verify = Callable[..., "Said"]


def by_command(*arguments: str, place: Path) -> int:
    """Run a command in this process; return its exit code, also that of an error."""
    before = os.getcwd()
    os.chdir(place)
    try:
        code = cli.main(list(arguments), standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except CrhBatchError as error:
        code = error.exit_code
    finally:
        os.chdir(before)
    return int(code or 0)


@dataclass(frozen=True)
class Said:
    """What a run of verify said: its exit code, and for each part what is odd and what was mended."""

    code: int
    parts: list[dict[str, Any]]

    @property
    def odd(self) -> dict[str, list[str]]:
        """The places of each kind."""
        return {
            group["kind"]: [one["place"] for one in group["places"]] for part in self.parts for group in part["odd"]
        }

    @property
    def fixable(self) -> set[str]:
        """The kinds that --fix says it mends."""
        return {group["kind"] for part in self.parts for group in part["odd"] if group["fixable"]}

    @property
    def mended(self) -> set[str]:
        """The kinds that were mended."""
        return {group["kind"] for part in self.parts for group in part["mended"]}

    def words(self) -> str:
        """All sentences, for a look at what is said."""
        return " | ".join(f"{one['says']}: {one['do']}" for part in self.parts for one in part["odd"])


class Hurt:
    """A survey with one batch of four tomodirs, of which something will be broken."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.batch = Batch(batches_of(str(root))[-1])
        self.directory = Path(self.batch.paths.directory)
        self.paths = [item.path for item in self.batch.items]

    def tomodir(self, number: int) -> Path:
        return self.root / self.paths[number]

    def crh(self, number: int) -> Path:
        tomodir = self.tomodir(number)
        return tomodir.with_name(tomodir.name + ".crh")

    def name(self, number: int, mark: str) -> Path:
        return Path(self.batch.paths.name(number, mark))

    def session_of(self, number: int, mark: str = "done") -> Path:
        return Path(os.path.join(self.name(number, mark).parent, os.readlink(self.name(number, mark)))).resolve()

    def pack_of(self, number: int) -> Path:
        return self.directory / "packs" / f"{self.session_of(number).stem}.pack"

    def states(self) -> list[str]:
        found = states(self.batch.paths, self.batch.items.ids, self.batch.settings)
        return [state.name.value for _, state in found]

    def change_settings(self, **values: Any) -> None:
        path = self.directory / "batch.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    def change_lines(self, path: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Rewrite a file of JSON lines; what becomes None is left out."""
        changed = [change(json.loads(line)) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(one) + "\n" for one in changed if one is not None))

    def kill_pilots_of_record(self) -> None:
        """Let every session be one of an earlier boot of this machine: provably dead."""
        dead = dataclasses.replace(this_process(), boot_id="00000000-0000-0000-0000-000000000000").to_json()
        for path in (self.directory / "sessions").glob("*.crh"):
            self.change_lines(path, lambda line: {**line, "who": dead} if "who" in line else line)

    def copy(self, place: Path) -> Hurt:
        shutil.copytree(self.root, place, symlinks=True)
        return Hurt(place)
