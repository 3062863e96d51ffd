"""Schedulers as text: scripts, argv, and the parsing of answers. Runs nothing."""

from __future__ import annotations
