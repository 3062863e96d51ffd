"""Lines of sessions as events: what is not of the form that sessions write is passed over, as a torn line is."""

from __future__ import annotations

from typing import Any, Callable

from crh_batch.ledger.reading import any_number, moment, parse_json, text, whole_number

Check = Callable[[Any], object]


def _flag(value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError("not true or false")


def _or_none(check: Check) -> Check:
    def passed(value: Any) -> None:
        if value is not None:
            check(value)

    return passed


def _record(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValueError("not a record")


def _inputs(value: Any) -> None:
    if not isinstance(value, list):
        raise ValueError("not a list of inputs")
    for one in value:
        if not isinstance(one, list) or len(one) != 4:
            raise ValueError("not an input")
        name, size, mtime_ns, sha256 = one
        text(name)
        whole_number(size)
        # A time before 1970 is a time, too.
        whole_number(mtime_ns, -(1 << 63), 1 << 63)
        text(sha256)


def _stages(value: Any) -> None:
    if not isinstance(value, list):
        raise ValueError("not a list of stages")
    for one in value:
        if not isinstance(one, dict):
            raise ValueError("not a stage")
        _check(one, _OF_STAGE)


def _status(value: Any) -> None:
    # Below 0 where a signal ended it.
    whole_number(value, -(1 << 31), 1 << 31)


_OF_STAGE: dict[str, Check] = {
    "stage": text,
    "program": text,
    "outcome": text,
    "error": text,
    "exit_status": _status,
    "wall_s": any_number,
    "cpu_s": any_number,
    "peak_bytes": whole_number,
    "peak_is_bound": _flag,
    "iterations": _or_none(whole_number),
    "rms": _or_none(any_number),
}
_OF_EVENT: dict[str, Check] = {
    "event": text,
    "time": moment,
    "id": whole_number,
    "attempt": whole_number,
    "stage": text,
    "session": text,
    "failure": text,
    "error": text,
    "why": text,
    "finish": text,
    "iteration": _or_none(whole_number),
    "rms": _or_none(any_number),
    "cpu_s": any_number,
    "finished": whole_number,
    "failed": whole_number,
    "unfit": whole_number,
    "unfit_memory": whole_number,
    "stages": _stages,
    "inputs": _inputs,
    "record": _record,
}


def _check(data: dict[str, Any], checks: dict[str, Check]) -> None:
    for key, value in data.items():
        check = checks.get(key)
        if check is not None:
            check(value)


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line of a session; None if it is torn, or not of the form that sessions write.

    Keys that are not known are a newer version's, and are left as they are.
    """
    if not line.endswith(b"\n"):
        return None
    try:
        event = parse_json(line)
        if not isinstance(event, dict) or "event" not in event:
            return None
        _check(event, _OF_EVENT)
    except ValueError:
        return None
    return event
