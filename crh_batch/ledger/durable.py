"""Writes that survive a crash, and names that only one process can make.

This is the only module with ``os.symlink``, ``os.replace``, ``os.link`` and ``fsync``: what the protocol asks of a
filesystem can be read here in one place, and tests replace the functions of ``calls`` to make it lie or break.

Which names are exclusive, and why symbolic links: docs/protocol.md, "Exclusive names".
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator

from crh_batch.errors import FilesystemUnfit, LedgerError
from crh_batch.ledger.reading import open_regular
from crh_batch.ledger.sharing import share

SYMLINK = "symlink"
FILE = "file"

# A network filesystem may show a change of another node only after its attribute cache has run out: 3 s was seen on
# GlusterFS, nfs(5) allows 60 s. Within this time "no such file" means "not yet".
VISIBILITY_WAIT_S = 60.0


def _sync_filesystem(path: str) -> bool:
    """Call syncfs(2) for the filesystem of ``path``; return whether it could be called.

    Raises:
        OSError: something could not be written (reported by Linux 5.8 and later).
    """
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if function(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
    return True


class SystemCalls:
    """The calls that faults are injected into; one object, so a test replaces one attribute of it."""

    symlink = staticmethod(os.symlink)
    link = staticmethod(os.link)
    readlink = staticmethod(os.readlink)
    open = staticmethod(os.open)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    replace = staticmethod(os.replace)
    unlink = staticmethod(os.unlink)
    sync_filesystem = staticmethod(_sync_filesystem)
    sleep = staticmethod(time.sleep)


calls = SystemCalls()


def random_word(length: int = 8) -> str:
    """Return ``length`` random lower-case letters and digits, safe in file names, job names and shell text."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    return "".join(alphabet[byte % len(alphabet)] for byte in os.urandom(length))


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, whatever number of calls that takes: write(2) may write less than it was given."""
    view = memoryview(data)
    with _naming(descriptor):
        while view:
            view = view[calls.write(descriptor, view) :]


def sync(descriptor: int) -> None:
    """Make an open file durable. Once it has failed, what was written before counts as lost, whatever is said later."""
    with _naming(descriptor):
        calls.fsync(descriptor)


@contextlib.contextmanager
def _naming(descriptor: int) -> Iterator[None]:
    """Add the file to errors of calls that take a descriptor: they say what is wrong, the user must know where."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            with contextlib.suppress(OSError):
                error.filename = os.readlink(f"/proc/self/fd/{descriptor}")
        raise


def sync_directory(path: str) -> None:
    """Make the names in a directory durable; without this a created file can be gone after a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    except OSError as error:
        # Some network filesystems refuse fsync of a directory; their metadata calls are synchronous by themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS):
            raise
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


# Filesystems of this machine alone, on which syncfs(2) makes everything durable in one step. On network filesystems it
# may stop short of the server, so there each file is synced by itself.
_ONE_STEP = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay"})
_SYNC_WORKERS = 8


def sync_many(files: Iterable[str], directories: Iterable[str]) -> None:
    """Make the content of many files, and the names in many directories, durable.

    An fsync each takes a millisecond or more of a local disk; one syncfs(2) for all of them takes little longer.
    """
    places = [*files, *directories]
    if not places:
        return
    one_step: dict[int, str] = {}
    single = []
    for place in places:
        device = os.lstat(place).st_dev
        if device in one_step:
            continue
        if filesystem_type(device) in _ONE_STEP:
            one_step[device] = place
        else:
            single.append(place)
    for place in one_step.values():
        if not calls.sync_filesystem(place):
            single += [other for other in places if os.lstat(other).st_dev == os.lstat(place).st_dev]
    if single:
        # Imported here: the pilot has no use for it, and starts faster.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_SYNC_WORKERS) as pool:
            list(pool.map(_sync_either, single))


def _sync_either(path: str) -> None:
    if os.path.isdir(path):
        sync_directory(path)
    else:
        sync_file(path)


def filesystem_type(device: int) -> str:
    """Return a filesystem's type by its device number, from /proc/self/mountinfo (proc(5)); empty if unknown."""
    if device not in _filesystem_types:
        wanted = f"{os.major(device)}:{os.minor(device)}"
        kind = ""
        with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                before, _, after = line.partition(" - ")
                if before.split()[2] == wanted:
                    kind = after.split()[0]
        _filesystem_types[device] = kind
    return _filesystem_types[device]


_filesystem_types: dict[int, str] = {}


def is_of_this_machine(path: str) -> bool:
    """Return whether a path lies on a filesystem of this machine alone, which shows every change at once."""
    return filesystem_type(os.stat(path).st_dev) in _ONE_STEP


def write_durable(path: str, data: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file so that a reader, also one after a crash, sees the old content or the new, never a part.

    Safe with several writers: the last one wins. A crash leaves at most a file named ``.<name>.<random>.part``.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name[:100]}.{random_word()}.part")
    descriptor = calls.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            share(descriptor, directory)
            write_all(descriptor, data)
            sync(descriptor)
        finally:
            os.close(descriptor)
        calls.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            calls.unlink(temporary)
        raise
    sync_directory(directory or ".")


def create_exclusively(path: str, data: bytes) -> bool:
    """Create a file that must not exist yet, with its whole content durable; return whether this call made it.

    open(2) with O_EXCL is atomic on every filesystem in use, NFSv3 and later included. The content comes after the
    creation, so a crash leaves a shorter file, which readers take for half made.

    Raises:
        OSError: anything but EEXIST; the half-made file is taken away again where that is possible.
    """
    try:
        descriptor = calls.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    try:
        share(descriptor, os.path.dirname(path))
        write_all(descriptor, data)
        sync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            calls.unlink(path)
        raise
    finally:
        os.close(descriptor)
    return True


_NO_HARD_LINKS = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def publish_exclusively(path: str, data: bytes, temporary: str) -> bool:
    """Create a file that must not exist yet, complete from its first moment; return whether this call made it.

    The content is written to ``temporary``.<random> first and gets its name by link(2): a crash leaves no empty file
    that belongs to nobody. Where hard links are missing, or ``temporary`` lies on another filesystem, the file is
    created in place (``create_exclusively``).

    Raises:
        OSError: anything but EEXIST.
    """
    temporary = f"{temporary}.{random_word()}.part"
    create_exclusively(temporary, data)
    try:
        calls.link(temporary, path)
        return True
    except OSError as error:
        # RACE: as with symlink(2), an error is not believed: over NFS the link may have been made (open(2), "O_EXCL").
        if _is_one_file(temporary, path):
            return True
        if error.errno == errno.EEXIST:
            return False
        if error.errno not in _NO_HARD_LINKS:
            raise
        return create_exclusively(path, data)
    finally:
        with contextlib.suppress(OSError):
            calls.unlink(temporary)


def _is_one_file(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def win_name(path: str, target: str, links: str, *, wait_s: float = VISIBILITY_WAIT_S) -> bool:
    """Create the name ``path`` for ``target``; return whether it is now ``target``'s.

    Invariant: names are only ever added, so False is final. An error of symlink(2) is not believed: on NFS the call
    may have done its work before a retransmission reported EEXIST. What the name says decides.

    Args:
        target: the session's control file relative to the name; no two processes use the same one.
        links: SYMLINK, or FILE where the filesystem has no symbolic links.
        wait_s: seconds within which a name that exists must become readable here (docs/protocol.md, "Caches").

    Raises:
        LedgerError: the name could be neither made nor read.
    """
    for _ in _looks(wait_s):
        try:
            if links == SYMLINK:
                calls.symlink(target, path)
                return True
            # By link(2) where that is possible: a file that a crash left empty would be nobody's name for ever.
            temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
            return publish_exclusively(path, target.encode(), temporary) or read_name(path, wait_s=wait_s) == target
        except OSError as error:
            failure = error
        if failure.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            break
        try:
            holder = _read_name_once(path)
        except OSError as unreadable:
            raise _refusal(path, unreadable) from unreadable
        if holder:
            return holder == target
        if failure.errno != errno.EEXIST:
            break
        # RACE: a name that exists and isn't there may have been taken back (GlusterFS, docs/protocol.md, "Caches"): it
        # is tried for again at each look, and the filesystem decides again.
    raise _refusal(path, failure) from failure


def read_name(path: str, *, wait_s: float = 0.0) -> str | None:
    """Return what a name points to, or None if it isn't there (after ``wait_s`` seconds of looking again)."""
    for _ in _looks(wait_s):
        if holder := _read_name_once(path):
            return holder
    return None


def _looks(wait_s: float) -> Iterator[None]:
    """Yield at once, then after each of some pauses, 0.01 s to 2 s, which together take ``wait_s`` or a little more."""
    waited = 0.0
    pause = 0.01
    yield
    while waited < wait_s:
        calls.sleep(pause)
        waited += pause
        pause = min(pause * 2, 2.0)
        yield


def _read_name_once(path: str) -> str | None:
    try:
        return calls.readlink(path)
    except OSError as error:
        if error.errno == errno.ENOENT or error.errno == errno.ESTALE:
            return None
        if error.errno != errno.EINVAL:
            raise
    # Not a symbolic link: a name made as a file, on a filesystem without them.
    try:
        with open_regular(path) as stream:
            return stream.read(4096).decode(errors="replace") or None
    except FileNotFoundError:
        return None


def _refusal(path: str, error: OSError) -> LedgerError:
    return LedgerError(
        f"{path}: the name could not be made: {error.strerror or error}",
        "Check that the directory exists, is writable and has free space and inodes; then run the command again.",
        path,
    )


def find_link_kind(directory: str) -> str:
    """Find out whether exclusive names can be symbolic links in ``directory``, or must be files.

    Raises:
        FilesystemUnfit: neither kind is exclusive here.
    """
    name = os.path.join(directory, f".probe-{random_word()}")
    why = ""
    for kind in (SYMLINK, FILE):
        path = f"{name}.{kind}"
        try:
            won = win_name(path, "first", kind, wait_s=1.0)
            lost = not win_name(path, "second", kind, wait_s=1.0)
            if won and lost and read_name(path) == "first":
                return kind
        except (OSError, LedgerError) as error:
            why = f" ({error.message if isinstance(error, LedgerError) else error.strerror or error})"
        finally:
            with contextlib.suppress(OSError):
                calls.unlink(path)
    raise FilesystemUnfit(
        f"{directory}: neither symbolic links nor exclusively created files work here{why}",
        "Check that you may write there, and that there is free space; else put the survey on another filesystem.",
        directory,
    )
