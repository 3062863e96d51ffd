"""The other end belongs to somebody else: whatever it answers, there is one line about it, and nothing is touched."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import ConnectionLost, HostError
from crh_batch.hosts import line
from crh_batch.mirror.answers import parse_names
from unit.hosts.lying_end import lying_host
from unit.hosts.pipe_host import PipeHost

ASKED: dict[str, dict[str, Any]] = {
    "has": {"program": "sbatch"},
    "facts": {},
    "digest": {"path": "/x"},
    "list": {"path": "/x"},
    "exists": {"paths": ["/x", "/y"]},
    "begun": {"path": "/x", "part": "/y", "size": 1, "sha256": ""},
    "publish": {"path": "/x", "part": "/y", "size": 1, "sha256": ""},
    "links": {"directory": "/x"},
    "space": {"path": "/x"},
    "names": {"directory": "/x"},
    "tails": {"directory": "/x"},
}
KEYS = ("has", "home", "size", "entries", "exists", "there", "published", "links", "free_bytes", "more", "data")


@pytest.mark.parametrize("value", [None, -7, "../../x", ["x"], [["../x", 1, 2, "f"]], {"x": 1}, 1e300])
def test_ask_when_the_answer_is_of_another_type_then_one_line_says_so(tmp_path: Path, value: Any) -> None:
    far = lying_host(tmp_path, dict.fromkeys(KEYS, value))
    for do, what in ASKED.items():
        if do == "list" and value is None:
            continue  # there is no such directory
        with pytest.raises(HostError, match=r"far: the answer to '[a-z]+' can't be read: ") as caught:
            far.ask(do, **what)
        assert do in caught.value.message
    far.close()


@pytest.mark.parametrize("answer", [{}, {"status": "0"}, {"status": 0, "stdout": ["x"], "stderr": ""}, {"stdout": ""}])
def test_run_when_the_answer_is_of_another_type_then_it_may_have_run(tmp_path: Path, answer: Any) -> None:
    far = lying_host(tmp_path, answer)
    with pytest.raises(ConnectionLost, match="the answer to 'run' can't be read"):
        far.run(["sbatch"])
    far.close()


@pytest.mark.parametrize("said", [b"[" * 100_000, b"\xff\xfe", b'"text"', b"[]"])
def test_ask_when_the_answer_is_none_then_the_connection_counts_as_broken(tmp_path: Path, said: bytes) -> None:
    far = lying_host(tmp_path, said)
    with pytest.raises(HostError, match="the other end said what is no answer"):
        far.ask("ping")
    far.close()


def test_ask_when_the_answer_has_no_end_then_it_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "_MOST_ANSWER_BYTES", 100_000)
    far = lying_host(tmp_path, b"x" * 3_000_000)
    with pytest.raises(HostError, match="says more than any answer holds"):
        far.ask("ping")
    far.close()


@pytest.mark.parametrize("count", [-1, 0, 11, "10", None, 1.5])
def test_fetch_tail_when_another_count_of_bytes_is_announced_then_no_byte_of_it_is_written(
    tmp_path: Path, count: Any
) -> None:
    far = lying_host(tmp_path, {"bytes": count}, b"x" * 1000)
    with pytest.raises(HostError, match="counts wrongly"):
        far.fetch_tail("/there", str(tmp_path / "here"), 10)
    assert (tmp_path / "here").read_bytes() == b""
    far.close()


@pytest.mark.parametrize("at", [-1, 0, 10**9, "1", None])
def test_put_when_more_has_arrived_than_was_sent_then_the_connection_counts_as_broken(tmp_path: Path, at: Any) -> None:
    (tmp_path / "file").write_bytes(os.urandom(1000) + b"\n")
    far = lying_host(tmp_path, {"there": False, "size": 0, "digest": ""}, {"at": at})
    with pytest.raises(HostError, match="counts wrongly"):
        far.put(str(tmp_path / "file"), "/there")
    far.close()


@pytest.mark.parametrize("path", ["/held.001", "../held.001", "000/../../x", "/", "000//000000.done"])
def test_parse_names_when_one_leads_out_of_the_names_then_the_answer_is_refused(path: str) -> None:
    content = json.dumps([[path, "../sessions/client-x.crh"]]).encode()
    with pytest.raises(ValueError, match="is not a plain relative path"):
        parse_names({"data": base64.b64encode(zlib.compress(content)).decode()})


def test_requests_when_the_other_end_is_as_it_should_be_then_all_answers_are_understood(tmp_path: Path) -> None:
    """Else what is expected here and what is said there would have come apart."""
    far = PipeHost()
    (tmp_path / "names").mkdir()
    there = {"path": str(tmp_path), "directory": str(tmp_path / "names"), "part": str(tmp_path / "none")}
    for do, what in ASKED.items():
        named = {key: there.get(key, value) for key, value in what.items()}
        if do in ("digest", "begun", "publish"):
            named["path"] = str(tmp_path / "none")
        far.ask(do, **named)
    far.run(["true"])
    far.close()
