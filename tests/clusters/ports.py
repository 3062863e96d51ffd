"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import contextlib
import random
import socket

# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux), so that no
# connection made between the choice and the daemon's bind can take one away.
_LOWEST, _HIGHEST = 15000, 32000


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return ``count`` different ports that nobody listens on at this moment.

    They are drawn at random: two clusters that choose at the same time will hardly meet, and where they do, one
    fails to start, with its daemon's own words.

    Args:
        count: how many.
        address: where they must be free.
    """
    generator = random.SystemRandom()
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            port = generator.randrange(_LOWEST, _HIGHEST)
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((address, port))
            except OSError:
                continue
            ports.append(port)
    return ports
