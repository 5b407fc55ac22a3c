"""A hub of one file on the loopback: metadata, ranges, and a connection that breaks on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """break_after: bytes of the next body after which the connection is cut, once."""

    content: bytes
    sha256: str = ""
    honours_ranges: bool = True
    break_after: int | None = None
    requested: list[tuple[str, str, str | None]] = field(default_factory=list)
    endpoint: str = ""

    def __post_init__(self) -> None:
        self.sha256 = self.sha256 or hashlib.sha256(self.content).hexdigest()


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve `hub` on a free port of the loopback; `hub.endpoint` says where."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            """Stay silent."""

        def do_HEAD(self):
            self._answer(with_body=False)

        def do_GET(self):
            self._answer(with_body=True)

        def _answer(self, with_body):
            wanted = self.headers.get("Range")
            hub.requested.append((self.command, self.path, wanted))
            if not self.path.startswith("/owner/repo/resolve/"):
                self.send_error(404)
                return
            start = 0
            if wanted and hub.honours_ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206)
                end = len(hub.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(hub.content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(hub.content) - start))
            self.send_header("ETag", f'"{hub.sha256}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if with_body:
                body = hub.content[start:]
                if hub.break_after is not None:
                    body, hub.break_after = body[: hub.break_after], None
                    self.close_connection = True
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
