from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import ConfigError
from crh_batch.tomodir.crtomo_cfg import read_crtomo_cfg

SetLine = Callable[[Path, int, str], None]


@pytest.fixture
def cfg(tomodir: Path) -> Path:
    return tomodir / "exe" / "crtomo.cfg"


def refused(cfg: Path, line: int, *words: str) -> None:
    """Assert that reading fails at a line, with these words in the message."""
    with pytest.raises(ConfigError) as caught:
        read_crtomo_cfg(str(cfg))
    error = caught.value
    assert error.path == str(cfg)
    assert error.line == line, error.message
    assert error.next_step
    for word in words:
        assert word in error.message


def test_cfg_when_usual_then_all_settings_are_read(cfg: Path) -> None:
    (data_set,) = read_crtomo_cfg(str(cfg))
    assert data_set.mswitch == 1
    assert data_set.elem == "../grid/elem.dat"
    assert data_set.elec == "../grid/elec.dat"
    assert data_set.volt == "../mod/volt.dat"
    assert data_set.inv_dir == "../inv"
    assert (data_set.diff_inv, data_set.dc_inv, data_set.another_ds, data_set.boundaries) == (False,) * 4
    assert (data_set.dd0, data_set.dm0, data_set.dfm0, data_set.boundaries_file) == (None,) * 4
    assert data_set.d2_5 == 1
    assert not data_set.resolution


def test_cfg_when_it_has_comments_then_they_do_not_count(cfg: Path) -> None:
    lines = cfg.read_text().splitlines()
    with_comments = [text for line in lines for text in ("# one", "# two", line)]
    cfg.write_text("\n".join(with_comments))
    assert read_crtomo_cfg(str(cfg))[0].d2_5 == 1


def test_cfg_when_first_comment_is_indented_then_it_does_not_count(cfg: Path) -> None:
    cfg.write_text("  # one\n# two\n" + cfg.read_text())
    assert read_crtomo_cfg(str(cfg))[0].elem == "../grid/elem.dat"


def test_cfg_when_second_comment_is_indented_then_it_counts_as_a_setting(cfg: Path) -> None:
    cfg.write_text("# one\n  # two\n" + cfg.read_text())
    refused(cfg, 7, "diff_inv", "../inv")


def test_cfg_when_line_starts_with_exclamation_mark_then_it_counts_as_a_setting(cfg: Path) -> None:
    cfg.write_text("! no comment\n" + cfg.read_text())
    refused(cfg, 6, "setting 6, diff_inv", "../inv")


@pytest.mark.parametrize("number", [6, 11, 16, 29])
def test_blank_line_when_before_a_number_or_logical_then_it_does_not_count(cfg: Path, number: int) -> None:
    lines = cfg.read_text().splitlines()
    cfg.write_text("\n".join([*lines[: number - 1], "", "  ", *lines[number - 1 :]]))
    assert read_crtomo_cfg(str(cfg))[0].d2_5 == 1


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_blank_line_when_before_a_path_then_it_counts(cfg: Path, number: int) -> None:
    lines = cfg.read_text().splitlines()
    cfg.write_text("\n".join([*lines[: number - 1], "", *lines[number - 1 :]]))
    refused(cfg, 6, "diff_inv", "../inv")


def test_blank_line_10_when_read_then_everything_shifts(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 10, "")
    refused(cfg, 13, "cells_z", "1.000")


def test_one_number_in_line_10_when_read_then_everything_shifts(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 10, "1")
    refused(cfg, 13, "cells_z")


def test_line_endings_when_crlf_then_it_is_read_the_same(cfg: Path) -> None:
    before = read_crtomo_cfg(str(cfg))
    cfg.write_bytes(cfg.read_bytes().replace(b"\n", b"\r\n"))
    assert read_crtomo_cfg(str(cfg)) == before


def test_carriage_return_when_inside_a_line_then_it_is_refused(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 2, "../grid/elem.dat\r foo")
    refused(cfg, 2, "carriage return")


def test_byte_order_mark_when_there_then_mswitch_is_lost_as_in_crtomo(cfg: Path, set_line: SetLine) -> None:
    """Seen: CRTomo wrote "mswitch 0" and no resolution for a file with a byte-order mark and 8 in line 1."""
    set_line(cfg, 1, "8")
    assert read_crtomo_cfg(str(cfg))[0].resolution
    cfg.write_bytes(b"\xef\xbb\xbf" + cfg.read_bytes())
    (data_set,) = read_crtomo_cfg(str(cfg))
    assert (data_set.mswitch, data_set.elem) == (0, "../grid/elem.dat")
    assert not data_set.resolution


@pytest.mark.parametrize("text", ["***FILES***", "T", "1.5", "mswitch"])
def test_mswitch_when_unreadable_then_it_is_zero_and_the_line_is_used_up(
    cfg: Path, set_line: SetLine, text: str
) -> None:
    set_line(cfg, 1, text)
    (data_set,) = read_crtomo_cfg(str(cfg))
    assert (data_set.mswitch, data_set.elem) == (0, "../grid/elem.dat")


@pytest.mark.parametrize(
    ("mswitch", "resolution"), [(0, False), (1, False), (2, True), (5, True), (8, True), (16, False)]
)
def test_mswitch_when_it_has_2_4_or_8_then_resolution_is_computed(
    cfg: Path, set_line: SetLine, mswitch: int, resolution: bool
) -> None:
    set_line(cfg, 1, str(mswitch))
    assert read_crtomo_cfg(str(cfg))[0].resolution is resolution


@pytest.mark.parametrize("end", ["\n", ""])
def test_old_form_when_it_has_33_lines_then_it_is_read(cfg: Path, end: str) -> None:
    cfg.write_text("\n".join(cfg.read_text().splitlines()[:33]) + end)
    assert read_crtomo_cfg(str(cfg))[0].d2_5 == 1


def test_cfg_when_it_has_32_lines_then_the_missing_one_is_named(cfg: Path) -> None:
    cfg.write_text("\n".join(cfg.read_text().splitlines()[:32]))
    refused(cfg, 32, "boundaries_file", "is missing")


@pytest.mark.parametrize("text", ["2", "-1", "3"])
def test_d2_5_when_it_is_2_then_it_is_refused_because_results_would_be_wrong(
    cfg: Path, set_line: SetLine, text: str
) -> None:
    set_line(cfg, 29, text)
    refused(cfg, 29, "setting 29, d2_5", text, "wrong results")


@pytest.mark.parametrize("text", ["1.0", "T", "1e0", "1!x"])
def test_d2_5_when_it_is_no_whole_number_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 29, text)
    refused(cfg, 29, "d2_5", "not a whole number")


@pytest.mark.parametrize("text", ["0", "+0", "0 text", "00", "0,"])
def test_d2_5_when_written_oddly_then_it_is_still_read(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 29, text)
    assert read_crtomo_cfg(str(cfg))[0].d2_5 == 0


@pytest.mark.parametrize("text", ["/", ","])
def test_logical_when_left_out_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 28, text)
    refused(cfg, 28, "another_ds", "no value")


@pytest.mark.parametrize("text", ["../grid/elem.dat # FEM grid", "   ../grid/elem.dat", "../grid/elem.dat ! x"])
def test_path_when_text_follows_then_it_is_cut_at_the_first_blank(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 2, text)
    assert read_crtomo_cfg(str(cfg))[0].elem == "../grid/elem.dat"


def test_path_when_longer_than_80_characters_then_it_is_cut_as_in_crtomo(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 2, "../" + "g" * 66 + "/elem.dat.gz")
    assert read_crtomo_cfg(str(cfg))[0].elem == "../" + "g" * 66 + "/elem.dat.g"


@pytest.mark.parametrize("text", ["../grid/elem.dat\t! x", "\t../grid/elem.dat", "../grid/el\0em.dat"])
def test_path_when_it_holds_a_tab_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 2, text)
    refused(cfg, 2, "control character")


def test_path_when_it_has_any_bytes_then_they_are_kept(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 2, "../grid/\udcff.dat")
    assert read_crtomo_cfg(str(cfg))[0].elem == "../grid/\udcff.dat"


@pytest.mark.parametrize("number", [2, 3, 4])
def test_path_when_blank_then_it_is_refused(cfg: Path, set_line: SetLine, number: int) -> None:
    set_line(cfg, number, "  ")
    refused(cfg, number, "is blank")


@pytest.mark.parametrize(
    "text",
    [
        "../inv;touch${IFS}X",
        "../$HOME",
        "../i`x`",
        "../inv&",
        "~/inv",
        "-p",
        "../*",
        "../a|b",
        "'../inv'",
        "../a\\b",
        "#inv",
    ],
)
def test_inv_dir_when_a_shell_would_read_it_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    """CRTomo makes it by mkdir through a shell: ``../inv;touch${IFS}X`` made X (seen)."""
    set_line(cfg, 5, text)
    with pytest.raises(ConfigError, match=r"setting 5, inv_dir|setting 6, diff_inv"):
        read_crtomo_cfg(str(cfg))


@pytest.mark.parametrize("text", ["../inv", "../inv/", "../inv-01_a.b", "../inv # results", "../ínv", "../\udcff"])
def test_inv_dir_when_plain_then_it_is_read(cfg: Path, set_line: SetLine, text: str) -> None:
    set_line(cfg, 5, text)
    assert read_crtomo_cfg(str(cfg))[0].inv_dir == text.split(" ")[0]


@pytest.mark.parametrize("text", ["", "   ", "../" + "i" * 57, "../" + "i" * 58])
def test_inv_dir_when_blank_or_60_long_then_it_is_refused(cfg: Path, set_line: SetLine, text: str) -> None:
    """Seen: CRTomo then writes its results into the root directory and says STOP 0."""
    set_line(cfg, 5, text)
    refused(cfg, 5, "1 to 59 characters")


def test_inv_dir_when_59_long_then_it_is_read(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 5, "../" + "i" * 56)
    assert len(read_crtomo_cfg(str(cfg))[0].inv_dir) == 59


def test_references_when_no_difference_inversion_then_only_the_prior_is_read(cfg: Path, set_line: SetLine) -> None:
    for number, text in ((7, "../diff/d0\t.dat"), (8, "../rho/prior.modl ! x"), (9, "../diff/f0.dat")):
        set_line(cfg, number, text)
    (data_set,) = read_crtomo_cfg(str(cfg))
    assert (data_set.dd0, data_set.dm0, data_set.dfm0) == (None, "../rho/prior.modl", None)


def test_difference_inversion_when_all_references_are_named_then_it_is_a_dc_inversion(
    cfg: Path, set_line: SetLine
) -> None:
    for number, text in ((6, "T"), (7, "../d0"), (8, "../../time0/inv/rho05.mag"), (9, "../f0")):
        set_line(cfg, number, text)
    (data_set,) = read_crtomo_cfg(str(cfg))
    assert (data_set.dd0, data_set.dm0, data_set.dfm0) == ("../d0", "../../time0/inv/rho05.mag", "../f0")
    assert data_set.difference
    assert data_set.dc_inv


def test_difference_switch_when_only_a_prior_is_named_then_it_is_no_difference_inversion(
    cfg: Path, set_line: SetLine
) -> None:
    set_line(cfg, 6, "T")
    set_line(cfg, 8, "../rho/prior.dat")
    (data_set,) = read_crtomo_cfg(str(cfg))
    assert data_set.dm0 == "../rho/prior.dat"
    assert not data_set.difference
    assert not data_set.dc_inv


@pytest.mark.parametrize(
    ("references", "line"),
    [({}, 7), ({7: "d0"}, 8), ({7: "d0", 8: "m0"}, 9), ({8: "m0", 9: "f0"}, 7), ({7: "d0", 9: "f0"}, 8)],
)
def test_difference_inversion_when_a_reference_is_blank_then_it_is_refused(
    cfg: Path, set_line: SetLine, references: dict[int, str], line: int
) -> None:
    set_line(cfg, 6, "T")
    for number, text in references.items():
        set_line(cfg, number, text)
    refused(cfg, line, "is blank")


def test_boundaries_when_true_then_the_whole_line_is_the_path(cfg: Path, set_line: SetLine) -> None:
    """Seen: unlike the other paths of crtomo.cfg this one is not cut at its first blank."""
    set_line(cfg, 32, "T")
    set_line(cfg, 33, "b.dat ! x  ")
    assert read_crtomo_cfg(str(cfg))[0].boundaries_file == "b.dat ! x"
    set_line(cfg, 33, "")
    refused(cfg, 33, "boundaries_file")


def chained(cfg: Path, extra: list[str], lines: int = 34, **changes: str) -> None:
    """Write two data sets, the first one cut after ``lines`` lines and followed by ``extra``."""
    block = cfg.read_text().splitlines()
    first = list(block)
    first[27] = "T"
    for number, text in changes.items():
        first[int(number.lstrip("line")) - 1] = text
    block[4] = "../inv2"
    cfg.write_text("\n".join(first[:lines] + extra + block) + "\n")


@pytest.mark.parametrize(
    ("extra", "lines", "changes"),
    [
        ([], 34, {}),
        (["# comment"], 34, {}),
        (["0.1"], 34, {"line34": "5"}),
        (["10"], 34, {"line34": "33"}),
        (["10", "0.1"], 34, {"line34": "37"}),
        (["7"], 34, {"line19": "-0.5"}),
        (["7"], 34, {"line19": "-0.5", "line34": " 1"}),
    ],
)
def test_chain_when_next_block_follows_where_crtomo_expects_it_then_both_are_read(
    cfg: Path, extra: list[str], lines: int, changes: dict[str, str]
) -> None:
    """Each of these files was run by CRTomo_stable to its end."""
    chained(cfg, extra, lines, **changes)
    first, second = read_crtomo_cfg(str(cfg))
    assert (first.inv_dir, second.inv_dir) == ("../inv", "../inv2")
    assert (first.another_ds, second.another_ds) == (True, False)


def test_chain_when_an_old_block_has_33_lines_then_its_title_begins_the_next(cfg: Path) -> None:
    block = cfg.read_text().splitlines()
    first = [*block[:27], "T", *block[28:33]]
    cfg.write_text("\n".join([*first, "***FILES***", *block[1:]]))
    assert len(read_crtomo_cfg(str(cfg))) == 2


@pytest.mark.parametrize(
    ("extra", "lines", "changes"),
    [
        (["lambda"], 34, {}),
        ([], 33, {}),
        ([], 34, {"line34": "5"}),
        (["lambda"], 34, {"line34": "33"}),
        ([], 34, {"line19": "-0.5"}),
    ],
)
def test_chain_when_next_block_is_shifted_then_it_is_refused(
    cfg: Path, extra: list[str], lines: int, changes: dict[str, str]
) -> None:
    """Each of these files failed in CRTomo_stable with "Error reading"."""
    chained(cfg, extra, lines, **changes)
    with pytest.raises(ConfigError, match="diff_inv"):
        read_crtomo_cfg(str(cfg))


def test_chain_when_next_block_is_missing_then_it_is_refused(cfg: Path, set_line: SetLine) -> None:
    set_line(cfg, 28, "T")
    refused(cfg, 35, "elem", "is missing")


def test_regularisation_when_unknown_then_it_is_refused(cfg: Path, set_line: SetLine) -> None:
    """Seen with 16: CRTomo stops with status 0, without a word on stderr and without error.dat."""
    set_line(cfg, 34, "16")
    refused(cfg, 34, "16 is no regularisation")


@pytest.mark.parametrize("data", [b"", b"\0" * 1000, b"#\n" * 10, b"\xff" * 100])
def test_cfg_when_it_holds_nonsense_then_it_is_refused(cfg: Path, data: bytes) -> None:
    cfg.write_bytes(data)
    with pytest.raises(ConfigError):
        read_crtomo_cfg(str(cfg))


def test_cfg_when_missing_or_huge_then_it_is_refused(cfg: Path) -> None:
    cfg.write_bytes(b"#" * (1 << 20) + b"\n1")
    with pytest.raises(ConfigError, match="longer than"):
        read_crtomo_cfg(str(cfg))
    cfg.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        read_crtomo_cfg(str(cfg))
