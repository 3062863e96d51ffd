"""What it costs to bring a batch's inputs to a cluster over SSH, against tar through ssh with the same files.

    python benchmarks/ssh_staging.py [-n 1000] [--repeats 5] [--directory DIRECTORY]

Both go over the same sshd of this script's own on loopback, in turn, each time to a new directory. tar takes the files
from a list and leaves them in the caches of the other side; crh-batch finds out what is read, compares sums, goes on
after a break, keeps times to the nanosecond, and makes all of it durable. Printed are the ratio of the medians, and the
seconds of each for whoever looks for what takes the time. The disk is synced between two measurements.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from clusters.ssh_server import Client, SshServer, make_client
from crh_batch.demo import write_small_models
from crh_batch.engines.programs import freeze_pilot
from crh_batch.hosts.ssh import SshHost
from crh_batch.ledger.batch import new_batch
from crh_batch.ledger.items import Item, write_items
from crh_batch.ledger.paths import BatchPaths
from crh_batch.ledger.settings import ItemClass, Settings, write_settings
from crh_batch.mirror.inputs import write_archive
from crh_batch.mirror.make import Part, make_stages
from crh_batch.mirror.stage import read_stages
from crh_batch.mirror.up import bring_up
from crh_batch.profile import Profile


def files_below(tomodir: Path) -> list[str]:
    """List what a new tomodir holds, which is what its program reads."""
    return sorted(str(path.relative_to(tomodir)) for path in tomodir.rglob("*") if path.is_file())


def make_items(survey: Path, tomodirs: list[str]) -> list[Item]:
    """Describe the tomodirs as submit does."""
    stage = {"stage": "modelling", "program": "CRMod", "judge": "crmod", "directory": "exe", "dims": "2D"}
    rest = {"wavenumbers": 1, "make_dirs": ["exe", "mod"], "result": "mod/volt.dat", "inv_dirs": []}
    return [
        Item(number, path, 1, 1, 1.0, 50_000_000, ({**stage, **rest, "inputs": files_below(survey / path)},))
        for number, path in enumerate(tomodirs)
    ]


def new_stage(survey: Path, items: list[Item], base: Path) -> BatchPaths:
    """Make a batch that nothing was sent of."""
    paths = new_batch(str(survey), len(items))
    freeze_pilot(paths)
    settings = Settings(links="symlink", classes=(ItemClass(1, 0, len(items)),), programs={})
    part = Part("far", "login", "slurm", str(base), "symlink", {}, Profile(), frozenset(range(len(items))))
    make_stages(paths, settings, items, [part])
    write_settings(paths, settings)
    if not write_items(paths, items):
        raise SystemExit("the batch was there already")
    return paths


def send(survey: Path, items: list[Item], base: Path, client: Client) -> tuple[float, float]:
    """Bring a batch up; return the seconds of all of it, and those of the archive alone."""
    stage = read_stages(new_stage(survey, items, base))[0]
    os.sync()
    far = SshHost("login", config_file=str(client.config))
    far.ask("ping")
    began = time.monotonic()
    write_archive(stage, print)
    archived_s = time.monotonic() - began
    bring_up(stage, far)
    took_s = time.monotonic() - began
    far.close()
    return took_s, archived_s


def send_by_tar(survey: Path, items: list[Item], to: Path, client: Client) -> float:
    """Send the same files by tar through ssh; return seconds."""
    to.mkdir(parents=True)
    names = [os.path.join(item.path, name) for item in items for name in item.stages[0]["inputs"]]
    listing = survey.with_name("listing")
    listing.write_bytes(b"\0".join(os.fsencode(name) for name in names))
    os.sync()
    began = time.monotonic()
    tar = subprocess.Popen(
        ["tar", "-c", "-C", survey, "--null", "--verbatim-files-from", "-T", listing], stdout=subprocess.PIPE
    )
    subprocess.run(["ssh", "-F", client.config, "login", f"tar -x -C '{to}'"], stdin=tar.stdout, check=True)
    if tar.wait() != 0:
        raise SystemExit("tar failed")
    return time.monotonic() - began


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000, help="tomodirs (default: 1000)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--directory", default=None, help="where to work (default: $TMPDIR or /tmp)")
    parsed = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="crh-staging-", dir=parsed.directory))
    server = SshServer(work / "server")
    client = make_client(work / "client", server)
    server.start()
    try:
        survey = work / "survey"
        items = make_items(survey, write_small_models(survey, parsed.n))
        of_crh: list[tuple[float, float]] = []
        of_tar: list[float] = []
        for number in range(parsed.repeats):
            of_tar.append(send_by_tar(survey, items, work / f"tar{number}", client))
            of_crh.append(send(survey, items, work / f"stages{number}", client))
            print(
                f"  tar {of_tar[-1]:.2f} s, crh-batch {of_crh[-1][0]:.2f} s (archive {of_crh[-1][1]:.2f} s)", flush=True
            )
            # Removed at once: both find the same disk each time.
            for name in (f"tar{number}", f"stages{number}", "survey/.crh-batch"):
                shutil.rmtree(work / name)
        whole, archive = (statistics.median(column) for column in zip(*of_crh))
        tar_s = statistics.median(of_tar)
        print(f"{parsed.n} tomodirs, {len(items[0].stages[0]['inputs'])} files each, {parsed.repeats} repeats")
        print(f"crh-batch to tar through ssh: {whole / tar_s:.2f} (the archive {archive / tar_s:.2f})")
    finally:
        server.close()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
