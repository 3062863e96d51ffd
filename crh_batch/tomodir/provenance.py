"""exe/crh.json: what was run here, with which inputs; written when results are collected, only read here.

::

    {"stages": {"modelling": {"outcome": "done", "inputs": {"grid/elem.dat": "<sha256, hex>", ...}}}}
"""

from __future__ import annotations

import hashlib
import json
import os

from crh_batch.tomodir.files import DATA_LIMIT_BYTES, TEXT_LIMIT_BYTES, read_bytes
from crh_batch.tomodir.stage import StageName

PROVENANCE = "exe/crh.json"


def was_done(tomodir: str, stage: StageName, inputs: tuple[str, ...]) -> bool:
    """Whether a stage was run to a good end with inputs of the same content as they have now.

    It is the only trace of a modelling that writes no volt.dat. Anything that can't be read counts as not done.
    """
    recorded = _recorded_inputs(tomodir, stage)
    if recorded is None or set(recorded) != set(inputs):
        return False
    try:
        return all(recorded[name] == _sha256(os.path.join(tomodir, name)) for name in inputs)
    except (OSError, ValueError):
        return False


def _recorded_inputs(tomodir: str, stage: StageName) -> dict[str, object] | None:
    try:
        found = json.loads(read_bytes(os.path.join(tomodir, PROVENANCE), TEXT_LIMIT_BYTES))
        record = found["stages"][stage.value]
        inputs = record["inputs"]
        return dict(inputs) if record["outcome"] == "done" and isinstance(inputs, dict) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _sha256(path: str) -> str:
    return hashlib.sha256(read_bytes(path, DATA_LIMIT_BYTES)).hexdigest()
