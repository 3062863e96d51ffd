"""Job scripts from templates: the user's copy if there is one, else the one that came with crh-batch."""

from __future__ import annotations

from pathlib import Path

from crh_batch.engines.groups import group_id
from crh_batch.errors import ProfileError
from crh_batch.profile import Profile
from crh_batch.profile_files import config_directory
from crh_batch.schedulers.base import ArrayScript, Scheduler

_PACKAGE = Path(__file__).resolve().parents[1]
# In the wheel the templates lie inside the package, in a checkout beside it.
_SHIPPED = (_PACKAGE / "jobscripts", _PACKAGE.parent / "jobscripts")


def template_path(name: str) -> Path:
    """Return the template in force: ``jobscripts/<name>`` of the user's configuration directory, or the shipped one.

    Raises:
        ProfileError: there is none, so this installation is broken.
    """
    for directory in (config_directory() / "jobscripts", *_SHIPPED):
        if (directory / name).is_file():
            return directory / name
    raise ProfileError(
        f"{name}: no such job script template", "Install crh-batch again.", str(_SHIPPED[0]), "jobscripts"
    )


def job_script(scheduler: Scheduler, script: ArrayScript, profile: Profile) -> str:
    """Fill in a scheduler's template for an array.

    Raises:
        ProfileError: the user's template has a fault, or the profile doesn't suffice for the scheduler.
    """
    # Imported here: status and collect don't write scripts, and jinja2 takes its time.
    import jinja2

    path = template_path(scheduler.template)
    directives = scheduler.directives(script, profile)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    try:
        template = environment.from_string(path.read_text(encoding="utf-8"))
        return template.render(
            token=script.token,
            batch_id=script.batch_id,
            pilots=script.pilots,
            cores=script.cores,
            threads=script.threads,
            memory_mb=script.memory_mb - (script.overhead_bytes >> 20),
            module=script.module,
            driver=script.driver,
            time_minutes=profile.time_minutes,
            throttle=profile.throttle,
            warn_s=profile.warn_s,
            directives=directives,
            extra_directives=profile.extra_directives,
            setup=profile.setup,
            share_gid=group_id(profile),
        )
    except Exception as error:  # A template is a program of the user's: it can raise anything.
        raise ProfileError(
            f"{path}: {error}",
            "Mend the template, or remove it to use the one that came with crh-batch.",
            str(path),
            "jobscripts",
        ) from error
