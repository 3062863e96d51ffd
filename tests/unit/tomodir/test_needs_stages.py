"""Which stages are needed, and why."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crh_batch.errors import ConfigError, DataError, TomodirError
from crh_batch.tomodir.needs import describe
from crh_batch.tomodir.stage import Size, StageName

SetLine = Callable[[Path, int, str], None]


def stages(tomodir: Path) -> list[str]:
    return [stage.name.value for stage in describe(str(tomodir)).stages]


def test_nothing_run_when_everything_is_there_then_both_stages_in_one_go(tomodir: Path) -> None:
    found = describe(str(tomodir))
    assert found.path == str(tomodir)
    assert found.reason == "no mod/volt.dat"
    assert (found.dims, found.wavenumbers) == ("2.5D", 7)
    assert found.size == Size(nodes=10, parameters=4, electrodes=5, bandwidth=7, data=3)
    modelling, inversion = found.stages
    assert modelling.name is StageName.MODELLING
    assert modelling.inputs == (
        "exe/crmod.cfg",
        "grid/elem.dat",
        "grid/elec.dat",
        "config/config.dat",
        "rho/rho.dat",
    )
    assert modelling.make_dirs == ("exe", "mod")
    assert (modelling.result, modelling.inv_dirs, modelling.outside) == ("mod/volt.dat", (), ())
    assert inversion.name is StageName.INVERSION
    # volt.dat is no input: the modelling makes it in the same go
    assert inversion.inputs == ("exe/crtomo.cfg", "grid/elem.dat", "grid/elec.dat")
    assert inversion.make_dirs == ("exe", "inv")
    assert (inversion.result, inversion.inv_dirs, inversion.outside) == (None, ("inv",), ())
    for stage in found.stages:
        assert (stage.dims, stage.wavenumbers, stage.size) == (found.dims, found.wavenumbers, found.size)


def test_description_when_turned_into_json_then_it_is_plain(tomodir: Path) -> None:
    plain = json.loads(json.dumps(dataclasses.asdict(describe(str(tomodir)))))
    assert [stage["name"] for stage in plain["stages"]] == ["modelling", "inversion"]
    assert plain["stages"][0]["result"] == "mod/volt.dat"
    assert plain["size"]["nodes"] == 10


def test_modelled_when_not_inverted_then_inversion_alone(modelled: Path) -> None:
    found = describe(str(modelled))
    assert stages(modelled) == ["inversion"]
    assert found.reason == "not inverted yet"
    assert found.stages[0].inputs == ("exe/crtomo.cfg", "grid/elem.dat", "grid/elec.dat", "mod/volt.dat")


def test_finished_when_described_then_nothing(finished: Path) -> None:
    found = describe(str(finished))
    assert found.stages == ()
    assert found.reason == "finished"
    assert (found.dims, found.wavenumbers, found.size.nodes, found.size.data) == ("2.5D", 7, 10, 3)


def test_finished_when_error_dat_is_stale_then_nothing(finished: Path) -> None:
    """A later good run does not remove error.dat; cr_hydra took such runs for failures."""
    (finished / "exe" / "error.dat").write_text("FE matrix indefinite\n")
    (finished / "exe" / "crtomo.pid").write_text("1\n")
    assert stages(finished) == []


def test_finished_when_its_inputs_are_gone_then_nothing_and_inv_ctr_tells_the_size(finished: Path) -> None:
    for name in ("mod/volt.dat", "grid/elem.dat", "rho/rho.dat"):
        (finished / name).unlink()
    found = describe(str(finished))
    assert found.stages == ()
    assert (found.dims, found.wavenumbers) == ("2.5D", 7)
    assert found.size == Size(parameters=4, data=3)


@pytest.mark.parametrize("end", ["", "\n***finished**", "\n***finished***\n UP   1    5.8\n", "\n x***finished***\n"])
def test_inv_ctr_when_its_last_line_does_not_say_finished_then_inversion(finished: Path, end: str) -> None:
    (finished / "inv" / "inv.ctr").write_text("##\n" + end)
    assert stages(finished) == ["inversion"]
    assert describe(str(finished)).reason == "an earlier inversion did not finish"


@pytest.mark.parametrize("end", ["***finished***", "***finished***\n", "***finished***\r\n\n", "***finished*** \n"])
def test_inv_ctr_when_its_last_line_says_finished_then_nothing(finished: Path, end: str) -> None:
    (finished / "inv" / "inv.ctr").write_bytes(b"\xe4\xf6\xfc latin-1\n" + end.encode())
    assert stages(finished) == []


def test_inv_ctr_when_it_is_a_directory_then_inversion(modelled: Path) -> None:
    (modelled / "inv" / "inv.ctr").mkdir(parents=True)
    assert stages(modelled) == ["inversion"]


@pytest.mark.parametrize("directory", ["config", "rho", "inv", "mod"])
def test_directory_when_dropped_by_git_then_it_hides_nothing(modelled: Path, directory: str) -> None:
    """61 of 126 public tomodirs lack one of the five that other tools insist on, and run."""
    if directory == "mod":
        (modelled / "mod" / "volt.dat").unlink()
        (modelled / "mod").rmdir()
        assert stages(modelled) == ["modelling", "inversion"]
        return
    for file in (modelled / directory).glob("*"):
        file.unlink()
    if (modelled / directory).exists():
        (modelled / directory).rmdir()
    assert stages(modelled) == ["inversion"]


def test_volt_when_cut_short_then_it_is_modelled_again(modelled: Path) -> None:
    """A truncated volt.dat counted as modelled in cr_hydra."""
    text = (modelled / "mod" / "volt.dat").read_text()
    (modelled / "mod" / "volt.dat").write_text("\n".join(text.splitlines()[:2]) + "\n")
    assert stages(modelled) == ["modelling", "inversion"]
    assert describe(str(modelled)).reason == "mod/volt.dat is cut short: 1 of 3 lines"


def test_volt_when_cut_short_and_nothing_can_model_it_then_it_is_refused(modelled: Path) -> None:
    (modelled / "mod" / "volt.dat").write_text("3\n10002 30004 1.0 0.0\n")
    (modelled / "exe" / "crmod.cfg").unlink()
    with pytest.raises(DataError, match=r"mod/volt.dat is cut short: 1 of 3 lines") as caught:
        describe(str(modelled))
    assert caught.value.path == str(modelled / "mod" / "volt.dat")


def test_volt_when_cut_short_and_a_modelling_input_is_missing_then_both_are_named(modelled: Path) -> None:
    (modelled / "mod" / "volt.dat").write_text("3\n10002 30004 1.0 0.0\n")
    (modelled / "rho" / "rho.dat").unlink()
    with pytest.raises(DataError, match=r"cut short: 1 of 3 lines, and it can't be modelled: .*\.\./rho/rho\.dat"):
        describe(str(modelled))


@pytest.mark.parametrize("name", ["config/config.dat", "rho/rho.dat"])
def test_modelling_input_when_missing_while_volt_is_whole_then_inversion_alone(modelled: Path, name: str) -> None:
    (modelled / name).unlink()
    assert stages(modelled) == ["inversion"]


def test_crmod_cfg_when_broken_while_volt_is_whole_then_inversion_alone(modelled: Path, set_line: SetLine) -> None:
    set_line(modelled / "exe" / "crmod.cfg", 13, "2")
    assert stages(modelled) == ["inversion"]


def test_crmod_cfg_when_broken_and_volt_is_needed_then_it_is_refused(tomodir: Path, set_line: SetLine) -> None:
    set_line(tomodir / "exe" / "crmod.cfg", 13, "2")
    with pytest.raises(DataError, match=r"no mod/volt.dat, and it can't be modelled: .*crmod.cfg, line 13"):
        describe(str(tomodir))


@pytest.mark.parametrize("name", ["grid/elem.dat", "grid/elec.dat", "config/config.dat", "rho/rho.dat"])
def test_modelling_alone_when_an_input_is_missing_then_it_is_named(tomodir: Path, name: str) -> None:
    (tomodir / "exe" / "crtomo.cfg").unlink()
    (tomodir / name).unlink()
    with pytest.raises(TomodirError) as caught:
        describe(str(tomodir))
    assert caught.value.path == str(tomodir / name)
    assert f"../{name}" in caught.value.message
    assert caught.value.next_step


def test_modelling_alone_when_volt_is_whole_then_nothing(modelled: Path) -> None:
    (modelled / "exe" / "crtomo.cfg").unlink()
    found = describe(str(modelled))
    assert (found.stages, found.reason, found.wavenumbers) == ((), "modelled", 7)
    (modelled / "grid" / "elem.dat").unlink()
    found = describe(str(modelled))
    assert (found.stages, found.dims, found.wavenumbers, found.size) == ((), "2.5D", 0, Size())


def test_inversion_alone_when_its_volt_is_missing_then_it_is_refused(tomodir: Path) -> None:
    (tomodir / "exe" / "crmod.cfg").unlink()
    with pytest.raises(DataError, match=r"no mod/volt\.dat") as caught:
        describe(str(tomodir))
    assert caught.value.path == str(tomodir / "mod" / "volt.dat")


def test_other_volt_when_missing_then_the_modelling_is_run_and_the_inversion_waits(
    tomodir: Path, set_line: SetLine
) -> None:
    """The user's own script adds noise to what was modelled and writes another file for CRTomo."""
    set_line(tomodir / "exe" / "crtomo.cfg", 4, "../mod/noisy.dat")
    found = describe(str(tomodir))
    assert [stage.name for stage in found.stages] == [StageName.MODELLING]
    assert found.reason == "no mod/volt.dat; the inversion has to wait: no mod/noisy.dat"
    (tomodir / "mod").mkdir()
    (tomodir / "mod" / "volt.dat").write_text("1\n10002 30004 1.0 0.0\n")
    with pytest.raises(DataError, match=r"no mod/noisy\.dat"):
        describe(str(tomodir))
    (tomodir / "mod" / "noisy.dat").write_text("1\n10002 30004 1.1 0.0\n")
    assert stages(tomodir) == ["inversion"]


def test_other_volt_when_there_then_it_is_an_input_of_the_inversion(tomodir: Path, set_line: SetLine) -> None:
    set_line(tomodir / "exe" / "crtomo.cfg", 4, "../measured.dat")
    (tomodir / "measured.dat").write_text("1\n10002 30004 1.0 0.0\n")
    found = describe(str(tomodir))
    assert stages(tomodir) == ["modelling", "inversion"]
    assert "measured.dat" in found.stages[1].inputs
    assert (found.stages[0].size.data, found.stages[1].size.data) == (3, 1)


def record_modelling(tomodir: Path, **changes: object) -> None:
    """Write exe/crh.json as collect does."""
    inputs = {
        name: hashlib.sha256((tomodir / name).read_bytes()).hexdigest()
        for name in ("exe/crmod.cfg", "grid/elem.dat", "grid/elec.dat", "config/config.dat", "rho/rho.dat")
    }
    record = {"outcome": "done", "inputs": inputs, **changes}
    (tomodir / "exe" / "crh.json").write_text(json.dumps({"stages": {"modelling": record}}))


@pytest.fixture
def without_volt(tomodir: Path, set_line: SetLine) -> Path:
    """A modelling that writes no volt.dat: line 8 of crmod.cfg is F."""
    (tomodir / "exe" / "crtomo.cfg").unlink()
    set_line(tomodir / "exe" / "crmod.cfg", 8, "F")
    return tomodir


def test_modelling_without_volt_when_not_recorded_then_it_is_run(without_volt: Path) -> None:
    found = describe(str(without_volt))
    assert [(stage.name.value, stage.result) for stage in found.stages] == [("modelling", None)]
    assert "line 8" in found.reason


def test_modelling_without_volt_when_recorded_then_it_ends(without_volt: Path) -> None:
    """With a rule "no volt.dat, so model it" it would be run again and again."""
    record_modelling(without_volt)
    assert stages(without_volt) == []
    # CRTomo's own files are none of its inputs, nor are its outputs
    for name in ("crt.lamnull", "inv.lastmod", "crmod.pid", "error.dat"):
        (without_volt / "exe" / name).write_text("x")
    assert stages(without_volt) == []


@pytest.mark.parametrize("name", ["rho/rho.dat", "exe/crmod.cfg", "config/config.dat"])
def test_modelling_without_volt_when_an_input_changed_then_it_is_run_again(without_volt: Path, name: str) -> None:
    record_modelling(without_volt)
    with (without_volt / name).open("a") as file:
        file.write("\n")
    assert stages(without_volt) == ["modelling"]


def test_modelling_without_volt_when_an_input_was_added_then_it_is_run_again(without_volt: Path) -> None:
    record_modelling(without_volt)
    (without_volt / "exe" / "electrode_capacitances.dat").write_text("5\n")
    assert stages(without_volt) == ["modelling"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"stages": []}',
        '{"stages": {"modelling": 1}}',
        '{"stages": {"modelling": {"outcome": "done", "inputs": []}}}',
        '{"stages": {"modelling": {"outcome": "done", "inputs": {"rho/rho.dat": 1}}}}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_record_when_it_is_no_record_then_the_modelling_is_run(without_volt: Path, text: str) -> None:
    (without_volt / "exe" / "crh.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert stages(without_volt) == ["modelling"]


def test_record_when_it_is_of_a_failure_then_the_modelling_is_run(without_volt: Path) -> None:
    record_modelling(without_volt, outcome="failed")
    assert stages(without_volt) == ["modelling"]


def test_inversion_when_modelling_does_not_write_its_volt_then_it_is_refused(tomodir: Path, set_line: SetLine) -> None:
    set_line(tomodir / "exe" / "crmod.cfg", 8, "F")
    with pytest.raises(DataError, match=r"no mod/volt\.dat, and exe/crmod\.cfg does not write it") as caught:
        describe(str(tomodir))
    assert "line 8" in caught.value.next_step


def test_chain_when_only_the_first_data_set_finished_then_inversion(finished: Path) -> None:
    """Only the last data set's inv.ctr gets the mark, and the first one's has none (seen)."""
    cfg = finished / "exe" / "crtomo.cfg"
    block = cfg.read_text().splitlines()
    first = [*block[:27], "T", *block[28:34]]
    second = [*block[:4], "../inv2", *block[5:]]
    cfg.write_text("\n".join(first + second))
    found = describe(str(finished))
    assert [stage.name.value for stage in found.stages] == ["inversion"]
    assert found.stages[0].inv_dirs == ("inv", "inv2")
    assert found.stages[0].make_dirs == ("exe", "inv", "inv2")
    (finished / "inv2").mkdir()
    (finished / "inv2" / "inv.ctr").write_text("***finished***\n")
    (finished / "inv" / "inv.ctr").write_text("no mark here\n")
    assert stages(finished) == []


def test_chain_when_the_second_set_starts_from_the_first_then_that_is_no_input(modelled: Path) -> None:
    cfg = modelled / "exe" / "crtomo.cfg"
    block = cfg.read_text().splitlines()
    first = [*block[:27], "T", *block[28:34]]
    second = [*block[:4], "../inv2", "F", "", "../inv/rho05.mag", *block[8:]]
    cfg.write_text("\n".join(first + second))
    (modelled / "inv").mkdir()
    (modelled / "inv" / "rho05.mag").write_text("of an earlier run")
    assert "inv/rho05.mag" not in describe(str(modelled)).stages[0].inputs


def test_chain_when_sizes_differ_then_the_largest_counts(modelled: Path) -> None:
    cfg = modelled / "exe" / "crtomo.cfg"
    block = cfg.read_text().splitlines()
    first = ["8", *block[1:15], "T", *block[16:27], "T", *block[28:34]]
    second = [*block[:3], "../mod/more.dat", "../inv2", *block[5:28], "0", *block[29:]]
    cfg.write_text("\n".join(first + second))
    (modelled / "mod" / "more.dat").write_text("4\n" + "10002 30004 1 0\n" * 4)
    found = describe(str(modelled))
    assert (found.dims, found.wavenumbers) == ("2.5D", 7)
    assert found.size == Size(10, 4, 5, 7, 4, dc=False, resolution=True)


@pytest.mark.parametrize(("line", "dims", "number"), [("0", "2D", 1), ("1", "2.5D", 7)])
def test_dims_when_switched_then_they_and_the_wavenumbers_follow(
    modelled: Path, set_line: SetLine, line: str, dims: str, number: int
) -> None:
    set_line(modelled / "exe" / "crtomo.cfg", 29, line)
    found = describe(str(modelled))
    assert (found.dims, found.wavenumbers) == (dims, number)
    assert (found.stages[0].dims, found.stages[0].wavenumbers) == (dims, number)


def test_dims_when_stages_differ_then_each_has_its_own(tomodir: Path, set_line: SetLine) -> None:
    set_line(tomodir / "exe" / "crtomo.cfg", 29, "0")
    found = describe(str(tomodir))
    assert [(stage.dims, stage.wavenumbers) for stage in found.stages] == [("2.5D", 7), ("2D", 1)]
    assert (found.dims, found.wavenumbers) == ("2D", 1)


def test_size_when_dc_and_resolution_are_asked_for_then_it_says_so(modelled: Path, set_line: SetLine) -> None:
    set_line(modelled / "exe" / "crtomo.cfg", 1, "8")
    set_line(modelled / "exe" / "crtomo.cfg", 16, "T")
    assert describe(str(modelled)).size == Size(10, 4, 5, 7, 3, dc=True, resolution=True)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (b"", "its error.dat is empty"),
        (b"\0\0\0\n", "its error.dat is empty"),
        (b"\0\0FE matrix\0 indefinite\n", "FE matrix indefinite"),
        (
            b" CRTomo PID    8982  exited abnormally\n" + b" " * 80 + b" 282\n FE matrix indefinite   \n",
            "FE matrix indefinite",
        ),
        (b"../mod/volt.dat".ljust(80) + b"  12\n Error opening ../mod/volt.dat \n", "Error opening ../mod/volt.dat"),
    ],
)
def test_reason_when_an_earlier_run_failed_then_it_says_how(modelled: Path, error: bytes, said: str) -> None:
    (modelled / "exe" / "error.dat").write_bytes(error)
    found = describe(str(modelled))
    assert [stage.name.value for stage in found.stages] == ["inversion"]
    assert found.reason == f"not inverted yet; an earlier run failed: {said}"


@pytest.mark.parametrize("number", [2, 3, 4])
def test_describe_when_d2_5_is_wrong_then_it_is_refused_even_if_finished(
    finished: Path, set_line: SetLine, number: int
) -> None:
    """A run with 2 finishes and is wrong (seen), so "finished" would be a lie."""
    set_line(finished / "exe" / "crtomo.cfg", 29, str(number))
    with pytest.raises(ConfigError, match="d2_5"):
        describe(str(finished))


def test_describe_when_it_is_no_tomodir_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(TomodirError, match="No such file"):
        describe(str(tmp_path))
    (tmp_path / "exe").mkdir()
    with pytest.raises(TomodirError, match="is no tomodir"):
        describe(str(tmp_path))
    with pytest.raises(TomodirError):
        describe(str(tmp_path / "nul\0byte"))
