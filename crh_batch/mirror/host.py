"""A machine behind SSH that sees a batch in its stage: what it is to read is brought there first."""

from __future__ import annotations

import base64
import os
import stat

from crh_batch.errors import HostError
from crh_batch.hosts.base import FarHost
from crh_batch.hosts.far_commands import FarCommands
from crh_batch.mirror.gone import noticing
from crh_batch.mirror.stage import Stage


class StagedHost(FarCommands):
    """Runs commands there, about files of a batch that has a stage there."""

    def __init__(self, stage: Stage, far: FarHost) -> None:
        super().__init__(far)
        self.stage = stage

    def there(self, path: str) -> str:
        """Return where a file or directory of the batch is there.

        Raises:
            HostError: it is none of the batch.
        """
        below = os.path.relpath(os.path.abspath(path), os.path.abspath(self.stage.batch.directory))
        if below == os.pardir or below.startswith(os.pardir + os.sep):
            raise HostError(
                f"{self.name}: {path}: is not of the batch {self.stage.batch.batch_id}, so it isn't there",
                "This command can't be used over SSH without a common filesystem.",
                self.name,
            )
        return os.path.normpath(os.path.join(self.stage.there.directory, below))

    def bring(self, path: str) -> None:
        """Send a small file of the batch, or make a directory, there.

        Raises:
            StageGone: nothing is left there that it could belong to.
            HostError: it could not be brought there.
        """
        mode = os.stat(path).st_mode
        with noticing(self.stage, self.far):
            if stat.S_ISDIR(mode):
                self._refuse_to_begin_anew()
                self.far.ask("make_directories", paths=[self.there(path)], mode=0o700)
                return
            with open(path, "rb") as stream:
                content = base64.b64encode(stream.read()).decode()
            self.far.ask("write", path=self.there(path), base64=content, mode=stat.S_IMODE(mode) & 0o700)

    def _refuse_to_begin_anew(self) -> None:
        """Refuse to make directories of a stage that was removed: no pilot could work in half of one."""
        top = self.stage.there.directory
        if not self.far.ask("exists", paths=[top])["exists"][0]:
            raise HostError(f"{self.name}: {top}: isn't there", "Look who removed it.", self.name)
