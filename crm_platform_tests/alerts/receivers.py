"""Real receivers on loopback: an HTTP server and an SMTP server that keep what they were sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from aiosmtpd.controller import Controller


class Received(list):
    """What came in, as (path, headers, body); `status` is what is answered, `met` is called before."""

    status = 200
    met = staticmethod(lambda: None)
    url = ""


@contextmanager
def http_receiver(status: int = 200) -> Iterator[Received]:
    """An HTTP server that takes POSTs."""
    received = Received()
    received.status = status

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, dict(self.headers), json.loads(body)))
            received.met()
            self.send_response(received.status)
            self.end_headers()

        def log_message(self, *_):
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}/services/T0/SECRET"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Mails:
    def __init__(self):
        self.taken = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802  the server's own name
        if address.startswith("nobody@"):
            return "550 no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802  the server's own name
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


class _AnyPort(Controller):
    """The controller greets its server once; with port 0 it must be told which port that became."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def smtp_receiver(**more: object) -> Iterator[tuple[int, list]]:
    """An SMTP server that knows everybody but nobody, with what aiosmtpd's takes more; its port, and the mails it took."""
    mails = _Mails()
    controller = _AnyPort(mails, hostname="127.0.0.1", port=0, **more)
    controller.start()
    try:
        yield controller.port, mails.taken
    finally:
        controller.stop()
