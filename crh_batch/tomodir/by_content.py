"""Results kept by the content they were made from: surveys hold thousands of equal files under different names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

Result = TypeVar("Result")


class ByContent(Generic[Result]):
    """The most recently used results, by a digest of the bytes they were made from.

    Only digests are held, not the bytes. A failure is not kept, because its message names the file. May be used by
    several threads at once; two of them may then make the same result.

    Args:
        size: how many results to keep.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: OrderedDict[bytes, Result] = OrderedDict()
        self._lock = Lock()

    def get(self, make: Callable[[], Result], *contents: bytes) -> Result:
        """Return what was made from ``contents`` before, or ``make()``."""
        key = b"".join([blake2b(content, digest_size=16).digest() for content in contents])
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        result = make()
        with self._lock:
            self._results[key] = result
            if len(self._results) > self._size:
                self._results.popitem(last=False)
        return result
