"""A headless Chromium, driven by its DevTools protocol: what a page says, asks for and shows."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
_FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--remote-debugging-port=0", "--force-device-scale-factor=1",
)  # fmt: skip
_PATIENCE_S = 120.0
_DRAWN = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))"


class Gone(Exception):
    """The page that was asked went away before it answered: another is on its way."""


class Page:
    """One tab. ``messages`` are console output, errors and refusals, ``requests`` addresses."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._session: str | None = None
        self._n = 0
        self.messages: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._n += 1
        sent: dict[str, Any] = {"id": self._n, "method": method, "params": parameters}
        self._connection.send(
            json.dumps(sent | ({"sessionId": self._session} if self._session else {}))
        )
        while True:
            answer = self._receive()
            if answer.get("id") == self._n:
                words = answer.get("error", {}).get("message", "")
                if "navigated" in words or "context" in words:
                    raise Gone(words)
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(
        self, page: Path | str, *, width: int = 1440, dark: bool = False, fragment: str = ""
    ) -> None:
        """Load a file or an address and wait until it says that it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        # A fragment alone would not load the file again.
        self.call("Page.navigate", url="about:blank")
        self.settle()
        self.requests.clear()
        address = page.resolve().as_uri() if isinstance(page, Path) else page
        self.call("Page.navigate", url=address + fragment)
        self.loaded()

    def loaded(self) -> None:
        """Wait until the page that is there, or is on its way, says that it is loaded."""
        loaded = "document.readyState === 'complete' ? done() : addEventListener('load', done)"
        self._evaluate_there(f"new Promise(done => {loaded})")
        self._evaluate_there(_DRAWN)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        how = {"returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true: each frame it is looked at."""
        self._evaluate_there(
            "new Promise(done => { const look = () => "
            f"({expression}) ? done() : requestAnimationFrame(look); look(); }})"
        )

    def _evaluate_there(self, expression: str) -> None:
        """Evaluate an expression on the page that is there in the end."""
        while True:
            try:
                self.evaluate(expression)
            except Gone:
                continue
            return

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked for is done and drawn."""
        self.evaluate(_DRAWN)

    def picture(self, path: Path) -> None:
        """Write a PNG of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(timeout=_PATIENCE_S))
        about = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Runtime.exceptionThrown":
                self.messages.append(json.dumps(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.messages.append(json.dumps(about))
        return message


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start the browser with an empty profile; it ends with the block."""
    assert PROGRAM is not None
    # The browser's own sandbox needs rights that root's children in a container do not have.
    sandbox = () if os.geteuid() else ("--no-sandbox",)
    command = [PROGRAM, *_FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            marked = (line.partition("listening on ")[2] for line in process.stderr)
            address = next(filter(None, marked)).strip()
            with connect(address, max_size=None, ping_interval=None) as connection:
                yield Page(connection)
                connection.send(json.dumps({"id": 0, "method": "Browser.close"}))
        finally:
            process.terminate()
