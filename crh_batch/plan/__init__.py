"""From described tomodirs to what is asked of a scheduler: threads, memory, time, order, arrays. Pure."""

from __future__ import annotations
