"""Sandboxes to test against, and a client that speaks their API."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from crm_platform.sandbox import SandboxConfig, running


class Crm:
    """A client of one sandbox."""

    def __init__(self, http: httpx.Client, config: SandboxConfig) -> None:
        self.http = http
        self.config = config
        self.sign_in()

    def sign_in(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret,
        }
        token = self.http.post("/oauth/token", data=form).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params) -> httpx.Response:
        return self.http.get(path, params={name: value for name, value in params.items() if value is not None})

    def read(self, of: str, **params) -> list[list[dict]]:
        """All pages of an object."""
        pages, cursor = [], None
        while True:
            page = self.get(f"/api/v1/objects/{of}", after=cursor, **params).json()
            pages.append(page["records"])
            cursor = page["next"]
            if cursor is None:
                return pages

    def events(self, after: int | None = None, limit: int = 5000) -> list[dict]:
        """All events behind an offset."""
        events = []
        while True:
            page = self.get("/api/v1/changes", after=after, limit=limit).json()
            events += page["events"]
            after = page["next_offset"]
            if after == page["head_offset"]:
                return events

    def export(self, of: str, form: str = "parquet", as_of: str | None = None) -> dict:
        """A finished export, however it ended."""
        asked = self.http.post("/api/v1/exports", json={"object": of, "format": form, "as_of": as_of})
        assert asked.status_code == 202
        for _ in range(1000):
            told = self.get(f"/api/v1/exports/{asked.json()['id']}").json()
            if told["status"] in {"completed", "failed"}:
                return told
            time.sleep(0.005)
        raise AssertionError(told)

    def parts(self, export: dict) -> list[bytes]:
        """The parts of an export, following X-Next-Part."""
        contents, part = [], "1"
        while part != "null":
            answer = self.get(f"/api/v1/exports/{export['id']}/parts/{part}")
            assert answer.status_code == 200
            contents.append(answer.content)
            part = answer.headers["X-Next-Part"]
        return contents


@contextmanager
def client_of(config: SandboxConfig) -> Iterator[Crm]:
    """A running sandbox and its client."""
    with running(config) as address, httpx.Client(base_url=address.base_url, timeout=30) as http:
        yield Crm(http, config)


@pytest.fixture(scope="session")
def logs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def small(logs):
    """A small sandbox's configuration, with changes."""

    def configured(**changes) -> SandboxConfig:
        return SandboxConfig(**{"accounts": 60, "days": 20, "extra_days": 5, "folder": logs, **changes})

    return configured


@pytest.fixture(scope="session")
def default_config(logs) -> SandboxConfig:
    """The sandbox as it is by default, without days to come."""
    return SandboxConfig(folder=logs, extra_days=0)


@pytest.fixture(scope="module")
def crm(small) -> Iterator[Crm]:
    """A small sandbox without faults."""
    with client_of(small(export_part_rows=500)) as found:
        yield found


@pytest.fixture
def serve(small) -> Iterator:
    """Starts small sandboxes with changes, as many as a test likes."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(client_of(small(**changes)))
