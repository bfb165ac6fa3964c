"""A real headless Chromium, driven through chromedriver by the W3C's WebDriver protocol, which is plain HTTP."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars"),
]

DESKTOP, PHONE = (1280, 900), (390, 844)


class Browser:
    """One window."""

    def __init__(self, session: str):
        self.session = session

    def _call(self, method: str, path: str, **body: Any) -> Any:
        sent = body if method == "POST" else None
        answer = requests.request(method, f"{self.session}/{path}", json=sent, timeout=300)
        value = answer.json()["value"]
        assert answer.ok, value["message"]
        return value

    def open(self, address: str) -> None:
        """Load a page, and wait for it."""
        self._call("POST", "url", url=address)

    def size(self, width: int, height: int) -> None:
        """Show the page as a window, or a phone, of so many CSS pixels would."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str) -> Any:
        """What a script returns, `await` allowed, in the page."""
        return self._call("POST", "execute/sync", script=f"return (async () => {{ {script} }})()", args=[])

    def until(self, script: str, *, seconds: float = 300) -> Any:
        """What the script returns as soon as that is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, (
                f"{script}: not within {seconds} s\n{self.run('return document.body.innerText')}"
            )
            time.sleep(0.1)
        return value

    def give(self, selector: str, file: Path) -> None:
        """Choose a file in the page's first `<input type=file>` that the selector finds."""
        document = self._devtools("DOM.getDocument", {})["root"]["nodeId"]
        node = self._devtools("DOM.querySelector", {"nodeId": document, "selector": selector})["nodeId"]
        self._devtools("DOM.setFileInputFiles", {"files": [str(file)], "nodeId": node})

    def requests(self) -> list[str]:
        """The addresses of everything that was asked for since this was last asked."""
        messages = [json.loads(each["message"])["message"] for each in self._call("POST", "se/log", type="performance")]
        return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors on the page's console since this was last asked."""
        return [each["message"] for each in self._call("POST", "se/log", type="browser") if each["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        """The whole page, however long, as a PNG."""
        size = self._devtools("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))

    def _devtools(self, command: str, params: dict[str, Any]) -> Any:
        return self._call("POST", "goog/cdp/execute", cmd=command, params=params)


@contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[Browser]:
    """A browser whose profile is in the folder `profile`, started with more flags; closed in the end."""
    driver = shutil.which("chromedriver")
    assert driver, "the tests look at pages in Chromium: apt install chromium chromium-driver"
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        started = next(line for line in process.stdout if "started successfully on port" in line)
        server = f"http://127.0.0.1:{started.split()[-1].rstrip('.')}"
        options = {
            "goog:chromeOptions": {"args": [*FLAGS, *flags, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome"} | options}}
        answer = requests.post(f"{server}/session", json=wanted, timeout=300).json()["value"]
        assert "sessionId" in answer, answer["message"]
        yield Browser(f"{server}/session/{answer['sessionId']}")
        requests.delete(f"{server}/session/{answer['sessionId']}", timeout=60)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
