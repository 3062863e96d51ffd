"""What processes find on a filesystem that is fit for a survey (pilot/fs_alone.py, pilot/fs_together.py)."""

from __future__ import annotations

from typing import Any

ALONE: dict[str, Any] = {
    "filesystem": "nfs4",
    "kind": {"links": "symlink", "error": ""},
    "exclusive_error": "",
    "link": {"most": 0, "error": ""},
    "replace_error": "",
    "sync": {"file_s": 0.002, "directory_s": 0.003, "error": ""},
    "names": {"refused": [], "changed": []},
    "modes_error": "",
    "execute_error": "",
    "room": {"bytes": 50 << 30, "inodes": 10**6},
    "clock": {"ahead_s": 0.004, "whole_seconds": False},
}


def _party(token: str, won: list[int], held: list[tuple[int, float, float]], **others: Any) -> dict[str, Any]:
    race = {"tried": 3, "won": won, "took_s": 0.002, "error": ""}
    return {
        "token": token,
        "boot_id": "one",
        "error": "",
        "patience_s": 45.0,
        "there_and_back_s": {},
        "race_symlink": race,
        "race_file": race,
        "race_created": race,
        "held": held,
        "replaced": {"replaced": 0, "read": 50, "blinks": 0, "stale": 0, "missing": 0, "partial": 0},
        "appended": {"lines": 10, "lost": 0},
        **others,
    }


PARTIES: list[dict[str, Any]] = [
    _party(
        "aaa",
        [0, 2],
        [(1, 1.0, 2.0), (3, 3.0, 4.0)],
        there_and_back_s={"listed": 0.02, "asked": 6.0, "content": 6.1},
    ),
    _party("bbb", [1], [(2, 2.0, 3.0)]),
]
