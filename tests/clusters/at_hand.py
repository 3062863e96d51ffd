"""The one of several schedulers that the commands of a test find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clusters.cluster import Cluster


def put_at_hand(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a cluster the one that client commands of this test's own process find."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    # This machine has the commands of all schedulers.
    profile = Path(os.environ["XDG_CONFIG_HOME"]) / "crh-batch" / "profile.toml"
    profile.parent.mkdir(exist_ok=True)
    profile.write_text(f'scheduler = "{cluster.scheduler}"\n')
