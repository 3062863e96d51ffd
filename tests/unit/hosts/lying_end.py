"""An other end that says what a test wants, whatever it is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from unit.hosts.pipe_host import PipeHost

# It reads the program it is sent, says the mark that is in it, and then one answer after another, the last for ever.
_LIAR = """#!{python}
import json, re, sys, zlib
stream = sys.stdin.buffer
text = zlib.decompress(stream.read(int(stream.readline()))).decode()
print(re.findall(r"crh-batch-[a-z0-9]{{16}}", text)[-1], flush=True)
with open({answers!r}, "rb") as file:
    answers = file.read().split(b"\\n")
for number, request in enumerate(stream):
    sys.stdout.buffer.write(answers[min(number, len(answers) - 1)] + b"\\n")
    sys.stdout.buffer.flush()
"""


def lying_host(directory: Path, *answers: Any) -> PipeHost:
    """Return a host that gives these answers: JSON, or bytes as they are."""
    said = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in answers]
    (directory / "answers").write_bytes(b"\n".join(said))
    program = directory / "liar"
    program.write_text(_LIAR.format(python=sys.executable, answers=str(directory / "answers")))
    program.chmod(0o755)
    return PipeHost(python=str(program), silence_s=20.0)
