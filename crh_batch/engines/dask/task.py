"""What a dask task is: a call of this function on a worker. It is sent by name, never as code."""

from __future__ import annotations

from typing import Any

from crh_batch.engines.dask.naming import PLUGIN


def run_tomodir(item_id: int) -> dict[str, Any]:
    """Run one tomodir with the session of this worker; return what came of it, for reading: the ledger has the truth.

    Raises:
        distributed.Reschedule: this worker can't take it any more, and takes no other.
    """
    from distributed import Reschedule, get_worker

    plugin: Any = get_worker().plugins[PLUGIN]
    answer = plugin.run_item(item_id)
    if answer is None:
        raise Reschedule
    return dict(answer)
