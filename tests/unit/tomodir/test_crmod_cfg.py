from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import ConfigError
from crh_batch.tomodir.crmod_cfg import read_crmod_cfg

SetLine = Callable[[Path, int, str], None]


@pytest.fixture
def cfg(tomodir: Path) -> Path:
    return tomodir / "exe" / "crmod.cfg"


def refused(cfg: Path, line: int, *words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_crmod_cfg(str(cfg))
    assert caught.value.path == str(cfg)
    assert caught.value.line == line, caught.value.message
    assert caught.value.next_step
    for word in words:
        assert word in caught.value.message


def test_cfg_when_usual_then_all_settings_are_read(cfg: Path) -> None:
    (modelling,) = read_crmod_cfg(str(cfg))
    assert (modelling.elem, modelling.elec) == ("../grid/elem.dat", "../grid/elec.dat")
    assert (modelling.rho, modelling.config) == ("../rho/rho.dat", "../config/config.dat")
    assert (modelling.write_potentials, modelling.write_volt, modelling.write_sensitivities) == (False, True, False)
    assert (modelling.potentials, modelling.volt, modelling.sensitivities) == (None, "../mod/volt.dat", None)
    assert (modelling.d2_5, modelling.boundaries, modelling.boundaries_file) == (1, False, None)


@pytest.mark.parametrize("title", ["", "anything", "# x"])
def test_line_1_when_anything_then_it_is_not_used(cfg: Path, set_line: SetLine, title: str) -> None:
    set_line(cfg, 1, title)
    assert read_crmod_cfg(str(cfg))[0].elem == "../grid/elem.dat"


def test_byte_order_mark_and_crlf_when_there_then_nothing_changes(cfg: Path) -> None:
    before = read_crmod_cfg(str(cfg))
    cfg.write_bytes(b"\xef\xbb\xbf" + cfg.read_bytes().replace(b"\n", b"\r\n"))
    assert read_crmod_cfg(str(cfg)) == before


def test_comment_when_on_a_line_of_its_own_then_it_is_refused(cfg: Path) -> None:
    cfg.write_text("# no comments here\n" + cfg.read_text())
    refused(cfg, 6, "write_potentials", "../config/config.dat")


def test_blank_line_when_before_a_switch_then_it_does_not_count(cfg: Path) -> None:
    lines = cfg.read_text().splitlines()
    cfg.write_text("\n".join([*lines[:5], "", *lines[5:]]))
    assert read_crmod_cfg(str(cfg))[0].volt == "../mod/volt.dat"


def test_blank_line_when_before_a_path_then_it_counts(cfg: Path) -> None:
    lines = cfg.read_text().splitlines()
    cfg.write_text("\n".join([*lines[:1], "", *lines[1:]]))
    refused(cfg, 6, "write_potentials")


@pytest.mark.parametrize("text", ["../grid/elem.dat ! mesh", "../grid/elem.dat\t# mesh"])
def test_path_when_text_follows_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    """Seen: CRMod takes the text as part of the name."""
    set_line(cfg, 2, text)
    refused(cfg, 2, "setting 2, elem")


def test_path_when_it_begins_with_a_blank_then_it_is_refused(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 9, "  ../mod/volt.dat")
    refused(cfg, 9, "volt", "begins with a blank")


def test_path_when_it_has_blanks_inside_then_it_is_kept_whole(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 4, "../my models/rho 1.dat   ")
    assert read_crmod_cfg(str(cfg))[0].rho == "../my models/rho 1.dat"


def test_path_when_longer_than_80_characters_then_it_is_cut(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 2, "x" * 100)
    assert read_crmod_cfg(str(cfg))[0].elem == "x" * 80


def test_volt_when_line_8_is_false_then_there_is_none(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 8, "F")
    set_line(cfg, 9, "")
    (modelling,) = read_crmod_cfg(str(cfg))
    assert not modelling.write_volt
    assert modelling.volt is None


def test_potentials_and_sensitivities_when_written_then_their_paths_are_read(cfg: Path, set_line: SetLine) -> None:
    for number in (6, 10):
        set_line(cfg, number, "T")
    set_line(cfg, 7, "../mod/pot/pot.dat ! all/of/them")
    (modelling,) = read_crmod_cfg(str(cfg))
    assert (modelling.potentials, modelling.sensitivities) == ("../mod/pot/pot.dat", "../mod/sens/sens.dat")


def test_boundaries_when_true_then_their_file_is_read(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 16, "T")
    assert read_crmod_cfg(str(cfg))[0].boundaries_file == "boundary.dat"


def test_second_data_set_when_asked_for_then_it_is_refused(cfg: Path, set_line: SetLine) -> None:
    """Seen: CRMod writes the first volt.dat and then fails with "Error memory allocation sx failed"."""
    set_line(cfg, 12, "T")
    refused(cfg, 12, "another_ds", "second data set")


@pytest.mark.parametrize("text", ["2", "-1"])
def test_d2_5_when_neither_0_nor_1_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 13, text)
    refused(cfg, 13, "d2_5", "zeros")


@pytest.mark.parametrize("text", ["1.0", "T"])
def test_d2_5_when_it_is_no_whole_number_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 13, text)
    refused(cfg, 13, "d2_5", "whole number")


@pytest.mark.parametrize("lines", [0, 1, 5, 16])
def test_cfg_when_cut_short_then_it_is_refused(cfg: Path, lines: int) -> None:
    cfg.write_text("\n".join(cfg.read_text().splitlines()[:lines]))
    with pytest.raises(ConfigError, match="is missing"):
        read_crmod_cfg(str(cfg))


@pytest.mark.parametrize("end", ["", "\n", "\n0\n", "\nabc\n", "\n\n"])
def test_line_18_when_anything_then_it_is_optional(cfg: Path, end: str) -> None:
    cfg.write_text(cfg.read_text().rstrip("\n") + end)
    assert read_crmod_cfg(str(cfg))[0].d2_5 == 1
