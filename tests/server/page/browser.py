"""A headless Chromium, spoken to in its own debugging protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.sync.client import connect

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (found := shutil.which(name))
    ),
    None,
)

# fmt: off
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-sync", "--disable-background-networking", "--disable-component-update",
    "--disable-dev-shm-usage", "--no-default-browser-check", "--no-proxy-server",
    "--remote-debugging-port=0", "about:blank",
)
# fmt: on


class Browser:
    """One tab, while it is entered. requests: addresses that it asked for. complaints: errors of
    scripts and refused resources."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._leave = ExitStack()

    def __enter__(self) -> Browser:
        assert CHROMIUM is not None
        with self._leave:
            home = self._leave.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
            process = subprocess.Popen(
                [CHROMIUM, f"--user-data-dir={home}", *_FLAGS],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "HOME": home},
            )
            self._leave.enter_context(process)
            self._leave.callback(process.terminate)
            address = _address(process)
            # What Chromium goes on to tell must not fill the pipe.
            reader = threading.Thread(target=lambda: all(True for _ in process.stderr or ()))
            reader.start()
            self._leave.callback(reader.join)
            self._leave.callback(process.terminate)
            opened = connect(address, max_size=None, proxy=None, open_timeout=30)
            self._socket = self._leave.enter_context(opened)
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
            self._leave = self._leave.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.close()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command's result; what happens meanwhile is noted."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def open(self, address: str) -> None:
        """Goes there, and waits until the page's scripts have run."""
        self.send("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'")

    def reload(self) -> None:
        """Loads the page again, and waits until the new one's scripts have run."""
        self.evaluate("window.isLeft = true")
        self.send("Page.reload")
        end = time.monotonic() + 20.0
        while time.monotonic() < end:
            # Between two pages there is nothing to ask.
            with contextlib.suppress(AssertionError):
                if self.evaluate("!window.isLeft && document.readyState === 'complete'"):
                    return
        raise AssertionError("the page was not loaded again")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise's when it is one."""
        told = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until an expression holds in the page; fails when that takes longer than 20 s."""
        held = self.evaluate(
            "new Promise((resolve) => { const end = performance.now() + 20000;"
            f" const look = () => ({condition}) ? resolve(true)"
            " : performance.now() > end ? resolve(false) : setTimeout(look, 10); look(); })"
        )
        assert held, f"never: {condition}\n{self.evaluate('document.body.innerText')}"

    def text(self, selector: str) -> str:
        """What an element shows."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def type(self, selector: str, text: str) -> None:
        """Writes into a field as a person does."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.send("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """Presses one key."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )

    def click(self, selector: str) -> None:
        """Clicks an element."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def look(self, width: int, height: int, scheme: str = "light", scale: float = 1) -> None:
        """The window's size and the scheme of colours that the user prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        """The window as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters["exceptionDetails"]))
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.complaints.append(parameters["entry"]["text"])


def _address(process: subprocess.Popen[str]) -> str:
    for line in process.stderr or ():
        if found := re.search(r"DevTools listening on (ws://\S+)", line):
            return found[1]
    raise AssertionError("Chromium did not start")
