"""crtomo.cfg: the settings of an inversion, read by the rules that CRTomo reads them by.

A setting is known by its place: 34 of them make a data set, each on a line of its own, and comment lines do not
count. Source: the order of the READs in geophysics-ubonn/titatest, src/rall.f90 and get_unit.f90; each rule below
was seen with CRTomo_stable of crtomo_bin_wrapper 0.2.0 on changed copies of a real tomodir.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NoReturn

from crh_batch.errors import ConfigError
from crh_batch.tomodir.files import TEXT_LIMIT_BYTES, load
from crh_batch.tomodir.lines import EndOfLines, FortranLines, NotAValue, Value, not_text

# The settings of a data set in their order, with what CRTomo takes for each: a number or T or F by READ(*), a path,
# or a whole line. It passes over an unreadable "optional".
_KINDS = {
    "mswitch": "optional",
    "elem": "path",
    "elec": "path",
    "volt": "path",
    "inv_dir": "path",
    "diff_inv": "logical",
    "dd0": "path",
    "dm0": "path",
    "dfm0": "path",
    "noise_of_prior": "optional",
    "cells_x": "integer",
    "cells_z": "integer",
    "ani_x": "real",
    "ani_z": "real",
    "max_it": "integer",
    "dc_inv": "logical",
    "robust_inv": "logical",
    "fpi_inv": "logical",
    "mag_rel": "real",
    "mag_abs": "real",
    "pha_a1": "real",
    "pha_b": "real",
    "pha_rel": "real",
    "pha_abs": "real",
    "hom_bg": "logical",
    "hom_mag": "real",
    "hom_pha": "real",
    "another_ds": "logical",
    "d2_5": "integer",
    "fic_sink": "logical",
    "fic_sink_node": "integer",
    "boundaries": "logical",
    "boundaries_file": "line",
}
_PATHS = ("elem", "elec", "volt", "dd0", "dm0", "dfm0")
_REGULARISATION = "regularisation"
_NAMES = [*_KINDS, _REGULARISATION]
_OPTIONAL = {"mswitch": ("integer",), "noise_of_prior": ("integer", "real")}
_HINTS = {"logical": "T or F", "integer": "a whole number", "real": "a number"}
_PATH_WIDTH = 80
_INV_DIR_WIDTH = 60
# Bytes that no shell gives a meaning to. CRTomo starts "mkdir" through a shell when the directory is missing.
_SAFE_INV_DIR = re.compile(rb"[\w.,+@%:=/\x80-\xff][\w.,+@%:=/\x80-\xff-]*")
_FIRST_UNKNOWN_REGULARISATION = 16
_FIXED_LAMBDA = 32

FIX = "Correct this line of crtomo.cfg; the lines count without those that start with '#'."


@dataclass(frozen=True)
class DataSet:
    """One inversion of a crtomo.cfg; paths are as they stand there, relative to exe/.

    Attributes:
        mswitch: sum of 1 coverage, 2 covariance, 4 resolution, 8 both, and others.
        dd0: measurements of the reference state; None unless this is a difference inversion.
        dm0: model to start from, or the prior model; may be given without a difference inversion. CRTomo does
            without it when it is missing and ``diff_inv`` is F (seen).
        dfm0: response of the reference model; None unless this is a difference inversion.
        dc_inv: real numbers instead of complex ones; a difference inversion is always one.
        d2_5: 0 for 2D, 1 for 2.5D.
        boundaries_file: None unless ``boundaries`` is T.
    """

    mswitch: int
    elem: str
    elec: str
    volt: str
    inv_dir: str
    diff_inv: bool
    dd0: str | None
    dm0: str | None
    dfm0: str | None
    dc_inv: bool
    another_ds: bool
    d2_5: int
    boundaries: bool
    boundaries_file: str | None

    @property
    def difference(self) -> bool:
        """Whether all three reference files are read; with ``dm0`` alone T asks for a prior model instead (seen)."""
        return self.diff_inv and self.dd0 is not None

    @property
    def resolution(self) -> bool:
        """Whether matrices of parameters by parameters are computed."""
        return self.mswitch & (2 | 4 | 8) != 0


def read_crtomo_cfg(path: str) -> list[DataSet]:
    """Return the data sets of a crtomo.cfg, one or more.

    Raises:
        ConfigError: CRTomo would fail on it, read something else than was meant, or write outside the tomodir;
            has the file and the line.
    """
    data = load(path, ConfigError, "Check the file's type, rights and size.", TEXT_LIMIT_BYTES)
    try:
        return list(_Reader(path, data).data_sets())
    except ConfigError as error:
        raise not_text(path, data, error) from None


class _Reader:
    """The READs of rall.f90, one data set after another."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.lines = FortranLines(data)
        # Text and values would go on at different places after it: gfortran ends a text there, but not a list.
        stray = self.lines.line_with(b"\r")
        if stray:
            raise ConfigError(
                f"{path}, line {stray}: has a carriage return inside the line",
                "Give the file plain line ends (dos2unix).",
                path,
                stray,
            )

    def data_sets(self) -> list[DataSet]:
        sets = [self._data_set()]
        while sets[-1].another_ds:
            sets.append(self._data_set())
        return sets

    def _data_set(self) -> DataSet:
        found: dict[str, Value | bytes] = {}
        at: dict[str, int] = {}
        for name in _KINDS:
            found[name] = self._setting(name)
            at[name] = self.lines.line
        if found["d2_5"] not in (0, 1):
            self._refuse(
                "d2_5",
                at["d2_5"],
                f"{_shown(found['d2_5'])} is neither 0 (2D) nor 1 (2.5D); CRTomo would leave out the Fourier "
                "back-transform and give wrong results",
            )
        for name in ("diff_inv", "dc_inv", "another_ds", "boundaries"):
            if found[name] is None:
                self._refuse(name, at[name], "has no value; write T or F")
        diff_inv = bool(found["diff_inv"])
        used = [name for name in _PATHS if diff_inv or name not in ("dd0", "dfm0")]
        paths = {name: self._path(name, found[name], at[name]) for name in used}
        self._check_references(diff_inv, paths, at)
        self._pass_tail(found)
        difference = diff_inv and paths["dd0"] is not None
        mswitch = found["mswitch"]
        boundaries = bool(found["boundaries"])
        return DataSet(
            mswitch=mswitch if isinstance(mswitch, int) else 0,
            elem=paths["elem"] or "",
            elec=paths["elec"] or "",
            volt=paths["volt"] or "",
            inv_dir=self._inv_dir(found["inv_dir"], at["inv_dir"]),
            diff_inv=diff_inv,
            dd0=paths.get("dd0"),
            dm0=paths["dm0"],
            dfm0=paths.get("dfm0"),
            dc_inv=bool(found["dc_inv"]) or difference,
            another_ds=bool(found["another_ds"]),
            d2_5=1 if found["d2_5"] == 1 else 0,
            boundaries=boundaries,
            boundaries_file=self._boundaries_file(found, at) if boundaries else None,
        )

    def _setting(self, name: str) -> Value | bytes:
        """Read one setting; text as bytes, None where CRTomo would keep a default."""
        kind = _KINDS[name]
        self.lines.skip_comments()
        try:
            if kind in ("path", "line"):
                return self.lines.text(_INV_DIR_WIDTH if name == "inv_dir" else _PATH_WIDTH)
            return self.lines.values(*_OPTIONAL.get(name, (kind,)))[0]
        except EndOfLines:
            self._refuse(name, self.lines.line, "is missing: the file ends before it")
        except NotAValue as cause:
            if kind == "optional":
                return None  # the line is used up, such as ***FILES*** of old files (seen)
            self._refuse(name, cause.line, f"{cause.text[:60]!r} is not {_HINTS[kind]}")

    def _pass_tail(self, found: dict[str, Value | bytes]) -> None:
        """Pass line 34 and the lines that may follow it, because another data set begins right after them (seen)."""
        regularisation = self._regularisation()
        if regularisation & _FIXED_LAMBDA:
            self._optional("real")
            regularisation -= _FIXED_LAMBDA
        if regularisation >= _FIRST_UNKNOWN_REGULARISATION:
            self._refuse(
                _REGULARISATION, self.lines.line, f"{regularisation} is no regularisation; CRTomo would stop at once"
            )
        if 4 < regularisation < 15:
            self._optional("real")
        relative = found["mag_rel"]
        if isinstance(relative, float) and relative < 0:
            self._optional("integer")

    def _regularisation(self) -> int:
        """Read two columns as a number, as format I2 does; without one the line is left to what follows."""
        self.lines.skip_comments()
        try:
            columns = self.lines.text(2).strip(b" ")
        except EndOfLines:
            return 0
        if not columns:
            return 0
        if not re.fullmatch(rb"[+-]?\d+", columns):
            self.lines.back()
            return 0
        return max(0, int(columns))

    def _optional(self, kind: str) -> None:
        self.lines.skip_comments()
        try:
            self.lines.values(kind)
        except NotAValue:
            self.lines.back()
        except EndOfLines:
            pass

    def _path(self, name: str, raw: Value | bytes, line: int) -> str | None:
        """Cut a path as CRTomo does: at the first blank after leading ones (seen)."""
        text = raw.strip(b" ").split(b" ", 1)[0] if isinstance(raw, bytes) else b""
        if not text:
            if name in ("elem", "elec", "volt"):
                self._refuse(name, line, "is blank, but must name a file")
            return None
        if min(text) < ord(" "):
            self._refuse(name, line, "holds a tab or another control character, which CRTomo takes as part of the name")
        return os.fsdecode(text)

    def _inv_dir(self, raw: Value | bytes, line: int) -> str:
        text = raw.strip(b" ").split(b" ", 1)[0] if isinstance(raw, bytes) else b""
        if not text or len(text) >= _INV_DIR_WIDTH:
            # Seen with both: results in the root directory, and STOP 0.
            self._refuse(
                "inv_dir",
                line,
                f"must have 1 to {_INV_DIR_WIDTH - 1} characters; CRTomo would write its results to / otherwise",
            )
        if not _SAFE_INV_DIR.fullmatch(text):
            self._refuse("inv_dir", line, f"{os.fsdecode(text)!r} has characters that a shell would read; rename it")
        return os.fsdecode(text)

    def _boundaries_file(self, found: dict[str, Value | bytes], at: dict[str, int]) -> str:
        """Take the whole line without trailing blanks: unlike the other paths this one is not cut (seen)."""
        raw = found["boundaries_file"]
        text = raw.rstrip(b" ") if isinstance(raw, bytes) else b""
        if not text or min(text) < ord(" "):
            self._refuse("boundaries_file", at["boundaries_file"], "must name a file, because the line above is T")
        return os.fsdecode(text)

    def _check_references(self, diff_inv: bool, paths: dict[str, str | None], at: dict[str, int]) -> None:
        """Refuse a difference inversion that lacks a file; CRTomo ends with a Fortran runtime error then (seen)."""
        if not diff_inv or (paths["dm0"] and not paths["dd0"] and not paths["dfm0"]):
            return
        for name in ("dd0", "dm0", "dfm0"):
            if not paths[name]:
                self._refuse(name, at[name], "is blank, but a difference inversion reads this file")

    def _refuse(self, name: str, line: int, wrong: str) -> NoReturn:
        number = _NAMES.index(name) + 1
        raise ConfigError(f"{self.path}, line {line} (setting {number}, {name}): {wrong}", FIX, self.path, line)


def _shown(value: Value | bytes) -> str:
    return "nothing" if value is None else str(value)
