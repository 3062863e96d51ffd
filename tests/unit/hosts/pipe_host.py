"""A FarHost whose other end is a process of this machine over pipes; its line can be made to break at any byte."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping

from crh_batch.errors import HostError
from crh_batch.hosts.line import Line, LineBroken
from crh_batch.hosts.line_host import SILENCE_S, LineHost
from crh_batch.hosts.other_end import START_ARGV


class PipeHost(LineHost):
    """The program of the other side as it is sent, run by a Python of this machine.

    Args:
        python: which one.
        env: its environment; this process's if None.

    Attributes:
        is_down: whether new lines are refused.
        lines: how many lines were made.
        went: how many bytes went over all of them, both ways together, without the program itself.
    """

    def __init__(
        self,
        name: str = "far",
        *,
        python: str = sys.executable,
        env: Mapping[str, str] | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        super().__init__(name, silence_s=silence_s)
        self.is_down = False
        self.lines = 0
        self.went = 0
        self._python = python
        self._env = env
        self._left: int | None = None
        self._stays_down = False
        self._processes: list[subprocess.Popen[bytes]] = []

    def break_after(self, count: int, *, stays_down: bool = False) -> None:
        """Break the line when ``count`` more bytes have gone over it, both ways together; 0 is before the next one.

        Args:
            stays_down: refuse new lines after that, until ``is_down`` is set to False.
        """
        self._left = count
        self._stays_down = stays_down

    def allowed(self, count: int) -> int:
        """Take note of bytes that are to go over the line; return how many of them may.

        Raises:
            LineBroken: none.
        """
        self.check()
        may = count if self._left is None else min(count, self._left)
        self.went += may
        if self._left is not None:
            self._left -= may
        return may

    def check(self) -> None:
        """Break the line if no byte more may go over it.

        Raises:
            LineBroken: none may.
        """
        if self._left == 0:
            self._left = None
            self.is_down = self._stays_down
            raise LineBroken("broken by the test")

    def close(self) -> None:
        """End the connection, and wait until the processes of the other end have ended."""
        super().close()
        for process in self._processes:
            process.wait(timeout=60)
        self._processes.clear()

    def _connect(self) -> Line:
        if self.is_down:
            raise HostError(f"{self.name}: can't be reached", "The test says so.", self.name)
        self.lines += 1
        process = subprocess.Popen(
            [self._python, *START_ARGV[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            bufsize=0,
        )
        self._processes.append(process)
        return _PipeLine(self, process)


class _PipeLine:
    def __init__(self, host: PipeHost, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._host = host
        self._process = process
        self._input, self._output, self._errors = process.stdin, process.stdout, process.stderr
        self._has_started = False
        self._complaints = b""
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        while text := self._errors.read(65536):
            self._complaints += text

    def send(self, data: bytes, silence_s: float) -> None:
        # The first thing sent is the program: breaking there says nothing new of requests.
        is_counted = self._has_started
        view = memoryview(data)
        while view:
            count = self._host.allowed(len(view)) if is_counted else len(view)
            try:
                written = 0
                while written < count:
                    written += os.write(self._input.fileno(), view[written:count])
            except OSError as error:
                raise LineBroken(str(error)) from error
            view = view[count:]

    def receive(self, timeout_s: float) -> bytes:
        if self._has_started:
            self._host.check()
        if not select.select([self._output], [], [], timeout_s)[0]:
            raise LineBroken(f"nothing came for {timeout_s:.0f} s")
        data = os.read(self._output.fileno(), 1 << 16)
        if not self._has_started:
            self._has_started = True
            return data
        # What was read beyond the break is lost.
        return data[: self._host.allowed(len(data))] if data else b""

    @property
    def has_news(self) -> bool:
        return bool(select.select([self._output], [], [], 0)[0])

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def complaints(self) -> str:
        self._reader.join(timeout=5)
        return self._complaints.decode(errors="replace")

    def close(self) -> None:
        self._input.close()
        self._output.close()
        if self._process.poll() is None:
            threading.Thread(target=self._end, daemon=True).start()
        else:
            self._end()

    def _end(self) -> None:
        self._process.wait()
        self._reader.join()
        self._errors.close()
