"""Quarantined rows let out again: with their own times, once, and only those that keep the contract."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import polars as pl
import pytest

from crm_platform.contracts import Contract
from crm_platform.contracts import bottlecrm as declared
from crm_platform.contracts import sandbox as sandbox_declared
from crm_platform.lake import Lake, audit_log
from crm_platform.landing import discard_quarantined, land_changes, land_snapshot, release_quarantined
from crm_platform.sources import FeedBatch, Head
from crm_platform_tests.landing.conftest import REAL

LATER = datetime(2026, 11, 5, 9, tzinfo=UTC)


class Strict(declared.Account):
    """Takes no account whose name has an even length."""

    name: str = declared.field("Name.", str_matches=r"^(..)*.$")


class StrictOwner(sandbox_declared.Owner):
    """Takes no owner of the north and the south."""

    region: str = sandbox_declared.field("Region.", isin=["east", "west"])


@dataclass
class Once:
    """A feed of one batch."""

    batch: FeedBatch

    def head(self):
        return Head(self.batch.to_offset, self.batch.watermark, None)

    def changes(self, after, until=None, upto=None):  # noqa: ARG002  a source's signature
        yield self.batch


@pytest.fixture
def spoiled(bottlecrm, lake):
    """A lake in which some accounts wait in quarantine, for a reason that a wider contract mends."""
    manifest, contracts, log = bottlecrm
    batch = next(log.changes(None, limit=60))
    events = batch.events.filter(pl.col("object") == "account")
    strict = contracts | {"account": Contract("bottlecrm", "account", Strict)}

    report = land_changes(lake, Once(replace(batch, events=events)), manifest, strict, ingested_at=lambda: REAL)
    return manifest, contracts, events, report


def test_released_rows_land_with_the_times_they_came_with(lake, spoiled):
    manifest, contracts, events, report = spoiled
    assert report.refused["account"] > 0
    assert report.rows["account"] > 0
    done = release_quarantined(lake, manifest, contracts, "account", released_by="ana", ingested_at=lambda: LATER)
    assert (done.released, done.refused) == (report.refused["account"], 0)
    landed = lake.scan("landing/changes/account").sort("source_position").collect()
    expected = events.sort("source_position")
    assert landed.get_column("source_position").to_list() == expected.get_column("source_position").to_list()
    assert landed.get_column("processed_time").to_list() == expected.get_column("processed_time").to_list()
    assert landed.get_column("event_time").to_list() == expected.get_column("event_time").to_list()
    assert landed.get_column("_payload").to_list() == expected.get_column("payload").to_list()
    released = landed.filter(pl.col("_ingested_at") == LATER)
    assert released.height == done.released
    assert released.get_column("_channel").unique().to_list() == ["log"]
    assert done.days == tuple(sorted(released.get_column("processed_date").unique()))


def test_released_rows_are_what_they_would_have_been(lake, spoiled, tmp_path):
    manifest, contracts, events, report = spoiled
    release_quarantined(lake, manifest, contracts, "account", released_by="ana", ingested_at=lambda: REAL)
    whole = Lake(tmp_path / "whole")
    batch = FeedBatch(None, report.offset, report.watermark, events)
    land_changes(whole, Once(batch), manifest, contracts, ingested_at=lambda: REAL)
    one, other = (
        held.scan("landing/changes/account").drop("_batch_id").sort("source_position").collect()
        for held in (lake, whole)
    )
    assert one.equals(other)


def test_a_release_says_who_did_it_and_a_second_one_finds_nothing(lake, spoiled):
    manifest, contracts, _, report = spoiled
    release_quarantined(lake, manifest, contracts, "account", released_by="ana", ingested_at=lambda: LATER)
    assert lake.scan("quarantine/account").select("resolved_by").unique().collect().rows() == [("ana",)]
    log = audit_log(lake)
    assert log.select("actor", "action", "subject").rows() == [("ana", "quarantine.release", "quarantine/account")]
    version = lake.version("landing/changes/account")
    again = release_quarantined(lake, manifest, contracts, "account", released_by="ben")
    assert (again.released, again.refused, lake.version("landing/changes/account")) == (0, 0, version)
    assert lake.rows("landing/changes/account") == report.rows["account"] + report.refused["account"]


def test_rows_that_still_break_the_contract_stay(lake, spoiled):
    manifest, contracts, _, report = spoiled
    strict = contracts | {"account": Contract("bottlecrm", "account", Strict)}
    done = release_quarantined(lake, manifest, strict, "account", released_by="ana")
    assert (done.released, done.refused, done.days) == (0, report.refused["account"], ())
    assert lake.version("quarantine/account") == 0


def test_a_release_that_is_cut_off_lands_its_rows_once(lake, spoiled):
    manifest, contracts, _, report = spoiled

    class Cut(Lake):
        def revise(self, table, change, *, days, metadata=None):  # noqa: ARG002
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release_quarantined(Cut(lake.root), manifest, contracts, "account", released_by="ana")
    done = release_quarantined(lake, manifest, contracts, "account", released_by="ana")
    assert done.released == report.refused["account"]
    assert lake.rows("landing/changes/account") == report.rows["account"] + report.refused["account"]


def test_rows_that_no_contract_will_take_are_given_up_by_their_rule_and_stay_in_the_table(lake, spoiled):
    _, _, _, report = spoiled
    (rule,) = lake.scan("quarantine/account").select("rule").unique().collect().to_series()
    landed = lake.version("landing/changes/account")
    told = {"discarded_by": "ana", "why": "mended in the CRM"}
    assert discard_quarantined(lake, "account", "another rule", **told) == 0
    assert discard_quarantined(lake, "account", rule, **told) == report.refused["account"]
    assert lake.scan("quarantine/account").select("resolved_by").unique().collect().rows() == [("discarded by ana",)]
    assert lake.rows("quarantine/account") == report.refused["account"]
    assert lake.version("landing/changes/account") == landed
    assert discard_quarantined(lake, "account", rule, **told) == 0
    (line,) = audit_log(lake).select("actor", "action", "subject").rows()
    assert line == ("ana", "quarantine.discard", "quarantine/account")


def test_only_the_asked_days_are_released(lake, spoiled):
    manifest, contracts, _, report = spoiled
    done = release_quarantined(lake, manifest, contracts, "account", released_by="ana", days=[date(2020, 1, 1)])
    assert (done.released, done.refused) == (0, 0)
    some = lake.days("quarantine/account")[:1]
    done = release_quarantined(lake, manifest, contracts, "account", released_by="ana", days=some)
    assert 0 < done.released <= report.refused["account"]
    assert done.days == tuple(some)


def test_a_released_row_of_a_snapshot_is_known_when_the_snapshot_was(
    lake, sandbox, sandbox_manifest, sandbox_contracts
):
    contract, day = Contract("sandbox", "owner", StrictOwner), date(2026, 3, 4)
    report = land_snapshot(lake, sandbox, sandbox_manifest, contract, day, drift=lambda _: [])
    assert (report.rows, report.refused) == (3, 5)
    done = release_quarantined(lake, sandbox_manifest, sandbox_contracts, "owner", released_by="ana")
    assert (done.released, done.refused, done.days) == (5, 0, (day,))
    landed = lake.scan("landing/changes/owner").collect()
    assert landed.select("operation", "processed_time", "_channel", "changed_fields").unique().rows() == [
        ("snapshot", datetime(2026, 3, 4, 23, 59, 59, 999999, tzinfo=UTC), "snapshot", None)
    ]
    assert landed.get_column("event_time").to_list() == landed.get_column("modified_at").to_list()
    assert landed.get_column("name").str.len_chars().is_between(1, 99).all()
