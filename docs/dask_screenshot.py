"""Make the pictures of the dashboard: a demo run by local dask workers, seen by a headless Chromium.

    python docs/dask_screenshot.py [DIRECTORY]      (docs/ by default; Debian: apt install chromium)

A real run and a real browser: `crh-batch demo`, `crh-batch submit --engine dask --local`, and two pages of its
dashboard as Chromium draws them while inversions run.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from tornado.websocket import websocket_connect

from crh_batch.demo import TomodirSpec, write_tomodir
from crh_batch.demo.spec import Block
from crh_batch.engines.dask.place import latest_contact
from crh_batch.ledger.batch import Batch, batches_of
from crh_batch.ledger.session import list_sessions, read_events

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = {"tomodirs": "dask-tomodirs.png", "status": "dask-status.png"}
TOMODIRS = 24
WITHIN_S = 180.0
DRAWN_WITHIN_S = 60
SETTLE_S = 4.0
IS_DRAWN = "Boolean(window.Bokeh && Bokeh.documents.length && Bokeh.documents.every(one => one.is_idle))"


def main() -> None:
    """Run a demo and take the pictures."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is on PATH (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory(prefix="crh-batch-screenshot-") as temporary:
        survey = Path(temporary) / "survey"
        for number in range(TOMODIRS):
            block = Block(5.0 + number % 7, 1.0, 3.0, 2.0, 20.0 + 5 * number, -20.0)
            dims: Literal["2D", "2.5D"] = "2.5D" if number % 4 == 3 else "2D"
            spec = TomodirSpec(dims=dims, electrodes=24 if number % 4 == 3 else 40, block=block)
            write_tomodir(survey / f"line{number // 8}" / f"td{number:02d}_{dims}", spec)
        argv = [sys.executable, "-m", "crh_batch", "submit", "--engine", "dask", "--local", "-j", "4", "-t", "2"]
        driver = subprocess.Popen(argv, cwd=survey, stdin=subprocess.DEVNULL)
        try:
            link = wait_for_progress(survey)
            pictures = {page: target / name for page, name in PAGES.items()}
            asyncio.run(take(browser, link, pictures, Path(temporary)))
        finally:
            driver.terminate()
            driver.wait()
            subprocess.run([sys.executable, "-m", "crh_batch", "cancel"], cwd=survey, check=False)


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


async def take(browser: str, link: str, pictures: Mapping[str, Path], temporary: Path) -> None:
    """Open pages as a user does, wait until they are drawn, and keep what is seen.

    Chromium is told what to do by its DevTools protocol: its own --screenshot doesn't wait for what comes later.
    """
    profile = temporary / "browser"
    argv = [browser, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,720"]
    argv += [f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    if os.geteuid() == 0:
        # Chromium's own sandbox doesn't work for root.
        argv.insert(1, "--no-sandbox")
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = await until(lambda: (profile / "DevToolsActivePort").read_text().split()[0], "the browser listens")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
            tabs = json.load(answer)
        tab = next(one for one in tabs if one["type"] == "page")
        connection = await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=1 << 26)
        numbers = itertools.count(1)

        async def tell(method: str, **parameters: Any) -> dict[str, Any]:
            number = next(numbers)
            await connection.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
            while True:
                said = json.loads(await connection.read_message() or "{}")
                if said.get("id") == number:
                    return dict(said.get("result") or {})

        for page, picture in pictures.items():
            await tell("Page.navigate", url=link.replace("/status", f"/{page}"))
            for _ in range(DRAWN_WITHIN_S):
                await asyncio.sleep(1)
                asked = await tell("Runtime.evaluate", expression=IS_DRAWN)
                if asked["result"].get("value") is True:
                    break
            else:
                sys.exit(f"{page}: not drawn within {DRAWN_WITHIN_S} s")
            # Some updates, so that curves have points.
            await asyncio.sleep(SETTLE_S)
            shot = await tell("Page.captureScreenshot", format="png")
            picture.write_bytes(base64.b64decode(shot["data"]))
            print(f"{picture}: {picture.stat().st_size} bytes", flush=True)
    finally:
        process.terminate()
        process.wait()


async def until(look: Callable[[], str], what: str) -> str:
    """Wait for something that raises as long as it isn't there."""
    for _ in range(DRAWN_WITHIN_S * 10):
        with contextlib.suppress(OSError, IndexError):
            return look()
        await asyncio.sleep(0.1)
    sys.exit(f"not within {DRAWN_WITHIN_S} s: {what}")


if __name__ == "__main__":
    main()
