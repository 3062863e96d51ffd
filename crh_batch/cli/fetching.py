"""Single files of batches that run elsewhere, fetched when somebody wants to read them."""

from __future__ import annotations

from crh_batch.cli.common import complain, talk
from crh_batch.errors import HostError
from crh_batch.hosts.reach import reach
from crh_batch.hosts.transfers import transferring
from crh_batch.ledger.batch import Batch
from crh_batch.ledger.submissions import Submission
from crh_batch.mirror.down import fetch_logs
from crh_batch.mirror.packs import bring_pack
from crh_batch.mirror.stage import read_stages, stage_of
from crh_batch.report.outputs import last_record


def fetch_output(batch: Batch, item_id: int) -> None:
    """Bring here what a tomodir's last attempt has left, if its pilot runs elsewhere.

    Raises:
        HostError: the cluster can't be reached, and it isn't here.
        LedgerError: it can't be written here.
    """
    stage = stage_of(read_stages(batch.paths), item_id)
    record = last_record(batch, item_id) if stage is not None else None
    if stage is None or record is None:
        return
    with transferring("fetching output") as transfer:
        stop = record.offset + record.length
        bring_pack(stage, reach(stage.host), record.token, stop, transfer.add, transfer.expect)


def fetch_logs_of(batch: Batch, submission: Submission) -> None:
    """Bring here how the logs of a submission's pilots end, if these run elsewhere; say if that can't be."""
    for stage in read_stages(batch.paths):
        if stage.number == submission.stage:
            try:
                fetch_logs(stage, reach(stage.host), submission.token)
            except HostError as error:
                complain([error])
            except OSError as error:
                talk(f"crh-batch: {error.filename}: logs can't be kept here: {error.strerror or error}")
