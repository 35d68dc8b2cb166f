"""A real HTTP server on loopback that is told, call by call, how to answer."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

CREDENTIALS = {"client_id": "sandbox", "client_secret": "sandbox-secret"}


@dataclass
class Call:
    """What came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What goes out; `cut` closes the connection after so many bytes of the body."""

    status: int = 200
    body: bytes | dict | list = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


class Misbehaving:
    """A CRM that answers as the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, list[Reply] | Callable[[Call], Reply]] = {}
        self.base_url = ""

    def asked(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    def reply(self, call: Call) -> Reply:
        told = self.answers.get(call.path, [Reply(404, {"error": "not_found"})])
        if callable(told):
            return told(call)
        return told.pop(0) if len(told) > 1 else told[0]


@contextmanager
def misbehaving_crm() -> Iterator[Misbehaving]:
    """A server whose answers the test sets by path: a list that is used up (the last one stays), or a function."""
    crm = Misbehaving()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.command, parts.path, dict(parse_qsl(parts.query)), headers, self.rfile.read(length))
            crm.calls.append(call)
            reply = crm.reply(call)
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True

        do_GET = do_POST = answer  # noqa: N815 - the names are http.server's

        def log_message(self, *_args) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # closing the server waits for its answers, so that no socket outlives the test
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    crm.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    crm.answers["/oauth/token"] = [Reply(200, {"access_token": "t0ken", "expires_in": 3600})]
    try:
        yield crm
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
