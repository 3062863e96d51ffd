"""``dask/<token>/`` in a batch's directory: what one dask scheduler and its workers must know of each other.

Only its owner can read it (0700), for it holds the key that opens the scheduler's port; whoever has that can run
anything as the user. Job scripts name the directory by its token and hold nothing of it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crh_batch.engines.programs import link_python
from crh_batch.errors import DaskError
from crh_batch.ledger import durable
from crh_batch.ledger.identity import Verdict, Who, this_process, verdict_here
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.session import Job
from crh_batch.ledger.sharing import make_directory

_SECRETS = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True)
class Options:
    """How workers are had, and what is shown.

    Args:
        minimum: jobs of each size that are kept as long as the batch has work.
        maximum: most jobs of each size; 0 for the profile's max_pilots.
        local: whether workers are processes of this machine.
        cores: for these; 0 for all that this process may use.
        dashboard_address: where the dashboard listens, ``host:port``.
        interface: the network interface that workers reach the scheduler by; found out when empty.
    """

    minimum: int = 0
    maximum: int = 0
    local: bool = False
    cores: int = 0
    dashboard_address: str = "127.0.0.1:0"
    interface: str = ""


@dataclass(frozen=True)
class Contact:
    """Where a dask scheduler is.

    Args:
        address: for workers, ``tls://host:port``.
        dashboard_host: which address the dashboard listens at; empty if there is none.
        job: the scheduler's job that it runs in, if it does.
    """

    address: str
    dashboard_host: str
    dashboard_port: int
    who: Who
    job: Job
    started: float

    @property
    def is_on_loopback(self) -> bool:
        """Whether the dashboard can be reached from its own machine alone."""
        return self.dashboard_host in ("127.0.0.1", "localhost", "::1")

    @property
    def link(self) -> str:
        """The dashboard's link, as seen from its machine or, if it listens to others, from there."""
        host = self.dashboard_host if self.is_on_loopback else self.who.host
        return f"http://{host}:{self.dashboard_port}/status" if self.dashboard_port else ""

    @property
    def tunnel(self) -> str:
        """What to type on a laptop to reach a dashboard on loopback; empty if that isn't needed."""
        if not self.dashboard_port or not self.is_on_loopback:
            return ""
        port = self.dashboard_port
        return f"ssh -N -L {port}:{self.dashboard_host}:{port} {self.who.user}@{self.who.host}"

    def to_json(self) -> dict[str, Any]:
        """Return the plain form."""
        return {
            "schema": 1,
            "address": self.address,
            "dashboard_host": self.dashboard_host,
            "dashboard_port": self.dashboard_port,
            "who": self.who.to_json(),
            "job": self.job.to_json(),
            "started": self.started,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contact:
        """Read the plain form.

        Raises:
            KeyError, TypeError, ValueError: it isn't one.
        """
        return cls(
            str(data["address"]),
            str(data["dashboard_host"]),
            int(data["dashboard_port"]),
            Who.from_json(data["who"]),
            Job.from_json(data["job"]),
            float(data["started"]),
        )


class Place:
    """The directory of one dask scheduler."""

    def __init__(self, paths: BatchPaths, token: str) -> None:
        self.token = token
        self.directory = os.path.join(paths.dask, token)

    @classmethod
    def make(cls, paths: BatchPaths, options: Options) -> Place:
        """Make a new one."""
        place = cls(paths, durable.random_word(10))
        # A group shares the batch, and nobody shares the key.
        with contextlib.suppress(FileExistsError):
            make_directory(paths.dask)
        os.mkdir(place.directory, 0o700)
        link_python(place.python)
        place._write("options.json", json.dumps(vars(options)).encode())
        durable.sync_directory(paths.dask)
        return place

    @property
    def python(self) -> str:
        """A link to the Python that submitted."""
        return os.path.join(self.directory, "python")

    @property
    def secrets(self) -> tuple[str, str, str]:
        """The files of the authority, the certificate and its key, in this order."""
        ca, cert, key = (os.path.join(self.directory, name) for name in _SECRETS)
        return ca, cert, key

    def write_secrets(self, contents: tuple[str, str, str]) -> None:
        """Write the files of ``secrets``."""
        for name, content in zip(_SECRETS, contents):
            self._write(name, content.encode())

    def write_contact(self, contact: Contact) -> None:
        """Say where the scheduler is; what workers need is there then."""
        self._write("contact.json", json.dumps(contact.to_json()).encode())

    def options(self) -> Options:
        """Return what the client wants.

        Raises:
            DaskError: that isn't there.
        """
        try:
            with open(os.path.join(self.directory, "options.json"), "rb") as stream:
                return Options(**json.load(stream))
        except (OSError, ValueError, TypeError) as error:
            raise DaskError(f"{self.directory}: can't be read: {error}", "Submit again.") from error

    def contact(self) -> Contact | None:
        """Return where the scheduler is; None if it hasn't said so."""
        try:
            with open(os.path.join(self.directory, "contact.json"), "rb") as stream:
                return Contact.from_json(json.load(stream))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, name: str, content: bytes) -> None:
        durable.write_durable(os.path.join(self.directory, name), content, mode=0o600)


def latest_contact(paths: BatchPaths) -> Contact | None:
    """Return the scheduler of a batch that was started last and isn't known to be dead; None if there is none."""
    try:
        tokens = os.listdir(paths.dask)
    except OSError:
        return None
    found = [one for one in (Place(paths, token).contact() for token in tokens) if one is not None]
    alive = [one for one in found if verdict_here(one.who) is not Verdict.DEAD]
    return max(alive, key=lambda one: one.started, default=None)


def this_contact(address: str, dashboard_host: str, dashboard_port: int, job: Job, started: float) -> Contact:
    """Return the contact of the scheduler in this process."""
    return Contact(address, dashboard_host, dashboard_port, this_process(), job, started)
