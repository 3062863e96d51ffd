"""`python -m crh_batch` is `crh-batch`."""

from __future__ import annotations

from crh_batch.cli.group import main

main()
