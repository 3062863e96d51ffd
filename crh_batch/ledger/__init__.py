"""The protocol on the shared filesystem: durable writes, control files, batches, names, sessions, packs, collect.

docs/protocol.md is its specification. Only this package writes control files, names and packs.
"""

from __future__ import annotations
