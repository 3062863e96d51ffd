"""The commands: each parses, calls, prints; one file a command. What they do lies in the packages below."""

from __future__ import annotations
