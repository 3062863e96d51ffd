"""`crh-batch profile`: a cluster's settings: made from what the scheduler tells, shown, tried on a node."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from crh_batch.cli.chosen_profile import chosen_profile, profile_option
from crh_batch.cli.common import json_option, print_json, talk
from crh_batch.cli.over_ssh import HERE, chosen_on
from crh_batch.errors import ProfileError, UsageError
from crh_batch.hosts.base import Host
from crh_batch.plan.survey import choose_root
from crh_batch.profile import Profile
from crh_batch.profile_files import (
    Effective,
    effective_profile,
    named_profiles,
    own_file,
    say_where,
)

SCHEMA = 1
_COLUMN = 50


@click.group("profile", no_args_is_help=True)
def command() -> None:
    """Make, list, show and try the settings of a cluster."""


@command.command("init")
@click.argument("name", required=False, default="", metavar="[NAME]")
@click.option("--scheduler", type=click.Choice(["slurm", "sge"]), help="Default: the one whose commands are here.")
@click.option("--output", metavar="FILE", help="Write there; - is standard output.")
@click.option("--force", is_flag=True, help="Replace a file that exists; a copy of it is kept beside it.")
def init(name: str, scheduler: str | None, output: str | None, force: bool) -> int:
    """Ask the scheduler what it offers, and write a commented profile from it.

    Without a NAME it is the one that always holds for you; with one it holds where --profile NAME asks for it, or a
    survey's crh-batch.toml says profile = "NAME".
    """
    from crh_batch.engines.ask_site import ask_site
    from crh_batch.engines.choose import choose_scheduler
    from crh_batch.ledger.identity import login_name
    from crh_batch.report.profile_draft import draft

    if name and output:
        raise UsageError("NAME and --output say two places", "Give one of them.")
    host = _asked_host()
    name = name or ("" if output else host.name)
    path = Path(output) if output and output != "-" else own_file(name)
    if output != "-":
        _refuse_to_overwrite(path, force=force)
    found = choose_scheduler(scheduler or _scheduler_so_far(), host)
    user = host.run(["id", "-un"]).stdout.strip() if host.name else login_name()
    text = draft(ask_site(found, host, user), time.strftime("%Y-%m-%d %H:%M"))
    if output == "-":
        click.echo(text, nl=False)
        return 0
    _write(path, text)
    talk(f"wrote {path}")
    if host.name:
        talk(
            "look through it. If the cluster's filesystem is mounted here, name its roots and try it there on a node: "
            f"crh-batch --on {name} profile test; else try it with a few tomodirs: crh-batch demo DIR, and in DIR "
            f"crh-batch --on {name} submit"
        )
        return 0
    named = f" --profile {name}" if name else ""
    talk(f"look through it, then try it on a node: crh-batch profile test{named}")
    return 0


def _effective() -> Effective:
    """Return the profile that holds here: of the cluster that is to be worked on, if one is named."""
    name = chosen_profile()
    effective = effective_profile(_root(), name, on=chosen_on())
    names = effective.profile.clusters
    if len(names) > 1:
        raise UsageError(f"--on {','.join(names)}: a profile is for one cluster", "Name one.")
    if not names:
        return effective
    if names == (HERE,):
        return effective_profile(_root(), name, on="")
    own = name or (names[0] if names[0] in named_profiles() else "")
    effective = effective_profile(_root(), own, on=chosen_on())
    return replace(effective, profile=replace(effective.profile, host=effective.profile.host or names[0]))


def _asked_host() -> Host:
    """Return the machine whose scheduler is asked: this one, or the one that --on names."""
    from crh_batch.hosts.this_machine import ThisMachine

    profile = _effective().profile
    if not profile.clusters:
        return ThisMachine()
    from crh_batch.hosts.far_commands import FarCommands
    from crh_batch.hosts.reach import reach

    return FarCommands(reach(profile.host))


def _scheduler_so_far() -> str:
    """Return the scheduler that what holds here already names; a profile with a fault is there to be replaced."""
    try:
        return _effective().profile.scheduler
    except ProfileError:
        return ""


def _refuse_to_overwrite(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise ProfileError(
            f"{path}: exists already", "Repeat with --force (a copy is kept), or give a NAME or --output.", str(path)
        )


def _write(path: Path, text: str) -> None:
    from crh_batch.ledger import durable

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        copy = f"{path}.{time.strftime('%Y%m%d-%H%M%S')}-{durable.random_word(4)}"
        durable.write_durable(copy, path.read_bytes())
        talk(f"kept the former one as {copy}")
    durable.write_durable(str(path), text.encode())


@command.command("list")
@profile_option
@json_option
def list_(as_json: bool) -> int:
    """List the files and names of profiles, and which of them hold here.

    A later file wins key by key.
    """
    named = named_profiles()
    effective = _effective()
    holds = {str(layer.path): layer for layer in effective.layers}
    files = [
        {"path": str(layer.path), "exists": layer.exists, "keys": sorted(layer.values)} for layer in effective.layers
    ]
    if as_json:
        names = [
            {"name": name, "files": [str(path) for path in paths], "holds": name == effective.name}
            for name, paths in named.items()
        ]
        print_json({"schema": SCHEMA, "files": files, "profiles": names, "profile": effective.name})
        return 0
    click.echo("files that hold here, the winning one last:")
    for layer in effective.layers:
        click.echo(f"  {layer.path}: {_keys(len(layer.values)) if layer.exists else 'not there'}")
    click.echo("profiles to choose with --profile:" if named else "no profiles to choose with --profile")
    for name, paths in named.items():
        mark = " (holds here)" if any(str(path) in holds for path in paths) else ""
        click.echo(f"  {name}{mark}: {', '.join(map(str, paths))}")
    return 0


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


@command.command("show")
@profile_option
@json_option
def show(as_json: bool) -> int:
    """Show the settings that hold here, each with the file that it comes from."""
    from crh_batch.report.profile_draft import toml

    effective = _effective()
    values: dict[str, Any] = effective.profile.to_json()
    if as_json:
        files = [str(layer.path) for layer in effective.layers if layer.exists]
        print_json(
            {
                "schema": SCHEMA,
                "profile": effective.name,
                "settings": values,
                "sources": dict(effective.sources),
                "files": files,
            }
        )
        return 0
    lines = {key: f"{key} = {toml(value)}" for key, value in values.items()}
    width = min(max(len(line) for line in lines.values()), _COLUMN)
    for key, line in lines.items():
        click.echo(f"{line:{width}}  # {effective.sources[key]}")
    return 0


@command.command("test")
@profile_option
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the job may wait in the queue.",
)
@click.option("--keep", is_flag=True, help="Leave the directory with all that was submitted and found.")
@json_option
def test(timeout: float, keep: bool, as_json: bool) -> int:
    """Submit a real job of about a minute that looks at nodes, and say what is fine and what to change.

    It is submitted from this directory, as tomodirs here would be, and tries what pilots need: the shared filesystem,
    the programs, scratch, cores, memory, the time that is left, and the warning before the end. Where a second node is
    to be had, a second job tries the filesystem together with the first. Nothing is left behind.

    Exit code 0 if all is fine, 1 if something should be changed.
    """
    from crh_batch.report.finding import findings_text, is_fine
    from crh_batch.report.trial_words import findings_of

    effective = _effective()
    report = _trial(effective, timeout, keep=keep)
    findings = findings_of(report)
    fine = is_fine(findings)
    if as_json:
        jobs = [
            {"job_id": job.submission.job_id, "state": job.state, "found": job.result, "output": job.output}
            for job in report.jobs
        ]
        print_json(
            {
                "schema": SCHEMA,
                "scheduler": report.scheduler,
                "profile": effective.name,
                "ok": fine,
                "findings": [one.to_json() for one in findings],
                "jobs": jobs,
                "directory": report.kept,
            }
        )
    else:
        click.echo(findings_text(findings))
        talk("all is fine" if fine else "something should be changed; each line with -> says what")
        if report.kept:
            talk(f"kept {report.kept}")
    return 0 if fine else 1


def _trial(effective: Effective, timeout_s: float, *, keep: bool) -> Any:
    from crh_batch.engines.choose import choose_scheduler
    from crh_batch.engines.trial import Trial

    profile = effective.profile
    if profile.scheduler == "local":
        raise UsageError(
            'scheduler = "local": there is no job to be submitted', "Try this machine with crh-batch demo and run."
        )
    host = _host_for_trial(profile)
    try:
        trial = Trial(
            _root(), choose_scheduler(profile.scheduler, host), host, profile, timeout_s=timeout_s, on_talk=talk
        )
        return trial.run(keep=keep)
    except ProfileError as error:
        raise say_where(error, effective.sources) from error
    except KeyboardInterrupt:
        talk("crh-batch: interrupted; the job was cancelled")
        raise


def _host_for_trial(profile: Profile) -> Host:
    from crh_batch.hosts.this_machine import ThisMachine

    if not profile.clusters:
        return ThisMachine()
    from crh_batch.engines.far_places import sees
    from crh_batch.hosts.mounted import MountedHost
    from crh_batch.hosts.reach import reach

    far = reach(profile.host)
    if not sees(far, profile.root_pairs, _root()):
        raise UsageError(
            f"profile test: {profile.on} doesn't see this directory, and a trial is not sent there",
            "Try it with a few tomodirs: crh-batch demo DIR, then crh-batch --on NAME submit there.",
        )
    return MountedHost(far, profile.root_pairs)


def _root() -> str:
    return choose_root([], os.curdir)
