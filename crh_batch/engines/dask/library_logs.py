"""The logs of the libraries below dask, which are nothing for who has asked for results."""

from __future__ import annotations

import logging

_TALKATIVE = ("distributed", "tornado", "bokeh", "asyncio")


def silence_libraries() -> None:
    """Let nothing of their logs through but what is critical; to be called when they have been imported.

    What they find worth an error, with a traceback, is a closed browser or a worker that has gone; errors of ours are
    raised. Setting the level of each name's root is not enough: distributed/config.py gives some names below, such as
    ``tornado.application``, levels of their own.
    """
    for name in [*_TALKATIVE, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
