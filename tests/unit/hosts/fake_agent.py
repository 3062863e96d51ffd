"""An agent that a test can make refuse, or fall silent."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

_LIST, _KEYS, _REFUSED = 11, 12, 5


class FakeAgent:
    """Listens at a socket; has keys, and signs with none of them.

    Args:
        keys: the public halves.
        is_silent: whether it answers nothing at all.
    """

    def __init__(self, path: Path, *keys: bytes, is_silent: bool = False) -> None:
        self._keys = keys
        self._is_silent = is_silent
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            while len(length := stream.read(4)) == 4:
                request = stream.read(struct.unpack(">I", length)[0])
                if self._is_silent:
                    continue
                answer = bytes([_REFUSED])
                if request[0] == _LIST:
                    listed = b"".join(_text(key) + _text(b"a comment") for key in self._keys)
                    answer = bytes([_KEYS]) + struct.pack(">I", len(self._keys)) + listed
                stream.write(_text(answer))
                stream.flush()


def _text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
