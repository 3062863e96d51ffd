"""Make the pictures of the dashboard: a demo run by local dask workers, seen by a headless Chromium.

    python docs/dask_screenshot.py [DIRECTORY]      (docs/ by default; Debian: apt install chromium)

A real run and a real browser: `crh-batch demo`, `crh-batch submit --engine dask --local`, and two pages of its
dashboard as Chromium draws them while inversions run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from crh_batch.demo import write_demo
from crh_batch.engines.dask.place import latest_contact
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = {"tomodirs": "dask-tomodirs.png", "status": "dask-status.png"}
TOMODIRS = 24
WITHIN_S = 180.0


def main() -> None:
    """Run a demo and take the pictures."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is on PATH (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory(prefix="crh-batch-screenshot-") as temporary:
        survey = Path(temporary) / "survey"
        write_demo(survey, TOMODIRS)
        argv = [sys.executable, "-m", "crh_batch", "submit", "--engine", "dask", "--local", "-j", "4", "-t", "2"]
        driver = subprocess.Popen(argv, cwd=survey, stdin=subprocess.DEVNULL)
        try:
            link = wait_for_progress(survey)
            for page, name in PAGES.items():
                take(browser, link.replace("/status", f"/{page}"), target / name, Path(temporary))
        finally:
            driver.terminate()
            driver.wait()
            subprocess.run([sys.executable, "-m", "crh_batch", "cancel", "--yes"], cwd=survey, check=False)


def wait_for_progress(survey: Path) -> str:
    """Wait until some tomodirs have finished and others are in their iterations; return the dashboard's link."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        found = batches_of(str(survey))
        contact = latest_contact(Batch(found[-1]).paths) if found else None
        if contact is not None:
            paths = Batch(found[-1]).paths
            events = [event for token in list_sessions(paths) for event in read_events(paths, token)]
            done = {event["id"] for event in events if event["event"] == "done"}
            progress = [event for event in events if event["event"] == "progress" and event["id"] not in done]
            if len(done) >= TOMODIRS // 4 and progress:
                return contact.link
        time.sleep(0.5)
    sys.exit(f"no progress within {WITHIN_S:g} s")


def take(browser: str, link: str, picture: Path, temporary: Path) -> None:
    """Open a page as a user does and keep what is seen."""
    argv = [browser, "--headless", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,720"]
    argv += [f"--user-data-dir={temporary / 'browser'}", "--virtual-time-budget=8000", f"--screenshot={picture}", link]
    if os.geteuid() == 0:
        # Chromium's own sandbox doesn't work for root.
        argv.insert(1, "--no-sandbox")
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL, timeout=120)
    print(f"{picture}: {picture.stat().st_size} bytes")


if __name__ == "__main__":
    main()
