"""Whatever the files hold, a tomodir is described or refused; a scan of thousands never ends at one of them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crh_batch.errors import TomodirError
from crh_batch.tomodir.needs import describe

FILES = [
    "exe/crtomo.cfg",
    "exe/crmod.cfg",
    "exe/error.dat",
    "exe/crh.json",
    "grid/elem.dat",
    "grid/elec.dat",
    "config/config.dat",
    "rho/rho.dat",
    "mod/volt.dat",
    "inv/inv.ctr",
]
WORDS = st.sampled_from(
    [
        b"1e999", b"-1e999", b"nan", b"999999999", b"9999999999999999999", b"-1", b"0", b"T", b"F", b"2", b"../..",
        b"/", b"..", b".", b"../../../../etc/passwd", b"../inv/../..", b"\0", b"\xff\xfe", b"#", b",", b"1*", b"9*9",
        b"99999999*1", b"1" * 5000, b"e", b"../exe/crtomo.cfg", b"../exe", b"../mod/volt.dat", b"10002 40003",
        b"-" * 90, b"a/" * 45, b"x" * 300, b"{", b"[" * 3000, b"\r", b"\n", b" ", b"\xc3\xa4",
    ]
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, str, int, bytes]]:
    """Draw changes to files: (file, how, where in thousandths, text)."""
    how = st.sampled_from(["replace", "insert", "word", "line", "cut", "drop line"])
    text = WORDS | st.binary(max_size=30)
    return draw(st.lists(st.tuples(st.sampled_from(FILES), how, st.integers(0, 1000), text), min_size=1, max_size=4))


def changed(data: bytes, how: str, where: int, text: bytes) -> bytes:
    place = len(data) * where // 1000
    if how == "replace":
        return text
    if how == "cut":
        return data[:place]
    if how == "insert":
        return data[:place] + text + data[place:]
    separator = b" " if how == "word" else b"\n"
    parts = data.split(separator)
    chosen = (len(parts) - 1) * where // 1000
    parts[chosen : chosen + 1] = [] if how == "drop line" else [text]
    return separator.join(parts)


def must_describe_or_refuse(tomodir: Path) -> None:
    try:
        found = describe(str(tomodir))
    except TomodirError as error:
        assert error.message
        return
    assert found.reason
    json.dumps(dataclasses.asdict(found))
    for stage in found.stages:
        assert stage.wavenumbers >= 1
        for name in stage.inputs:
            assert os.path.normpath(name) == name
        for name in (*stage.make_dirs, *stage.inv_dirs, *([stage.result] if stage.result else [])):
            assert not name.startswith(("/", "..")), "nothing is ever written outside"


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes())
def test_describe_when_files_are_changed_at_will_then_it_answers_or_refuses(
    finished: Path, tmp_path: Path, edits: list[tuple[str, str, int, bytes]]
) -> None:
    for name in ("exe/error.dat", "exe/crh.json"):
        (finished / name).write_text("")
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(finished, copy)
    (copy / "inv" / "inv.ctr").write_text("not finished\n")
    for name, how, where, text in edits:
        (copy / name).write_bytes(changed((copy / name).read_bytes(), how, where, text))
    must_describe_or_refuse(copy)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", FILES)
@given(data=st.binary(max_size=200))
def test_describe_when_a_file_is_anything_then_it_answers_or_refuses(modelled: Path, name: str, data: bytes) -> None:
    place = modelled / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    must_describe_or_refuse(modelled)


@pytest.mark.parametrize("name", FILES)
def test_describe_when_a_file_is_cut_anywhere_then_it_answers_or_refuses(finished: Path, name: str) -> None:
    place = finished / name
    whole = place.read_bytes() if place.exists() else b'{"stages": {"modelling": {"outcome": "done", "inputs": {}}}}'
    (finished / "inv" / "inv.ctr").write_text("not finished\n")
    for kept in range(0, len(whole), 3):
        place.write_bytes(whole[:kept])
        must_describe_or_refuse(finished)
