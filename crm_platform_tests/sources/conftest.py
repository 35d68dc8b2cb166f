"""Two real servers on loopback: the sandbox CRM, and one that is told how to misbehave."""

from contextlib import contextmanager

import pytest

from crm_platform.sandbox.config import SandboxConfig
from crm_platform.sandbox.run import running
from crm_platform.sources import connect, load_manifest
from crm_platform_tests.sources.loopback import CREDENTIALS, misbehaving_crm


@pytest.fixture
def misbehaving():
    """A CRM that answers as the test says."""
    with misbehaving_crm() as crm:
        yield crm


@pytest.fixture
def manifest():
    """The sandbox's manifest, with patience measured in milliseconds."""
    return impatient(load_manifest("sandbox"))


def impatient(manifest, **changes):
    told = manifest.model_dump(mode="json")
    told["transport"]["retry"] |= {"wait_initial": "1ms", "wait_max": "5ms", "attempts": 4}
    told["transport"]["rate"] |= {"requests_per_second": 100000, "burst": 1000}
    told["transport"]["exports"] |= {"poll_interval": "5ms", "poll_total": "20s"}
    for path, value in changes.items():
        *steps, last = path.split("__")
        at = told
        for step in steps:
            at = at[step]
        at[last] = value
    return type(manifest).model_validate(told)


@pytest.fixture
def with_changes(manifest):
    """The manifest with some places changed: transport__retry__attempts=1."""
    return lambda **changes: impatient(manifest, **changes)


@pytest.fixture
def source(misbehaving, manifest):
    """The misbehaving CRM as a source."""
    with connect(manifest, base_url=misbehaving.base_url, credentials=CREDENTIALS) as opened:
        yield opened


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
def sandbox(logs, manifest):
    """Opens a small sandbox CRM with faults: `with sandbox("gap_events") as source`."""

    @contextmanager
    def opened(faults=(), *, using=None, **config):
        told = {"accounts": 40, "days": 20, "extra_days": 5, "folder": logs} | config
        with (
            running(SandboxConfig(faults=faults, **told)) as address,
            connect(using or manifest, base_url=address.base_url, credentials=CREDENTIALS) as source,
        ):
            yield source

    return opened
