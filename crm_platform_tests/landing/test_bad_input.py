"""Bad input from a real CRM over HTTP: an error that names place and remedy, or quarantine; never half a commit."""

from datetime import UTC, date, datetime

import httpx
import polars as pl
import pytest

from crm_platform.landing import DriftError, land_changes, land_snapshot
from crm_platform.quality.differences import drift_of
from crm_platform.sandbox import SandboxConfig, running
from crm_platform.sources import connect
from crm_platform.sources.errors import AuthError, UnreachableError
from crm_platform_tests.landing.conftest import FIRST, small_sandbox

DAY = date(2026, 3, 18)
NOW = datetime(2026, 3, 19, 1, tzinfo=UTC)
LONG = {"accounts": 60, "days": 20}


@pytest.fixture
def impatient(sandbox_manifest):
    """The sandbox's manifest, tried twice and paged by a hundred; its login may be another."""

    def changed(**auth):
        told = sandbox_manifest.model_dump(mode="json")
        told["transport"]["retry"] |= {"attempts": 2, "wait_initial": "1ms", "wait_max": "5ms"}
        told["transport"]["changes"]["limit"] = 100
        told["transport"]["auth"] |= auth
        return type(sandbox_manifest).model_validate(told)

    return changed


def test_a_crm_that_is_not_there_lands_nothing(lake, impatient, sandbox_contracts):
    credentials = {"client_id": "sandbox", "client_secret": "sandbox-secret"}
    told = (
        r"POST /oauth/token of sandbox \(attempt 2 of 2.*no answer from http://127\.0\.0\.1:9 .*Check that the CRM runs"
    )
    with (
        connect(impatient(), base_url="http://127.0.0.1:9", credentials=credentials) as source,
        pytest.raises(UnreachableError, match=told),
    ):
        land_changes(lake, source, impatient(), sandbox_contracts)
    assert lake.tables() == []


def test_a_token_that_expires_and_cannot_be_renewed_lands_nothing(lake, impatient, sandbox_contracts, tmp_path):
    manifest = impatient(kind="bearer", variables={"token": "CRM_SANDBOX_TOKEN"})
    config = SandboxConfig(faults={"token_expiry": {"calls": 4}}, first_day=FIRST, folder=tmp_path, **LONG)
    with running(config) as address:
        form = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox-secret"}
        token = httpx.post(f"{address.base_url}/oauth/token", data=form).json()["access_token"]
        told = r"GET /api/v1/changes of sandbox .* refused with 401: the token has expired.* Renew CRM_SANDBOX_TOKEN"
        with (
            connect(manifest, base_url=address.base_url, credentials={"token": token}) as source,
            pytest.raises(AuthError, match=told) as caught,
        ):
            land_changes(lake, source, manifest, sandbox_contracts)
    assert token not in str(caught.value)
    assert lake.tables() == []


def test_moments_without_a_zone_stop_an_export_and_wait_in_quarantine_when_the_feed_brings_them(
    lake, sandbox_manifest, sandbox_contracts, tmp_path
):
    contract = sandbox_contracts["activity"]
    with small_sandbox(sandbox_manifest, tmp_path, faults="naive_timestamps", **LONG) as source:
        with pytest.raises(DriftError, match=r"activity for 2026-03-18.*occurred_at retyped.*without a time zone"):
            land_snapshot(lake, source, sandbox_manifest, contract, DAY, drift=drift_of(contract), clock=lambda: NOW)
        assert lake.tables() == []
        report = land_changes(lake, source, sandbox_manifest, sandbox_contracts)
    refused = lake.scan("quarantine/activity").collect()
    assert set(refused["rule"]) == {"naive_timestamp: occurred_at"}
    assert refused["payload"].str.contains('"occurred_at": "2026-').all()
    assert report.refused["activity"] == refused.height > 100
    assert report.rows["lead"] > 50


def test_negative_amounts_wait_in_quarantine_however_they_come(lake, sandbox_manifest, sandbox_contracts, tmp_path):
    contract = sandbox_contracts["opportunity"]
    faults = {"negative_amount": {"day": 0, "share": 0.9}}
    with small_sandbox(sandbox_manifest, tmp_path, faults=faults, **LONG) as source:
        land_changes(lake, source, sandbox_manifest, sandbox_contracts)
        taken = land_snapshot(
            lake, source, sandbox_manifest, contract, DAY, drift=drift_of(contract), clock=lambda: NOW
        )
    refused = lake.scan("quarantine/opportunity").collect()
    assert set(refused["rule"]) == {"greater_than_or_equal_to(0): amount"}
    assert set(refused["column"]) == {"amount"}
    assert set(refused["_channel"]) == {"feed", "snapshot"}
    assert refused["payload"].str.contains("-").all()
    assert taken.refused == refused.filter(pl.col("_channel") == "snapshot").height > 0
    for table in ("landing/changes/opportunity", "landing/snapshot/opportunity"):
        assert lake.scan(table).filter(pl.col("amount") < 0).collect().height == 0
        assert lake.rows(table) > 0
