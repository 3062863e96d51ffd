"""Every error that a user can meet, in one tree; standard library only, because it travels to compute nodes.

::

    CrhBatchError             message, next_step, exit_code
      TomodirError            path; 1
        ConfigError             file, line
        MeshError               file
        DataError               file
        OutsideReference        reference
      LedgerError             path; 3
        FilesystemUnfit
        PackDamaged             offset
        NewerSchema             found, known
        BatchNotFound
        NotTrusted
        MirrorDiffers
        Busy                    holder
      SchedulerError          argv, exit_status, stdout, stderr; 3
        Unreachable
        MaybeSubmitted          token
        UnreadableAnswer
      HostError               host; 3
        ConnectionLost
        StageGone               path
      ProgramMissing          program; 3
      ProfileError            file, key; 2
      DaskError               3
      UsageError              2

A message has three parts: what (path or value), what is wrong, and, as ``next_step``, what to do. The command line
prints both on stderr and ends with ``exit_code``; that is the only place that catches ``CrhBatchError`` as a whole.
All arguments are kept in ``args``, so errors survive pickling between processes.
"""

from __future__ import annotations

from collections.abc import Sequence


class CrhBatchError(Exception):
    """The root: something that a user can cause or must know, with the next step.

    Args:
        message: what is wrong, naming the tomodir, file or value.
        next_step: what the user can do about it.
    """

    exit_code = 3

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message, next_step)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n  {self.next_step}" if self.next_step else self.message


class TomodirError(CrhBatchError):
    """A tomodir that can't be run as it lies there; the others go on."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "", path: str = "") -> None:
        super().__init__(message, next_step)
        self.args = (message, next_step, path)
        self.path = path


class ConfigError(TomodirError):
    """A crtomo.cfg or crmod.cfg that the program would refuse or read wrongly.

    Args:
        line: the line of the file, counted from 1; 0 when no single line is to blame.
    """

    def __init__(self, message: str, next_step: str = "", path: str = "", line: int = 0) -> None:
        super().__init__(message, next_step, path)
        self.args = (message, next_step, path, line)
        self.line = line


class MeshError(TomodirError):
    """An elem.dat or elec.dat that can't be read."""


class DataError(TomodirError):
    """A config.dat, volt.dat or rho.dat that is missing, truncated or not readable."""


class OutsideReference(TomodirError):
    """A path in a .cfg file that can't be followed safely out of the tomodir."""


class LedgerError(CrhBatchError):
    """The batch directory can't be read or written as the protocol needs it."""

    exit_code = 3

    def __init__(self, message: str, next_step: str = "", path: str = "") -> None:
        super().__init__(message, next_step)
        self.args = (message, next_step, path)
        self.path = path


class FilesystemUnfit(LedgerError):
    """The filesystem lacks something that the protocol is built on."""


class PackDamaged(LedgerError):
    """A record of a pack that does not verify; nothing of it is extracted.

    Args:
        offset: where the record begins in the pack, in bytes.
    """

    def __init__(self, message: str, next_step: str = "", path: str = "", offset: int = 0) -> None:
        super().__init__(message, next_step, path)
        self.args = (message, next_step, path, offset)
        self.offset = offset


class NewerSchema(LedgerError):
    """A file written by a newer crh-batch than this one."""

    def __init__(self, message: str, next_step: str = "", path: str = "", found: int = 0, known: int = 0) -> None:
        super().__init__(message, next_step, path)
        self.args = (message, next_step, path, found, known)
        self.found = found
        self.known = known


class BatchNotFound(LedgerError):
    """No batch at or above the directory asked for, or none of that name."""

    exit_code = 2


class NotTrusted(LedgerError):
    """A batch that others than this user could have written to; acting on it would be acting for them."""


class MirrorDiffers(LedgerError):
    """A name here that says something else than the one of the same tomodir where the pilots run."""


class Busy(LedgerError):
    """Another client is doing what only one may do at a time.

    Args:
        holder: who, for reading.
    """

    def __init__(self, message: str, next_step: str = "", path: str = "", holder: str = "") -> None:
        super().__init__(message, next_step, path)
        self.args = (message, next_step, path, holder)
        self.holder = holder


class SchedulerError(CrhBatchError):
    """A scheduler's command failed or answered what can't be used."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        next_step: str = "",
        argv: Sequence[str] = (),
        exit_status: int = 0,
        stdout: str = "",
        stderr: str = "",
    ) -> None:
        super().__init__(message, next_step)
        self.args = (message, next_step, tuple(argv), exit_status, stdout, stderr)
        self.argv = tuple(argv)
        self.exit_status = exit_status
        self.stdout = stdout
        self.stderr = stderr


class Unreachable(SchedulerError):
    """The scheduler did not answer; nothing is known about its jobs."""


class MaybeSubmitted(SchedulerError):
    """A submission failed in a way that leaves open whether the job exists; its token finds it later."""


class UnreadableAnswer(SchedulerError):
    """The scheduler answered with a text that is not understood."""


class HostError(CrhBatchError):
    """A machine that can't be reached or can't run a command."""

    def __init__(self, message: str, next_step: str = "", host: str = "") -> None:
        super().__init__(message, next_step)
        self.args = (message, next_step, host)
        self.host = host


class ConnectionLost(HostError):
    """A connection that broke after something was asked: nobody knows whether it was done."""


class StageGone(HostError):
    """What a batch had on another machine isn't there any more; no pilot can go on there.

    Args:
        path: the directory there.
    """

    def __init__(self, message: str, next_step: str = "", host: str = "", path: str = "") -> None:
        super().__init__(message, next_step, host)
        self.args = (message, next_step, host, path)
        self.path = path


class ProgramMissing(CrhBatchError):
    """CRMod or CRTomo can't be found or can't be started."""

    def __init__(self, message: str, next_step: str = "", program: str = "") -> None:
        super().__init__(message, next_step)
        self.args = (message, next_step, program)
        self.program = program


class ProfileError(CrhBatchError):
    """A profile with an unknown key or a value that can't be used."""

    exit_code = 2

    def __init__(self, message: str, next_step: str = "", file: str = "", key: str = "") -> None:
        super().__init__(message, next_step)
        self.args = (message, next_step, file, key)
        self.file = file
        self.key = key


class DaskError(CrhBatchError):
    """The dask engine can't be used, or its workers don't come to work."""


class UsageError(CrhBatchError):
    """Arguments that contradict each other or name nothing."""

    exit_code = 2
