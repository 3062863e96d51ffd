"""Finding CRMod and CRTomo, and freezing them and the pilot in a batch's directory.

A batch runs what was there when it was submitted, whatever is installed or changed afterwards.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.machinery
import importlib.util
import io
import marshal
import os
import pkgutil
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import crh_batch
from crh_batch.errors import LedgerError, ProgramMissing
from crh_batch.ledger import durable
from crh_batch.ledger.paths import BatchPaths
from crh_batch.profile import Profile

_PACKAGE = "crtomo_bin_wrapper"
# What travels to compute nodes; the standard library alone is imported there.
_TRAVELS = ("crh_batch.errors", "crh_batch.tomodir", "crh_batch.ledger", "crh_batch.pilot")
_FIXED_DATE = (2020, 1, 1, 0, 0, 0)


def find_program(name: str, profile: Profile) -> str:
    """Return the path of CRMod or CRTomo.

    Looked for in this order: the profile; PATH; the package crtomo-bin-wrapper. That package's launchers on PATH start
    the program through a shell and drop its exit status, so the program behind them is taken.

    With a container, an absolute path in the profile is one inside it: it is not looked at, for it isn't here.

    Raises:
        ProgramMissing: it isn't there, or can't be executed.
    """
    configured = {"CRMod": profile.crmod, "CRTomo": profile.crtomo}[name]
    if profile.is_inside_container[name]:
        return configured
    path = os.path.expanduser(configured) if configured else _on_path(name) or _in_package(name)
    if not path:
        raise ProgramMissing(
            f"{name}: not found in the profile, on PATH, or in the package crtomo-bin-wrapper",
            f'pip install crtomo-bin-wrapper, or name it in crh-batch.toml: {name.lower()} = "/path/to/{name}"',
            name,
        )
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise ProgramMissing(f"{name}: {path}: not a file that can be executed", "Mend the path or its mode.", name)
    return path


def _on_path(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        return ""
    with open(found, "rb") as stream:
        is_script = stream.read(2) == b"#!"
    if not is_script:
        return found
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(found)))
    pattern = os.path.join(
        glob.escape(prefix), "lib", "python*", "site-packages", _PACKAGE, "binaries", f"{name}_stable"
    )
    return next(iter(sorted(glob.glob(pattern))), found)


def _in_package(name: str) -> str:
    spec = importlib.util.find_spec(_PACKAGE)
    for directory in (spec.submodule_search_locations or ()) if spec else ():
        path = os.path.join(directory, "binaries", f"{name}_stable")
        if os.path.isfile(path):
            return path
    return ""


def freeze_programs(
    paths: BatchPaths, programs: dict[str, str], inside: Mapping[str, bool] = MappingProxyType({})
) -> dict[str, dict[str, str]]:
    """Copy programs into ``bin/`` under names with their sums; return what batch.json keeps of them.

    Args:
        programs: name to path.
        inside: which of them lie inside a container (Profile.is_inside_container): those can't be copied or summed up,
            so their path is kept.
    """
    frozen = {}
    for name, source in programs.items():
        if inside.get(name):
            frozen[name] = {"path": source, "sha256": "", "source": source}
            continue
        with open(source, "rb") as stream:
            content = stream.read()
        sha256 = hashlib.sha256(content).hexdigest()
        file = f"{name}-{sha256[:12]}"
        target = os.path.join(paths.programs, file)
        durable.write_durable(target, content, mode=0o755)
        frozen[name] = {"file": file, "sha256": sha256, "source": source}
    return frozen


def freeze_pilot(paths: BatchPaths, entry: str = "crh_batch.pilot.main") -> str:
    """Write pilot.pyz and ``bin/python``, a link to this Python; return the pilot's sum.

    Args:
        entry: the module whose ``main`` pilot.pyz runs.
    """
    content = pilot_archive(entry)
    durable.write_durable(paths.pilot, content)
    try:
        os.symlink(os.path.realpath(sys.executable), os.path.join(paths.programs, "python"))
    except OSError:
        # A convenience: job scripts fall back to the node's own python3.
        pass
    return hashlib.sha256(content).hexdigest()


def link_python(path: str) -> None:
    """Make a link to this Python by the name it was started with: behind that its environment isn't known any more."""
    os.symlink(sys.executable, path)


def pilot_archive(entry: str = "crh_batch.pilot.main") -> bytes:
    """Return pilot.pyz: source and, for this Python, byte code, which starts three times as fast.

    The same sources give the same bytes.

    Args:
        entry: the module whose ``main`` it runs.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), content)

        add("__main__.py", f"import sys\nfrom {entry} import main\nsys.exit(main())\n".encode())
        # The package's own __init__ is enough for the version; nothing else of it travels.
        for module in ("crh_batch", *_modules()):
            _add_module(module, add)
    return b"#!/usr/bin/env python3\n" + buffer.getvalue()


def _modules() -> Iterator[str]:
    for name in _TRAVELS:
        yield name
        spec = importlib.util.find_spec(name)
        for entry in pkgutil.iter_modules((spec and spec.submodule_search_locations) or ()):
            yield f"{name}.{entry.name}"


def _add_module(name: str, add: Callable[[str, bytes], None]) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
        raise LedgerError(
            f"{crh_batch.__name__}: the source of {name} is not there, so the pilot can't be made",
            "Install crh-batch again; byte code alone is not enough.",
        )
    source = spec.loader.get_data(spec.loader.path)
    code = spec.loader.get_code(name)
    base = name.replace(".", "/") + ("/__init__" if spec.submodule_search_locations else "")
    # PEP 552: flags 0b01 is a byte code file with the source's hash, which is not checked again.
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    add(f"{base}.pyc", header + marshal.dumps(code))
    add(f"{base}.py", source)
