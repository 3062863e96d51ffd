"""Which files a tomodir reads and writes, wherever they lie and whatever they are."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crh_batch.errors import ConfigError, DataError, MeshError, OutsideReference, TomodirError
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.stage import StageNeed

SetLine = Callable[[Path, int, str], None]


def only_stage(tomodir: Path) -> StageNeed:
    (stage,) = describe(str(tomodir)).stages
    return stage


@pytest.mark.parametrize(
    "name", ["decouplings.dat", "electrode_capacitances.dat", "crt.noisemod", "crt.lamnull", "-x y"]
)
def test_extra_file_when_in_exe_then_it_is_an_input(modelled: Path, name: str) -> None:
    (modelled / "exe" / name).write_text("")
    assert f"exe/{name}" in only_stage(modelled).inputs


@pytest.mark.parametrize(
    "name",
    [
        "error.dat",
        "crtomo.pid",
        "crmod.pid",
        "inv.lastmod",
        "inv.elecpositions",
        "inv.mynoise_rho",
        "fort.6",
        "tmp.kfak",
        "crh.json",
        "slurm-17.out",
        "crtomo.sh.o123",
        "crtomo.sh.e123",
        "stdout.txt",
        "stderr",
        "run.log",
        "core.123",
        ".nfs0001",
        "crmod.cfg",
    ],
)
def test_output_when_left_in_exe_then_it_is_no_input(modelled: Path, name: str) -> None:
    (modelled / "exe" / name).write_text("")
    assert f"exe/{name}" not in only_stage(modelled).inputs


def test_exe_when_it_holds_other_things_then_only_regular_files_are_inputs(modelled: Path) -> None:
    exe = modelled / "exe"
    (exe / "sub").mkdir()
    os.mkfifo(exe / "fifo")
    (exe / "dangling").symlink_to("nowhere")
    (exe / "linked").symlink_to("../grid/elem.dat")
    extra = set(only_stage(modelled).inputs) - {"exe/crtomo.cfg", "grid/elem.dat", "grid/elec.dat", "mod/volt.dat"}
    assert extra == {"exe/linked"}


def test_paths_when_written_with_detours_then_they_are_normalised(modelled: Path, set_line: SetLine) -> None:
    cfg = modelled / "exe" / "crtomo.cfg"
    for number, text in ((2, ".././grid//elem.dat"), (3, "../grid/../grid/elec.dat"), (5, "../inv/")):
        set_line(cfg, number, text)
    stage = only_stage(modelled)
    assert stage.inputs[1:3] == ("grid/elem.dat", "grid/elec.dat")
    assert stage.inv_dirs == ("inv",)


def test_file_when_two_settings_name_it_then_it_is_listed_once(modelled: Path, set_line: SetLine) -> None:
    set_line(modelled / "exe" / "crtomo.cfg", 8, "../grid/elem.dat")
    assert only_stage(modelled).inputs.count("grid/elem.dat") == 1


def test_modelling_outputs_when_written_then_their_directories_are_made(tomodir: Path, set_line: SetLine) -> None:
    """CRMod makes none: potentials to a missing ../mod/pot/ end with "Error opening" (seen)."""
    (tomodir / "exe" / "crtomo.cfg").unlink()
    cfg = tomodir / "exe" / "crmod.cfg"
    set_line(cfg, 6, "T")
    set_line(cfg, 10, "T")
    set_line(cfg, 9, "../volt.dat")
    stage = only_stage(tomodir)
    assert stage.make_dirs == ("exe", "mod/pot", "mod/sens")
    assert stage.result == "volt.dat"


def test_boundaries_when_true_then_their_file_is_an_input(tomodir: Path, set_line: SetLine) -> None:
    set_line(tomodir / "exe" / "crmod.cfg", 16, "T")
    set_line(tomodir / "exe" / "crmod.cfg", 17, "../grid/b.dat")
    set_line(tomodir / "exe" / "crtomo.cfg", 32, "T")
    set_line(tomodir / "exe" / "crtomo.cfg", 33, "../grid/c.dat")
    with pytest.raises(DataError, match=r"b\.dat"):
        describe(str(tomodir))
    (tomodir / "grid" / "b.dat").write_text("")
    with pytest.raises(DataError, match=r"c\.dat"):
        describe(str(tomodir))
    (tomodir / "grid" / "c.dat").write_text("")
    modelling, inversion = describe(str(tomodir)).stages
    assert "grid/b.dat" in modelling.inputs
    assert "grid/c.dat" in inversion.inputs


@pytest.mark.parametrize("written", ["../../time0/inv/rho05.mag", "../../time0/exe/../inv/rho05.mag"])
def test_outside_reference_when_there_then_it_is_an_input_outside(
    modelled: Path, set_line: SetLine, written: str
) -> None:
    other = modelled.parent / "time0"
    (other / "inv").mkdir(parents=True)
    (other / "exe").mkdir()
    (other / "inv" / "rho05.mag").write_text("")
    set_line(modelled / "exe" / "crtomo.cfg", 8, written)
    stage = only_stage(modelled)
    assert stage.outside == ("../time0/inv/rho05.mag",)
    assert "../time0/inv/rho05.mag" in stage.inputs


def test_outside_reference_when_absolute_then_it_stays_absolute(modelled: Path, set_line: SetLine) -> None:
    set_line(modelled / "exe" / "crtomo.cfg", 8, "/etc/../etc/passwd")
    assert only_stage(modelled).outside == ("/etc/passwd",)
    set_line(modelled / "exe" / "crtomo.cfg", 8, "/dev/null")
    with pytest.raises(DataError, match="not a regular file"):
        describe(str(modelled))


def test_mesh_when_missing_outside_then_it_is_refused(modelled: Path, set_line: SetLine) -> None:
    set_line(modelled / "exe" / "crtomo.cfg", 2, "../../time0/grid/elem.dat")
    with pytest.raises(OutsideReference, match=r"\.\./\.\./time0/grid/elem\.dat") as caught:
        describe(str(modelled))
    assert caught.value.path.endswith("time0/grid/elem.dat")
    assert caught.value.next_step


@pytest.mark.parametrize(("number", "settings"), [(8, {}), (7, {6: "T", 8: "../m0", 9: "../f0"}), (4, {})])
def test_result_when_missing_outside_then_it_is_an_input_and_absent(
    modelled: Path, set_line: SetLine, number: int, settings: dict[int, str]
) -> None:
    """Another tomodir may be about to make it, so whether that is a fault is not known here."""
    for name in ("m0", "f0"):
        (modelled / name).touch()
    for line, text in {**settings, number: "../../time0/inv/rho05.mag"}.items():
        set_line(modelled / "exe" / "crtomo.cfg", line, text)
    stage = only_stage(modelled)
    assert stage.outside == ("../time0/inv/rho05.mag",)
    assert "../time0/inv/rho05.mag" in stage.inputs
    ((name, wrong),) = stage.absent
    assert name == "../time0/inv/rho05.mag"
    assert "crtomo.cfg names ../../time0/inv/rho05.mag, which can't be read" in wrong
    assert "Make " in wrong
    assert stage.measurements == (name if number == 4 else "")


def test_volt_of_another_tomodir_when_cut_short_then_it_is_absent(modelled: Path, set_line: SetLine) -> None:
    other = modelled.parent / "time0"
    other.mkdir()
    whole = (modelled / "mod" / "volt.dat").read_text()
    (other / "volt.dat").write_text(whole[: len(whole) // 2])
    set_line(modelled / "exe" / "crtomo.cfg", 4, "../../time0/volt.dat")
    stage = only_stage(modelled)
    assert [name for name, _ in stage.absent] == ["../time0/volt.dat"]
    (other / "volt.dat").write_text(whole)
    assert only_stage(modelled).absent == ()


def test_prior_when_missing_inside_then_the_reason_says_that_crtomo_does_without(
    modelled: Path, set_line: SetLine
) -> None:
    """Seen: CRTomo prints "omitting prior" and goes on; public tomodirs name priors that do not exist."""
    set_line(modelled / "exe" / "crtomo.cfg", 8, "../rho/prior.modl")
    found = describe(str(modelled))
    assert found.stages[0].inputs == ("exe/crtomo.cfg", "grid/elem.dat", "grid/elec.dat", "mod/volt.dat")
    assert "no prior model rho/prior.modl" in found.reason
    (modelled / "rho" / "prior.modl").write_text("")
    found = describe(str(modelled))
    assert "rho/prior.modl" in found.stages[0].inputs
    assert found.reason == "not inverted yet"


@pytest.mark.parametrize("settings", [{6: "T"}, {6: "T", 7: "../rho/rho.dat", 9: "../rho/rho.dat"}])
def test_prior_when_missing_and_switched_on_then_it_is_refused(
    modelled: Path, set_line: SetLine, settings: dict[int, str]
) -> None:
    """CRTomo ends with a Fortran runtime error then (seen)."""
    for line, text in {**settings, 8: "../rho/prior.modl"}.items():
        set_line(modelled / "exe" / "crtomo.cfg", line, text)
    with pytest.raises(DataError, match=r"\.\./rho/prior\.modl"):
        describe(str(modelled))


def test_difference_inversion_when_all_is_there_then_its_references_are_inputs(
    modelled: Path, set_line: SetLine
) -> None:
    for line, text in {6: "T", 7: "../d0", 8: "../m0", 9: "../f0"}.items():
        set_line(modelled / "exe" / "crtomo.cfg", line, text)
    for name in ("d0", "m0", "f0"):
        (modelled / name).write_text("")
    stage = only_stage(modelled)
    assert {"d0", "m0", "f0"} <= set(stage.inputs)
    assert stage.size.dc


@pytest.mark.parametrize("text", ["../../elsewhere", "/tmp/inv", "../../td/../x"])
def test_inv_dir_when_outside_then_it_is_refused(modelled: Path, set_line: SetLine, text: str) -> None:
    set_line(modelled / "exe" / "crtomo.cfg", 5, text)
    with pytest.raises(OutsideReference, match="outside the tomodir"):
        describe(str(modelled))


def test_inv_dir_when_outside_and_finished_there_then_it_is_still_refused(finished: Path, set_line: SetLine) -> None:
    (finished / "inv").rename(finished.parent / "inv")
    set_line(finished / "exe" / "crtomo.cfg", 5, "../../inv")
    with pytest.raises(OutsideReference):
        describe(str(finished))


@pytest.mark.parametrize("text", ["..", "../", "../inv/..", ".", "../exe/"])
def test_inv_dir_when_it_is_the_tomodir_or_exe_then_it_is_refused(modelled: Path, set_line: SetLine, text: str) -> None:
    (modelled / "inv").mkdir()
    set_line(modelled / "exe" / "crtomo.cfg", 5, text)
    with pytest.raises(ConfigError):
        describe(str(modelled))


@pytest.mark.parametrize("text", ["../../volt.dat", "/tmp/volt.dat"])
def test_modelled_volt_when_outside_then_it_is_refused(tomodir: Path, set_line: SetLine, text: str) -> None:
    (tomodir / "exe" / "crtomo.cfg").unlink()
    set_line(tomodir / "exe" / "crmod.cfg", 9, text)
    with pytest.raises(OutsideReference, match="outside the tomodir"):
        describe(str(tomodir))


def test_modelled_volt_when_it_is_an_input_then_it_is_refused(tomodir: Path, set_line: SetLine) -> None:
    (tomodir / "exe" / "crtomo.cfg").unlink()
    set_line(tomodir / "exe" / "crmod.cfg", 9, "../rho/rho.dat")
    with pytest.raises(ConfigError, match=r"over its own input rho/rho\.dat"):
        describe(str(tomodir))


def test_input_directory_when_it_is_a_link_out_then_its_files_are_inputs_at_their_place(modelled: Path) -> None:
    """One mesh for a whole survey: ``grid -> ../common``. The text and the kernel mean the same by ../grid."""
    (modelled / "grid").rename(modelled.parent / "common")
    (modelled / "grid").symlink_to("../common")
    assert only_stage(modelled).inputs[1:3] == ("grid/elem.dat", "grid/elec.dat")
    assert only_stage(modelled).outside == ()


def test_path_when_it_goes_back_through_a_link_then_it_is_refused(modelled: Path, set_line: SetLine) -> None:
    """``../grid/../mod/volt.dat`` is another file for the kernel when grid is a link."""
    common = modelled.parent / "far" / "common"
    common.parent.mkdir()
    (modelled / "grid").rename(common)
    (modelled / "grid").symlink_to(common)
    (common.parent / "mod").mkdir()
    (common.parent / "mod" / "volt.dat").write_text("1\n10002 30004 1.0 0.0\n")
    set_line(modelled / "exe" / "crtomo.cfg", 4, "../grid/../mod/volt.dat")
    with pytest.raises(OutsideReference, match="symbolic link"):
        describe(str(modelled))


def test_exe_when_it_is_a_link_elsewhere_then_it_is_refused(modelled: Path) -> None:
    far = modelled.parent / "far" / "exe"
    far.parent.mkdir()
    (modelled / "exe").rename(far)
    (modelled / "exe").symlink_to(far)
    with pytest.raises(OutsideReference, match="symbolic link"):
        describe(str(modelled))


def test_exe_when_it_is_a_link_beside_itself_then_it_is_described(modelled: Path) -> None:
    (modelled / "exe").rename(modelled / "exe_a")
    (modelled / "exe").symlink_to("exe_a")
    assert only_stage(modelled).inputs[0] == "exe/crtomo.cfg"


def test_tomodir_when_it_is_a_link_then_outside_references_are_refused(modelled: Path, set_line: SetLine) -> None:
    """``../../time0`` is beside the link for the text, and beside the link's target for CRTomo."""
    far = modelled.parent / "far" / "td"
    far.parent.mkdir()
    modelled.rename(far)
    modelled.symlink_to(far)
    assert only_stage(modelled).inputs[0] == "exe/crtomo.cfg"
    set_line(modelled / "exe" / "crtomo.cfg", 8, "../../time0")
    (modelled.parent / "time0").write_text("beside the link")
    with pytest.raises(OutsideReference, match="symbolic link"):
        describe(str(modelled))
    (far.parent / "time0").write_text("beside its target")
    with pytest.raises(OutsideReference, match="symbolic link"):
        describe(str(modelled))
    (far.parent / "time0").unlink()
    (far.parent / "time0").symlink_to(modelled.parent / "time0")  # now both are one file
    assert only_stage(modelled).outside == ("../time0",)


def test_results_when_their_directory_is_a_link_out_then_it_is_refused(modelled: Path) -> None:
    """Nothing is ever collected through a link out of the tomodir, so better before the run than after it."""
    (modelled.parent / "scratch").mkdir()
    (modelled / "inv").symlink_to("../scratch")
    with pytest.raises(OutsideReference, match="symbolic link out of the tomodir"):
        describe(str(modelled))


def test_results_when_their_directory_is_a_link_inside_then_it_is_taken(modelled: Path) -> None:
    (modelled / "inv_a").mkdir()
    (modelled / "inv").symlink_to("inv_a")
    assert only_stage(modelled).inv_dirs == ("inv",)


def test_results_when_finished_behind_a_link_then_nothing_is_needed(finished: Path) -> None:
    (finished / "inv").rename(finished.parent / "scratch")
    (finished / "inv").symlink_to("../scratch")
    assert describe(str(finished)).stages == ()


FILES = ["exe/crtomo.cfg", "exe/crmod.cfg", "grid/elem.dat", "grid/elec.dat", "config/config.dat", "rho/rho.dat"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [*FILES, "mod/volt.dat", "exe/error.dat", "exe/crh.json", "inv/inv.ctr"])
def test_file_when_it_is_a_fifo_then_nothing_hangs(tomodir: Path, name: str) -> None:
    place = tomodir / name
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        place.unlink()
    os.mkfifo(place)
    try:
        describe(str(tomodir))
    except TomodirError:
        pass


@pytest.mark.parametrize("name", FILES)
def test_file_when_it_links_to_itself_then_it_is_a_tomodir_error(tomodir: Path, name: str) -> None:
    (tomodir / name).unlink()
    (tomodir / name).symlink_to(os.path.basename(name))
    if name == "exe/crtomo.cfg":
        (tomodir / "exe" / "crmod.cfg").unlink()
    if name == "exe/crmod.cfg":
        (tomodir / "exe" / "crtomo.cfg").unlink()
    with pytest.raises(TomodirError):
        describe(str(tomodir))


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling"])
def test_volt_when_it_is_no_regular_file_then_it_is_not_modelled_over(tomodir: Path, kind: str) -> None:
    volt = tomodir / "mod" / "volt.dat"
    volt.parent.mkdir()
    if kind == "directory":
        volt.mkdir()
    elif kind == "fifo":
        os.mkfifo(volt)
    else:
        volt.symlink_to("none")
    with pytest.raises(DataError, match=r"volt\.dat"):
        describe(str(tomodir))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_volt_when_it_cannot_be_read_then_it_is_not_modelled_over(
    modelled: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It may be whole. (Root may read everything, so the refusal is played.)"""
    real = os.open

    def refuse(path: Any, *arguments: Any, **keywords: Any) -> int:
        if str(path).endswith("volt.dat"):
            raise OSError(code, os.strerror(code), path)
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=os.strerror(code)):
        describe(str(modelled))


def test_exe_when_it_cannot_be_listed_then_it_is_a_tomodir_error(
    modelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(TomodirError, match="Permission denied") as caught:
        describe(str(modelled))
    assert caught.value.path == str(modelled)


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("config/config.dat", "3\n10002 30004\n", DataError, "cut short: 1 of 3 lines"),
        ("config/config.dat", "1\n10002 30009\n", DataError, "electrode 9"),
        ("config/config.dat", "1\n10002 20003\n", DataError, "same place"),
        ("rho/rho.dat", "5\n1 0\n", DataError, "begins with 5, but the mesh has 4 elements"),
        ("rho/rho.dat", "", DataError, "begins with nothing"),
        ("rho/rho.dat", "\0\0\0", DataError, "the mesh has 4 elements"),
        ("grid/elem.dat", "10 2 7\n", MeshError, "elem.dat"),
    ],
)
def test_modelling_input_when_it_does_not_fit_then_it_is_named(
    tomodir: Path, name: str, text: str, error: type[TomodirError], words: str
) -> None:
    """CRMod fails on each of them (seen), some seconds into a job."""
    (tomodir / "exe" / "crtomo.cfg").unlink()
    (tomodir / name).write_text(text)
    with pytest.raises(error) as caught:
        describe(str(tomodir))
    assert words in caught.value.message
    assert str(tomodir / name) in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\n10002 30009 1 0\n", "electrode 9"),
        ("1\n10002 20003 1 0\n", "same place"),
        ("1 ! n\n10002 30004 1 0\n", "text after the number"),
    ],
)
def test_measured_volt_when_it_does_not_fit_then_it_is_named(modelled: Path, text: str, words: str) -> None:
    (modelled / "mod" / "volt.dat").write_text(text)
    with pytest.raises(DataError, match=r"volt\.dat") as caught:
        describe(str(modelled))
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["-rf", "two words", "line\nbreak", "\udcff", "ünï", "$(x)"])
def test_tomodir_when_its_name_is_odd_then_it_is_described(modelled: Path, name: str) -> None:
    renamed = modelled.parent / name
    modelled.rename(renamed)
    assert describe(str(renamed)).path == str(renamed)
    assert only_stage(renamed).inv_dirs == ("inv",)


def test_tomodir_when_given_relative_to_here_then_it_is_described(
    modelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(modelled)
    assert describe(".").stages[0].inv_dirs == ("inv",)
    monkeypatch.chdir(modelled / "exe")
    assert describe("..").stages[0].inv_dirs == ("inv",)
