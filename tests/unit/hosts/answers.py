"""Reads packed answers of the other end, as a client does."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any


def unpacked(answer: Mapping[str, Any]) -> Any:
    """Return what is in an answer's ``data``."""
    return json.loads(zlib.decompress(base64.b64decode(answer["data"])))
