"""Runs on compute nodes: claims tomodirs of a batch, runs them in private directories, commits what they gave.

Standard library only; travels as ``pilot.pyz`` together with ``ledger``, ``tomodir`` and ``errors``.
"""

from __future__ import annotations
