"""The import arrows of the design: a contract in pyproject.toml, held here."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What travels to compute nodes, where nothing is installed.
TRAVELS = ("errors.py", "tomodir", "ledger", "pilot")


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("lint-imports")
    assert program is not None, "import-linter is one of the dev dependencies"
    return subprocess.run(
        [program, "--no-cache"],
        cwd=directory,
        env={"PATH": str(Path(program).parent), "PYTHONPATH": str(directory), "HOME": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with its contracts, in a place of its own."""
    shutil.copytree(ROOT / "crh_batch", tmp_path / "crh_batch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_arrows_when_the_package_is_as_it_is_then_all_contracts_are_kept(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("tomodir/scan.py", "from crh_batch.ledger import durable"),
        ("ledger/names.py", "from crh_batch.pilot import cores"),
        ("pilot/room.py", "from crh_batch import profile"),
        ("schedulers/slurm.py", "from crh_batch.engines import base"),
        ("report/table.py", "from crh_batch.cli import common"),
        ("errors.py", "from crh_batch.tomodir import files"),
    ],
)
def test_arrows_when_a_module_points_up_then_the_contract_is_broken(copy: Path, module: str, line: str) -> None:
    path = copy / "crh_batch" / module
    path.write_text(path.read_text() + f"\n{line}  # noqa\n")
    done = lint_imports(copy)
    assert done.returncode != 0, done.stdout
    assert "BROKEN" in done.stdout


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def travelling() -> list[Path]:
    found: list[Path] = []
    for name in TRAVELS:
        place = ROOT / "crh_batch" / name
        found += [place] if place.is_file() else sorted(place.rglob("*.py"))
    return found


@pytest.mark.parametrize("path", travelling(), ids=lambda path: str(path.relative_to(ROOT / "crh_batch")))
def test_import_when_a_module_travels_then_it_is_of_the_standard_library_or_travels_too(path: Path) -> None:
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "crh_batch":
            assert rest.split(".")[0] in ("errors", "tomodir", "ledger", "pilot"), name
        else:
            assert first in sys.stdlib_module_names, name


@pytest.mark.parametrize("path", travelling(), ids=lambda path: str(path.relative_to(ROOT / "crh_batch")))
def test_syntax_when_a_module_travels_then_python_3_9_reads_it(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))


def places_of(names: set[str]) -> list[str]:
    """Where functions of ``os`` with these names are used, by file."""
    found = []
    for path in sorted((ROOT / "crh_batch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
            if is_os and isinstance(node, ast.Attribute) and node.attr in names:
                found.append(f"{path.relative_to(ROOT / 'crh_batch')}: os.{node.attr}")
    return found


def test_durable_calls_when_looked_for_then_they_are_in_one_module() -> None:
    """Faults are injected there. bin/python is a convenience, and no name of the protocol.

    What runs at the other end of a connection is sent there as text and can import nothing.
    """
    elsewhere = ("ledger/durable.py", "hosts/remote_")
    found = {one for one in places_of({"symlink", "replace", "link", "fsync"}) if not one.startswith(elsewhere)}
    assert found <= {"engines/programs.py: os.symlink"}
