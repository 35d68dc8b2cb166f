"""A real CRM's recorded log, and a sandbox CRM on loopback."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from crm_platform.contracts import contracts_in
from crm_platform.lake import Lake
from crm_platform.sandbox import SandboxConfig, running
from crm_platform.sources import connect, load_manifest, recorded_log

LOG = Path(__file__).parents[2] / "data" / "samples" / "bottlecrm" / "events.jsonl.gz"
REAL = datetime(2026, 11, 2, 9, tzinfo=UTC)
FIRST = date(2026, 3, 1)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def bottlecrm():
    """The manifest, the contracts and the log of BottleCRM."""
    manifest = load_manifest("bottlecrm")
    return manifest, contracts_in(manifest.contracts), recorded_log(LOG, manifest)


@pytest.fixture(scope="session")
def sandbox_manifest():
    return load_manifest("sandbox")


@pytest.fixture(scope="session")
def sandbox_contracts(sandbox_manifest):
    return contracts_in(sandbox_manifest.contracts)


@pytest.fixture(scope="session")
def sandbox(sandbox_manifest, tmp_path_factory):
    """A sandbox of six days behind HTTP, as a source."""
    with small_sandbox(sandbox_manifest, tmp_path_factory.mktemp("sandbox")) as source:
        yield source


class small_sandbox:  # noqa: N801  used like a function
    """A sandbox of six days, with faults if asked for; leaves with the context."""

    def __init__(self, manifest, folder, **settings):
        told = {"accounts": 20, "first_day": FIRST, "days": 6, "extra_days": 2, "folder": folder} | settings
        self.manifest, self.running = manifest, running(SandboxConfig.model_validate(told))

    def __enter__(self):
        address = self.running.__enter__()
        credentials = {"client_id": address.client_id, "client_secret": address.client_secret}
        self.source = connect(self.manifest, base_url=address.base_url, credentials=credentials)
        return self.source

    def __exit__(self, *broken):
        self.source.close()
        return self.running.__exit__(*broken)
