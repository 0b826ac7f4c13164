"""The view in a browser: a real one opens the page, where there is one."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.views import write_models

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1000,700",
)  # fmt: skip

SHOWN = """(() => {
  const body = document.body.className;
  const rows = [...document.querySelectorAll('.xterm-rows > div')].map(row => row.textContent);
  return JSON.stringify({body, rows});
})()"""
"""What the page shows: its state, and the terminal's rows where they are drawn as text."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(tmp_path):
    """The address of a recipe that is served."""
    recipe = write_models(tmp_path)
    port = free_port()
    words = [sys.executable, "-m", "mergelang", "tui", str(recipe), "--serve", "--port", str(port)]
    environment = {**os.environ, "MERGELANG_CACHE": str(tmp_path / "cache")}
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


async def fetched(session, address: str) -> str:
    """The page, once the server is up."""
    from aiohttp import ClientError

    for _ in range(600):
        try:
            async with session.get(address) as answer:
                return await answer.text()
        except ClientError:
            await asyncio.sleep(0.1)
    raise AssertionError("the server does not come up")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_shows_the_view(served, tmp_path):
    aiohttp = pytest.importorskip("aiohttp")
    pytest.importorskip("textual_serve")

    async def play() -> None:
        async with aiohttp.ClientSession() as session:
            assert "textual-terminal" in await fetched(session, served)
            with open(tmp_path / "browser.log", "wb") as log:
                browser = subprocess.Popen(
                    [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'browser'}",
                     "--remote-debugging-port=0", served],
                    stderr=log, stdout=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            try:
                await look(session)
            finally:
                os.killpg(browser.pid, signal.SIGKILL)
                browser.wait(60)

    async def look(session) -> None:
        for _ in range(600):
            log = (tmp_path / "browser.log").read_text(errors="replace")
            found = re.search(r"ws://(127\.0\.0\.1:\d+)/", log)
            if found:
                break
            await asyncio.sleep(0.1)
        async with session.get(f"http://{found[1]}/json/list") as answer:
            pages = [each for each in await answer.json() if each["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"]) as page:
            for number in range(1200):
                await page.send_json({
                    "id": number, "method": "Runtime.evaluate", "params": {"expression": SHOWN},
                })  # fmt: skip
                while True:
                    said = await page.receive_json()
                    if said.get("id") == number:
                        break
                shown = said["result"]["result"].get("value", "")
                if "-first-byte" in shown:
                    return
                await asyncio.sleep(0.1)
        raise AssertionError(f"the view is not shown: {shown}")

    asyncio.run(play())
