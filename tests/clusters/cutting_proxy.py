"""A TCP proxy on loopback that is a bad line: it breaks after so many bytes, is slow, or goes dead without a word."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from types import TracebackType

_POLL_S = 0.05
_END_S = 5.0


class CuttingProxy:
    """Forwards connections to a port of this machine.

    Args:
        port: where to.
        bytes_per_s: how fast, both ways together; as fast as it can if 0.
        block: how many bytes are taken at a time.

    Attributes:
        port: where it listens itself.
        went: how many bytes were forwarded, both ways together, over all connections.
        connections: how many there were.
        is_dead: whether all that comes is swallowed; connections stay open.
    """

    def __init__(self, port: int, *, bytes_per_s: int = 0, block: int = 16384) -> None:
        self._target = port
        self._bytes_per_s = bytes_per_s
        self._block = block
        self._cuts: list[int] = []
        self._lock = threading.Lock()
        self.went = 0
        self.connections = 0
        self.is_dead = False
        self._is_closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut_after(self, *counts: int) -> None:
        """Break the connection, whichever it is, when so many more bytes have been forwarded; for each count once.

        None breaks nothing any more.
        """
        with self._lock:
            self._cuts = list(counts)

    def close(self) -> None:
        """End all connections."""
        self._is_closing = True
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._is_closing:
            if select.select([self._listener], [], [], _POLL_S)[0]:
                client, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._forward, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            other = {client: server, server: client}
            while not self._is_closing:
                for one in select.select([client, server], [], [], _POLL_S)[0]:
                    data = one.recv(self._allowed())
                    if not data:
                        return
                    if self.is_dead:
                        continue
                    other[one].sendall(data)
                    if self._is_cut(len(data)):
                        _end_quietly(client, server)
                        return
                    if self._bytes_per_s:
                        time.sleep(len(data) / self._bytes_per_s)

    def _allowed(self) -> int:
        with self._lock:
            return max(1, min([self._block, *self._cuts[:1]]))

    def _is_cut(self, count: int) -> bool:
        with self._lock:
            self.went += count
            if not self._cuts:
                return False
            self._cuts[0] -= count
            if self._cuts[0] > 0:
                return False
            del self._cuts[0]
            return True


def _end_quietly(client: socket.socket, server: socket.socket) -> None:
    """End both without a reset: what the server was sent before the line broke it still reads."""
    client.close()
    server.shutdown(socket.SHUT_WR)
    server.settimeout(_END_S)
    while server.recv(65536):
        pass
