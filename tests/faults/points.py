"""Each change that a process makes to files below a directory, announced before it is made.

Announced are, by an audit hook (sys.addaudithook): each opening for writing, symlink, link, rename, mkdir, unlink,
rmdir, truncation, change of mode, owner or times, and each program start. Audit hooks don't see writes; those are
announced by the seam in ledger/durable.py, before and amid each, and for files that open() has opened by a class of
their own; an fsync is announced, too. test_kill_points_traced.py compares with what strace sees.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Any

from crh_batch.ledger import durable

# Which argument of an event is the place, and which one the directory that it is relative to.
_EVENTS: dict[str, tuple[int, int | None]] = {
    "os.symlink": (1, 2),
    "os.link": (1, 3),
    "os.rename": (1, 3),
    "os.mkdir": (0, 2),
    "os.remove": (0, 1),
    "os.rmdir": (0, 1),
    "os.truncate": (0, None),
    "os.chmod": (0, 2),
    "os.chown": (0, 3),
    "os.utime": (0, 3),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Announcer:
    """Announces the changes of this process, and not those of its forks.

    Args:
        directory: below which changes count; ends with a slash.
        on_point: called with what is about to be done, in the thread that does it.
    """

    def __init__(self, directory: str, on_point: Callable[[str], None]) -> None:
        self._directory = directory
        self._on_point = on_point
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def install(self) -> None:
        """Begin; there is no end to an audit hook but the process's."""
        real_write, real_fsync, real_open = durable.calls.write, durable.calls.fsync, builtins.open

        def write(descriptor: int, data: bytes) -> int:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if not self._is_ours(name) or len(data) < 2:
                self._point_at("write", name)
                return real_write(descriptor, data)
            self._point_at("write", name)
            half = real_write(descriptor, data[: len(data) // 2])
            self._point_at("second half of write", name)
            return half + real_write(descriptor, data[len(data) // 2 :])

        def fsync(descriptor: int) -> None:
            self._point_at("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
            real_fsync(descriptor)

        def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
            is_path = isinstance(file, (str, bytes, os.PathLike))
            if not set(mode) & set("wax+") or not is_path or not self._is_ours(os.fsdecode(file)):
                return real_open(file, mode, buffering, *rest, **more)
            raw = _announced_file(self._point_at)(os.fsdecode(file), mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **more)

        setattr(durable.calls, "write", write)  # noqa: B010 - declared as static methods
        setattr(durable.calls, "fsync", fsync)  # noqa: B010
        setattr(builtins, "open", open_)  # noqa: B010
        # shutil copies by write(2), so that its writes are announced as others are.
        setattr(shutil, "_USE_CP_SENDFILE", False)  # noqa: B010
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            self._point(f"start of {arguments[0]}")
        elif event in _EVENTS:
            at, relative_to = _EVENTS[event]
            directory = arguments[relative_to] if relative_to is not None and len(arguments) > relative_to else -1
            self._point_at(event, _path(arguments[at], directory))
        elif event == "open" and arguments[2] & _WRITING:
            self._point_at("open", _path(arguments[0], -1))

    def _is_ours(self, place: str) -> bool:
        return os.path.abspath(place).startswith(self._directory)

    def _point_at(self, what: str, place: str) -> None:
        if self._is_ours(place):
            self._point(f"{what} {place}")

    def _point(self, what: str) -> None:
        if os.getpid() != self._owner:
            return  # the guard is a fork, and so are local pilots
        with self._lock:
            self._on_point(what.replace(self._directory, ""))


def _path(place: Any, directory: Any) -> str:
    if isinstance(place, int):
        return os.readlink(f"/proc/self/fd/{place}")
    path = os.fsdecode(place)
    if isinstance(directory, int) and directory >= 0 and not os.path.isabs(path):
        return os.path.join(os.readlink(f"/proc/self/fd/{directory}"), path)
    return path


def _announced_file(announce: Callable[[str, str], None]) -> type[io.FileIO]:
    class AnnouncedFile(io.FileIO):
        def write(self, data: Any) -> int:
            announce("write", str(self.name))
            return super().write(data)

    return AnnouncedFile
