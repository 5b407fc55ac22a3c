"""The pipelines of a running server, over HTTP."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

from realm.errors import ConfigError, ServerError

DEFAULT_SERVER = "http://127.0.0.1:8000"
KEY_VARIABLE = "REALM_API_KEY"
_TIMEOUT_SECONDS = 600.0
_MOST_BYTES = 64 << 20


class PipelineServer:
    """Every method raises ServerError, in the server's own words where it has some."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(f"--server {url!r} is not an address of http or https")
        self._url = url.rstrip("/")

    def list(self) -> list[dict[str, Any]]:
        """What each takes, and its steps."""
        found: list[dict[str, Any]] = self._ask("/v1/pipelines")["data"]
        return found

    def show(self, pipeline_id: str) -> dict[str, Any]:
        """The same of one."""
        return self._ask(f"/v1/pipelines/{quote(pipeline_id, safe='')}")

    def run(self, pipeline_id: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Output and steps."""
        path = f"/v1/pipelines/{quote(pipeline_id, safe='')}/run"
        return self._ask(path, json.dumps({"input": inputs}).encode())

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        key = os.environ.get(KEY_VARIABLE)
        if key:
            headers["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url + path, body, headers)  # noqa: S310  checked
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                document = json.loads(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            raise ServerError(_told(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ServerError(f"{self._url} does not answer: {reason}") from None
        if not isinstance(document, dict):
            raise ServerError(f"{self._url} is no server of Realm")
        return document


def _told(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            return str(json.loads(error.read(1 << 20))["error"]["message"])
        except (OSError, ValueError, KeyError, TypeError):
            return f"the server answers {error.code} {error.reason}"
