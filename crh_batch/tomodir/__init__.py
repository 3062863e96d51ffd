"""What a tomodir is: which directories are tomodirs, what is still to be run in them, and what came out of a run.

Everything here only reads, uses the standard library alone and runs on Python 3.9, because it travels to compute
nodes. ``describe`` answers before a run, ``JUDGES`` after it, ``read_progress`` in between.
"""

from __future__ import annotations
