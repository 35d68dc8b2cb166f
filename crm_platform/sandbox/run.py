"""Starts the sandbox: for good in the foreground, or for a while in a thread.

What is served stands in `server`; the command line is wired in `crm_platform.cli`.
"""

import logging
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import uvicorn

from crm_platform.sandbox.changelog import ChangeLog
from crm_platform.sandbox.config import SandboxConfig
from crm_platform.sandbox.errors import SandboxError
from crm_platform.sandbox.server import application
from crm_platform.sandbox.simulator import generated

HOST = "127.0.0.1"
STARTS_WITHIN = 30


@dataclass(frozen=True)
class Address:
    """Where a sandbox listens, and who may sign in."""

    base_url: str
    client_id: str
    client_secret: str


class _Server(uvicorn.Server):
    """A server that tells when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, and says so."""
        await super().startup(sockets)
        self.ready()


def serve(
    config: SandboxConfig,
    host: str = HOST,
    port: int = 8710,
    *,
    ready: Callable[[Address], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Generates the sandbox's log where it is not there yet, and serves it until the process is told to stop.

    Args:
        config: The sandbox.
        host: Where to listen.
        port: 0 for any free port.
        ready: Told the address once the server listens.
        progress: Told after each simulated day: days done, days in all.

    Raises:
        SandboxError: Somebody else listens there.
    """
    log = ChangeLog(generated(config, progress=progress))
    with _listening(host, port) as listener:
        address = _address(config, listener)
        server = _Server(_settings(config, log), lambda: ready(address) if ready else None)
        with suppress(KeyboardInterrupt):  # how people end it; the server has closed by then
            server.run([listener])


@contextmanager
def running(config: SandboxConfig, *, host: str = HOST, port: int = 0) -> Generator[Address]:
    """Serves a sandbox in a thread for as long as the context lasts.

    Raises:
        SandboxError: Somebody else listens there, or the server does not start.
    """
    log = ChangeLog(generated(config))
    up = threading.Event()
    with _listening(host, port) as listener:
        server = _Server(_settings(config, log), up.set)
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
        thread.start()
        try:
            if not up.wait(STARTS_WITHIN):
                raise SandboxError.silent(host, listener.getsockname()[1])
            yield _address(config, listener)
        finally:
            server.should_exit = True
            thread.join()


def _settings(config: SandboxConfig, log: ChangeLog) -> uvicorn.Config:
    if config.faults.truncated_bodies:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    app = application(config, log)
    return uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2)


@contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as broken:
            raise SandboxError.taken(host, port) from broken
        yield listener
    finally:
        listener.close()


def _address(config: SandboxConfig, listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(f"http://{host}:{port}", config.client_id, config.client_secret)
