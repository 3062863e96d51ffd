"""The kill points are all that there are: strace sees no change to a survey's files that was not announced.

An announced change is told to strace by a system call of its own (access of /point/...). Between two of those, the same
thread may change something once. What CRMod and the guard do is theirs, and it is not in the survey.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import skip_or_fail
from faults.fakes import make_fake_survey, spec_of, write_fakes
from faults.killing import Command, Plan, argv_of, environment, prepare
from faults.test_kill_points import ARRAY, COLLECT, FINISH, SUBMIT, register

_TRACED = (
    "access,open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,truncate,"
    "ftruncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimes,utimensat,futimesat,setxattr,"
    "fsetxattr,lsetxattr,removexattr,mmap,clone,clone3"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
# Of a line: paths in quotes, and what descriptors are open for (strace -y).
_PLACE = re.compile(r'"((?:[^"\\]|\\.)*)"|\d+<([^>]*)>|AT_FDCWD<([^>]*)>')


@pytest.mark.long
@pytest.mark.parametrize("kind", ["submit", "submit to a scheduler", "pilot", "collect", "over old", "hold", "cancel"])
def test_strace_sees_no_change_that_was_not_announced(place: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    strace = shutil.which("strace")
    if strace is None:
        skip_or_fail("strace is not installed")
    fakes = write_fakes(place / "fakes")
    monkeypatch.setenv("CRH_BATCH_FAKES", str(fakes))
    scheduler = "slurm" if "scheduler" in kind else "local"
    survey = make_fake_survey(place / "template", fakes, [spec_of(1), spec_of(2)], scheduler=scheduler)
    commands: dict[str, Command] = {"submit": SUBMIT, "submit to a scheduler": ARRAY, "pilot": ("@pilot", "--cores=1")}
    killed = commands.get(kind, (kind,) if kind in ("hold", "cancel") else COLLECT)
    plan = Plan(str(survey.root), str(place / "points"), killed, ())
    if kind in ("pilot", "hold", "cancel"):
        register(survey.root)
    if kind == "over old":
        for path in survey.paths:
            (survey.root / path / "mod/volt.dat").write_bytes(b"60\n1 2 3\n")
    if killed == COLLECT:
        prepare(plan, FINISH)
    Path(plan.base).mkdir()
    trace = place / "trace"
    argv = [str(strace), "-f", "-qq", "-y", "-s", "4096", "-e", f"trace={_TRACED}", "-o", str(trace)]
    subprocess.run([*argv, *argv_of(replace(plan, trace=True))], env=environment(), check=True, capture_output=True)

    tree = str(place / "points/1") + "/"
    announced = list(_announced(trace, tree))
    unannounced = [what for what, was in announced if not was]
    assert len(announced) > 5, "strace sees them at all"
    assert unannounced == []


def _announced(trace: Path, tree: str) -> Iterator[tuple[str, bool]]:
    """Give each change below a directory by the process that announces, and whether its thread had announced one."""
    pending: dict[str, bool] = {}
    making_threads: set[str] = set()
    for line in trace.read_text(errors="surrogateescape").splitlines():
        if begun := re.match(r"(\d+) +access\(\"/point/begin", line):
            pending = {begun[1]: False}
        thread = line.split()[0]
        if thread not in pending:
            continue  # the driver, or a pilot that was started
        if re.search(r"clone3?[( ]", line) and ("CLONE_THREAD" in line or "resumed" in line):
            made = re.search(r"= (\d+)", line.rpartition(")")[2])
            if "resumed" not in line or thread in making_threads:
                pending.update({made[1]: False} if made else {})
                making_threads.discard(thread)
            if "unfinished" in line:
                making_threads.add(thread)
            continue
        match = _LINE.match(line)
        if match is None:
            continue
        call, rest = match[2], match[3]
        if call == "access":
            pending[thread] = pending[thread] or '"/point/' in rest
        elif _changes(call, rest) and _is_below(rest, tree):
            if not re.search(r"= -1 E", rest) and (pending[thread] or not _is_output(rest)):
                yield f"{call}({rest[:200]}", pending[thread]
            pending[thread] = False


def _changes(call: str, rest: str) -> bool:
    if call in ("open", "openat", "openat2"):
        return bool(re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", rest))
    return call != "mmap" or ("MAP_SHARED" in rest and "PROT_WRITE" in rest)


def _is_below(rest: str, tree: str) -> bool:
    places = [next(filter(None, groups), "") for groups in _PLACE.findall(rest)]
    directory = ""
    for path in places:
        absolute = path if path.startswith("/") else f"{directory}/{path}"
        directory = path if path.startswith("/") else directory
        if f"{absolute}/".startswith(tree) and absolute + "/" != tree:
            return True
    return False


def _is_output(rest: str) -> bool:
    """Return whether it is what a process prints, which goes into logs/ and decides nothing."""
    return "/logs/" in rest
