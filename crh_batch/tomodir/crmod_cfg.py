"""crmod.cfg: the settings of a modelling, read by the rules that CRMod reads them by.

There are no comments; a path is the whole line up to 80 characters, blanks inside and before it included, so text
after a path becomes part of the name (seen: CRMod wrote ``volt.dat ! x``). Source: the order of the READs in
geophysics-ubonn/titatest, src/fem.f90; each rule was seen with CRMod_stable of crtomo_bin_wrapper 0.2.0.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NoReturn

from crh_batch.errors import ConfigError
from crh_batch.tomodir.files import TEXT_LIMIT_BYTES, load
from crh_batch.tomodir.lines import EndOfLines, FortranLines, NotAValue, Value, not_text

# The settings in their order, with what CRMod takes for each.
_KINDS = {
    "title": "line",
    "elem": "path",
    "elec": "path",
    "rho": "path",
    "config": "path",
    "write_potentials": "logical",
    "potentials": "path",
    "write_volt": "logical",
    "volt": "path",
    "write_sensitivities": "logical",
    "sensitivities": "path",
    "another_ds": "logical",
    "d2_5": "integer",
    "fic_sink": "logical",
    "fic_sink_node": "integer",
    "boundaries": "logical",
    "boundaries_file": "path",
}
_HINTS = {"logical": "T or F", "integer": "a whole number"}
_NEEDED = ("write_potentials", "write_volt", "write_sensitivities", "another_ds", "boundaries")
_USED_IF = {
    "potentials": "write_potentials",
    "volt": "write_volt",
    "sensitivities": "write_sensitivities",
    "boundaries_file": "boundaries",
}
_PATH_WIDTH = 80
_TEXT_AFTER = re.compile(rb"\s+[!#]")

FIX = "Correct this line of crmod.cfg; it has no comments, and a path must stand alone on its line."


@dataclass(frozen=True)
class ModellingSet:
    """The modelling of a crmod.cfg; paths are as they stand there, relative to exe/.

    Attributes:
        potentials: pattern of the files' names; None unless they are written. So are the other outputs.
        volt: the modelled measurements; None when line 8 is F, and then a good run leaves no such file.
        d2_5: 0 for 2D, 1 for 2.5D.
    """

    elem: str
    elec: str
    rho: str
    config: str
    write_potentials: bool
    potentials: str | None
    write_volt: bool
    volt: str | None
    write_sensitivities: bool
    sensitivities: str | None
    d2_5: int
    boundaries: bool
    boundaries_file: str | None


def read_crmod_cfg(path: str) -> list[ModellingSet]:
    """Return the modelling of a crmod.cfg, in a list of one for symmetry with ``read_crtomo_cfg``.

    Raises:
        ConfigError: CRMod would fail on it, or compute something else than was meant; has the file and the line.
    """
    data = load(path, ConfigError, "Check the file's type, rights and size.", TEXT_LIMIT_BYTES)
    try:
        return [_Reader(path, data).modelling_set()]
    except ConfigError as error:
        raise not_text(path, data, error) from None


class _Reader:
    """The READs of fem.f90."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.lines = FortranLines(data)

    def modelling_set(self) -> ModellingSet:
        found: dict[str, Value | bytes] = {}
        at: dict[str, int] = {}
        for name in _KINDS:
            found[name] = self._setting(name)
            at[name] = self.lines.line
        for name in _NEEDED:
            if found[name] is None:
                self._refuse(name, at[name], "has no value; write T or F")
        if found["d2_5"] not in (0, 1):
            self._refuse(
                "d2_5",
                at["d2_5"],
                f"{_shown(found['d2_5'])} is neither 0 (2D) nor 1 (2.5D); CRMod would leave out the Fourier "
                "back-transform and give zeros",
            )
        if found["another_ds"]:
            # Seen: it fails with "Error memory allocation sx failed" after the first volt.dat has been written.
            self._refuse("another_ds", at["another_ds"], "is T, but CRMod fails on every second data set")
        paths: dict[str, str | None] = {}
        for name in (name for name, kind in _KINDS.items() if kind == "path"):
            used = name not in _USED_IF or bool(found[_USED_IF[name]])
            paths[name] = self._path(name, found[name], at[name]) if used else None
        return ModellingSet(
            elem=paths["elem"] or "",
            elec=paths["elec"] or "",
            rho=paths["rho"] or "",
            config=paths["config"] or "",
            write_potentials=bool(found["write_potentials"]),
            potentials=paths["potentials"],
            write_volt=bool(found["write_volt"]),
            volt=paths["volt"],
            write_sensitivities=bool(found["write_sensitivities"]),
            sensitivities=paths["sensitivities"],
            d2_5=1 if found["d2_5"] == 1 else 0,
            boundaries=bool(found["boundaries"]),
            boundaries_file=paths["boundaries_file"],
        )

    def _setting(self, name: str) -> Value | bytes:
        kind = _KINDS[name]
        try:
            if kind in ("line", "path"):
                return self.lines.text(_PATH_WIDTH)
            return self.lines.values(kind)[0]
        except EndOfLines:
            self._refuse(name, self.lines.line, "is missing: the file ends before it")
        except NotAValue as cause:
            self._refuse(name, cause.line, f"{cause.text[:60]!r} is not {_HINTS[kind]}")

    def _path(self, name: str, raw: Value | bytes, line: int) -> str:
        text = raw.rstrip(b" ") if isinstance(raw, bytes) else b""
        if name in ("potentials", "sensitivities"):
            # CRMod puts a number before the first dot and drops what follows the extension (seen).
            text = _TEXT_AFTER.split(text, maxsplit=1)[0]
        if not text:
            self._refuse(name, line, "is blank, but must name a file")
        if min(text) < ord(" "):
            self._refuse(name, line, "holds a tab or another control character, which CRMod takes as part of the name")
        if _TEXT_AFTER.search(text):
            self._refuse(name, line, f"{os.fsdecode(text)!r} has text after the path, which CRMod takes as part of it")
        if text.startswith(b" "):
            self._refuse(name, line, "begins with a blank, which CRMod takes as part of the name")
        return os.fsdecode(text)

    def _refuse(self, name: str, line: int, wrong: str) -> NoReturn:
        number = list(_KINDS).index(name) + 1
        raise ConfigError(f"{self.path}, line {line} (setting {number}, {name}): {wrong}", FIX, self.path, line)


def _shown(value: Value | bytes) -> str:
    return "nothing" if value is None else str(value)
