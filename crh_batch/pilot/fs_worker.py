"""One of the processes of `crh-batch verify-fs`: takes its part and prints what it found as JSON.

Run as ``fs_worker DIRECTORY LINKS ANSWER_S TOKEN OTHER...``.
"""

from __future__ import annotations

import json
import sys

from crh_batch.pilot.fs_together import Party


def main(arguments: list[str] | None = None) -> int:
    """Take part; what goes wrong with the filesystem stands in the answer."""
    directory, links, answer_s, token, *others = sys.argv[1:] if arguments is None else arguments
    found = Party(directory, token, others, answer_s=float(answer_s)).look(links)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
