"""What answers of the other end must look like: nothing that it says may surprise this side.

Of answers that come packed the wrapping alone is looked at here; mirror/answers.py reads what is in them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from crh_batch.errors import HostError
from crh_batch.ledger.reading import text, whole_number

Check = Callable[[Any], object]


class _Refused(HostError):
    """The other end has answered that it can't do something; the line stands."""


def checked(host: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that is no error.

    Raises:
        HostError: it is one, and the line stands; ``is_refusal`` tells.
    """
    if "error" not in answer:
        return answer
    place = f"{answer['path']}: " if answer.get("path") else ""
    raise _Refused(f"{host}: {place}{answer['error']}", _hint(str(answer.get("code", ""))), host)


def is_refusal(error: HostError) -> bool:
    """Return whether the other end has answered that it can't do something."""
    return isinstance(error, _Refused)


def _hint(code: str) -> str:
    if code in ("ENOSPC", "EDQUOT"):
        return (
            "Free space there, then run the command again: it goes on where it stopped. Or name another directory "
            "(profile key `stage`); what is registered stays with the old one, so first `crh-batch cancel`."
        )
    if code in ("EACCES", "EPERM", "EROFS"):
        return "Check that you may read and write there."
    return "Check that it is there, and that you may read and write there."


def understood(host: str, request: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that looks like one to a request.

    Raises:
        HostError: it doesn't.
    """
    try:
        _check(request, answer)
    except ValueError as error:
        raise HostError(
            f"{host}: the answer to {request['do']!r} can't be read: {error}",
            "Run the command again. If it stays so, something in between, or there, answers in place of crh-batch.",
            host,
        ) from error
    return answer


def _check(request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    for key, check in _EXPECTED.get(str(request.get("do")), {}).items():
        if key not in answer:
            raise ValueError(f"it lacks {key!r}")
        check(answer[key])
    if "paths" in request and "exists" in answer and len(answer["exists"]) != len(request["paths"]):
        raise ValueError(f"it is about {len(answer['exists'])} paths of {len(request['paths'])}")


def _flag(value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError("yes or no is expected there")


def _flags(value: Any) -> None:
    for one in _list(value):
        _flag(one)


def _said(value: Any) -> None:
    # What a command printed may hold anything.
    if not isinstance(value, str):
        raise ValueError("a text is expected there")


def _whole(value: Any) -> None:
    # -1: there is no such file.
    whole_number(value, -1)


def _whole_or_none(value: Any) -> None:
    if value is not None:
        whole_number(value)


def _status(value: Any) -> None:
    if value is not None:
        whole_number(value, -(1 << 31), 1 << 31)


def _absolute(value: Any) -> None:
    if not posixpath.isabs(text(value)):
        raise ValueError("an absolute path is expected there")


def _links(value: Any) -> None:
    if value not in ("symlink", "file"):
        raise ValueError("symlink or file is expected there")


def _entries(value: Any) -> None:
    for one in [] if value is None else _list(value):
        if len(_list(one)) != 4:
            raise ValueError("a directory's entry has four parts")
        name, size, changed, kind = one
        if "/" in text(name) or name in ("", ".", ".."):
            raise ValueError(f"{ascii(name)[:60]} is no name in a directory")
        whole_number(size)
        whole_number(changed, -(1 << 62))
        text(kind)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is expected there")
    return value


_EXPECTED: Mapping[str, Mapping[str, Check]] = {
    "run": {"status": _status, "stdout": _said, "stderr": _said},
    "has": {"has": _flag},
    "facts": {
        **dict.fromkeys(("python", "host", "machine", "user"), text),
        **dict.fromkeys(("home", "stages"), _absolute),
    },
    "digest": {"size": _whole, "sha256": text},
    "list": {"entries": _entries},
    "exists": {"exists": _flags},
    "begun": {"there": _flag, "size": _whole, "digest": text},
    "publish": {"size": _whole, "published": _flag},
    "links": {"links": _links},
    "space": {
        "directory": text,
        "free_bytes": _whole,
        "free_inodes": _whole_or_none,
        "problem": _said,
        "code": text,
    },
    "names": {"more": _flag},
    "tails": {"more": _flag},
}
