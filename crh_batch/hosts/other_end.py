"""The program of the other side of a connection, put together as text."""

from __future__ import annotations

import zlib
from pathlib import Path

# Without a quote within a quote, for every login shell there is; the program comes over the input. A login shell of
# bash, because modules and schedulers are put on PATH by /etc/profile at many sites.
START_ARGV = (
    "python3",
    "-c",
    "import sys, zlib; exec(zlib.decompress(sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))))",
)
START_TEXT = f"exec bash -lc 'exec {START_ARGV[0]} {START_ARGV[1]} \"{START_ARGV[2]}\"'"

_PACKAGES = ("crh_batch", "crh_batch.hosts")
# In the order in which they import each other.
_MODULES = ("remote_durable", "remote_files", "remote_ledger", "remote_unpack", "remote_side")

_LOADER = """
import sys, types
def _load(name, source):
    module = types.ModuleType(name)
    module.__path__ = []
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    exec(compile(source, name, "exec"), module.__dict__)
"""


def program(mark: str, sign_of_life_s: float) -> bytes:
    """Return what is written to the other side's input first: how long the program is, then the program.

    Args:
        mark: what it says first, alone on its line.
        sign_of_life_s: see ``remote_side.main``.
    """
    lines = [_LOADER]
    lines += [f"_load({name!r}, '')" for name in _PACKAGES]
    lines += [f"_load('crh_batch.hosts.{name}', {_source(name)!r})" for name in _MODULES]
    lines.append(f"sys.modules['crh_batch.hosts.remote_side'].main({mark!r}, {sign_of_life_s!r})")
    text = zlib.compress("\n".join(lines).encode())
    return b"%d\n" % len(text) + text


def _source(name: str) -> str:
    """Return a module for Python 3.6, which doesn't know ``from __future__ import annotations``."""
    text = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    return text.replace("from __future__ import annotations\n", "\n", 1)
