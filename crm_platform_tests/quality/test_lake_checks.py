"""Checks that look at the lake: each says which day fails, in how many rows, with which example, and what to do."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from crm_platform.contracts import RANGES
from crm_platform.history.build import build_current, build_history, build_merges
from crm_platform.lake import Lake
from crm_platform.landing import DriftError, land_snapshot
from crm_platform.quality.contracts import living_keep_contract, quarantined, versions_keep_contract
from crm_platform.quality.differences import drift_of
from crm_platform.quality.drift import landed_drift
from crm_platform.quality.duplicates import duplicates
from crm_platform.quality.freshness import freshness
from crm_platform.quality.gaps import missing_days, offset_gaps
from crm_platform.quality.losses import landing_losses
from crm_platform.quality.reconciliation import reconciliation
from crm_platform_tests.history.test_build import CONTRACTS, MANIFEST, WEEK, export, land
from crm_platform_tests.landing.test_snapshots import DAY, DEAL, END, GOOD, Exporting, manifest_with_deals
from crm_platform_tests.scenario import COMPANY, CREATED, LIFE, QUARREL, at, change

TUESDAY = dt.date(2026, 3, 3)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def fed(lake: Lake, *batches: tuple, reached: str = "08 00:00") -> None:
    """Batches of the feed: number, from, to, and whether it is done."""
    for number, since, until, done in batches:
        told = {
            "batch_id": f"feed-{number:010d}",
            "from_offset": since,
            "to_offset": until,
            "watermark": at(reached),
            "status": "done" if done else "open",
            "events": 1,
            "recorded_at": at("09 00:00"),
        }
        lake.append("landing/ranges", pl.DataFrame([told], schema=RANGES), token=f"{number}:{done}")


def built(lake: Lake, *rows: dict) -> None:
    land(lake, *rows)
    fed(lake, (1, None, "10", True))
    build_history(lake, MANIFEST, CONTRACTS, "company", WEEK)
    build_merges(lake, MANIFEST, CONTRACTS, WEEK)
    build_current(lake, MANIFEST, CONTRACTS, "company")


def test_a_true_lake_passes_every_check(lake):
    export(lake, 2, [{"entity_id": "elder", "name": "Elder"}])
    built(lake, *LIFE)
    found = [
        quarantined(lake, COMPANY, WEEK),
        versions_keep_contract(lake, COMPANY, WEEK),
        duplicates(lake, COMPANY, WEEK),
        missing_days(lake, COMPANY, WEEK),
        living_keep_contract(lake, COMPANY),
        landed_drift(lake, MANIFEST, COMPANY, WEEK),
        reconciliation(lake, MANIFEST, COMPANY, WEEK),
        offset_gaps(lake),
        freshness(lake, at("08 10:00")),
    ]
    assert [result.check for result in found if not result.passed] == []
    assert found[1].total == 12


def test_what_waits_in_quarantine_is_told_per_day_without_its_payload(lake):
    built(lake, *LIFE, *QUARREL)
    found = quarantined(lake, COMPANY, WEEK)
    assert (found.severity, found.failed_days) == ("warn", [dt.date(2026, 3, 2)])
    failed = next(finding for finding in found.findings if not finding.passed)
    assert failed.what == "Rows wait in quarantine: 1 broke “conflicting_versions”."
    assert failed.examples is not None
    assert failed.examples.columns == ["entity_id", "column", "rule", "source_position"]


def test_a_version_that_stands_twice_fails_its_day_with_its_identity(lake):
    built(lake, *LIFE)
    rows = lake.scan("history/company", days=[TUESDAY]).collect()
    lake.replace("history/company", pl.concat([rows, rows.head(1)]), days=[TUESDAY])
    found = duplicates(lake, COMPANY, WEEK)
    assert found.failed_days == [TUESDAY]
    assert (found.failing, found.total) == (2, 12)
    assert not versions_keep_contract(lake, COMPANY, WEEK).passed


def test_a_day_that_landed_and_was_not_built_is_missing_and_a_quiet_one_is_not(lake):
    built(lake, *LIFE)
    land(lake, change("fir", "050", "07 08:00", name="Fir"), batch="2")
    found = missing_days(lake, COMPANY, WEEK)
    assert found.failed_days == [dt.date(2026, 3, 7)]
    assert "history holds none of it" in found.summary()


def test_a_day_of_nothing_but_contradictions_is_not_missing(lake):
    built(lake, *QUARREL)
    assert missing_days(lake, COMPANY, WEEK).passed


def test_a_living_row_with_a_hole_is_told_by_its_key(lake):
    built(lake, change("acme", "001", "01 09:00", changed_fields=["owner_id"], owner_id="mia"))
    found = living_keep_contract(lake, COMPANY)
    assert (found.passed, found.severity, found.failing) == (False, "warn", 1)
    assert found.findings[0].examples is not None
    assert found.findings[0].examples["column"].to_list() == ["modified_at", "name"]


def test_batches_that_do_not_tile_name_the_offset(lake):
    fed(lake, (1, None, "10", True), (2, "12", "20", True))
    found = offset_gaps(lake)
    assert not found.passed
    assert "does not begin at offset 10" in found.summary()
    assert "export every object once more" in found.remedy


def test_a_batch_left_open_fails_until_it_is_repeated(lake):
    fed(lake, (1, None, "10", True), (2, "10", "20", False))
    found = offset_gaps(lake)
    assert not found.passed
    assert "feed-0000000002 is open" in found.summary()
    fed(lake, (2, "10", "20", True))
    assert offset_gaps(lake).passed


def test_a_file_of_landing_that_is_gone_is_told_with_its_table_day_and_rows_before_anybody_reads(lake):
    built(lake, *LIFE)
    landed = ["landing/changes/company", "landing/changes/person", "quarantine/company"]
    whole = landing_losses(lake, landed)
    assert (whole.passed, whole.total) == (True, 12)
    gone = lake.rows_by_day("landing/changes/company")[TUESDAY]
    for file in lake.files("landing/changes/company", [TUESDAY]):
        Path(file).unlink()
    found = landing_losses(lake, landed)
    assert (found.passed, found.failing, found.total) == (False, gone, 12)
    assert "of landing/changes/company that the log names cannot be read; the first is missing." in found.summary()
    assert "crm-platform landing restore landing/changes/company" in found.remedy
    assert found.findings[0].examples is not None
    assert found.findings[0].examples.row(0)[:2] == ("landing/changes/company", str(TUESDAY))


def test_a_watermark_far_behind_is_told_with_the_span(lake):
    assert freshness(lake, at("08 10:00")).findings[0].what == "Nothing has landed yet."
    fed(lake, (1, None, "10", True))
    found = freshness(lake, at("10 12:30"))
    assert (found.passed, found.severity) == (False, "warn")
    assert "is 2 d 12 h 30 min behind the source's clock, and 1 d 2 h are allowed." in found.summary()


@pytest.fixture(params=["all snapshots together", "one by one"])
def at_once(request, monkeypatch):
    """However few snapshots fit into memory."""
    if request.param == "one by one":
        monkeypatch.setattr("crm_platform.history.landed.ROWS_AT_ONCE", 1)
        monkeypatch.setattr("crm_platform.history.derive.CHUNK_ROWS", 1)


@pytest.mark.usefixtures("at_once")
def test_what_one_snapshot_would_repair_is_not_held_against_the_next(lake):
    export(lake, 2, [{"entity_id": "acme", "name": "Acme"}])
    built(lake, CREATED)
    for day in (4, 5, 6):
        export(lake, day, [{"entity_id": "acme", "name": "Acme GmbH"}])
    found = reconciliation(lake, MANIFEST, COMPANY, WEEK)
    assert found.failed_days == [dt.date(2026, 3, 4)]
    assert [finding.day.day for finding in found.findings] == [2, 4, 5, 6]


@pytest.mark.usefixtures("at_once")
def test_history_that_differs_from_a_snapshot_fails_the_day(lake):
    export(lake, 2, [{"entity_id": "acme", "name": "Acme"}])
    built(lake, CREATED)
    export(lake, 4, [{"entity_id": "acme", "name": "Acme GmbH"}])
    found = reconciliation(lake, MANIFEST, COMPANY, WEEK)
    assert found.failed_days == [dt.date(2026, 3, 4)]
    assert "1 entities differ from the snapshot of 2026-03-04 01:00." in found.summary()
    build_history(lake, MANIFEST, CONTRACTS, "company", WEEK)
    found = reconciliation(lake, MANIFEST, COMPANY, WEEK)
    assert found.passed
    assert found.facts == {"repair": 1, "inferred_delete": 0}


@pytest.mark.usefixtures("at_once")
def test_a_snapshot_that_lacks_too_much_fails_its_day_and_no_later_one_is_judged(lake):
    export(lake, 2, [{"entity_id": name} for name in ("acme", "boreal", "cedar")])
    export(lake, 4, [{"entity_id": "acme"}])
    export(lake, 5, [{"entity_id": "acme"}])
    fed(lake, (1, None, "10", True))
    report = build_history(lake, MANIFEST, CONTRACTS, "company", WEEK)
    assert report.blocked == dt.date(2026, 3, 4)
    found = reconciliation(lake, MANIFEST, COMPANY, WEEK)
    assert found.failed_days == [dt.date(2026, 3, 4)]
    assert [finding.day for finding in found.findings] == [dt.date(2026, 3, 2), dt.date(2026, 3, 4)]
    assert "2 of 3 living entities are missing" in found.summary()
    assert "inferred_delete_limit" in found.remedy


def test_a_column_beside_the_contract_is_a_warning_of_its_day(lake):
    export(lake, 2, [{"entity_id": "acme", "_extra": '{"region":"AT"}'}])
    found = landed_drift(lake, MANIFEST, COMPANY, WEEK)
    assert (found.severity, found.failed_days) == ("warn", [dt.date(2026, 3, 2)])
    assert "region added: expected no such column" in found.summary()


def test_an_export_that_could_not_land_stops_its_day_until_it_fits(lake):
    manifest = manifest_with_deals()
    taken = {"drift": drift_of(DEAL), "clock": lambda: END, "ingested_at": lambda: END}
    with pytest.raises(DriftError):
        land_snapshot(lake, Exporting([GOOD.drop("amount")]), manifest, DEAL, DAY, **taken)
    found = landed_drift(lake, manifest, DEAL, [DAY])
    assert (found.severity, found.failed_days) == ("error", [DAY])
    assert "amount removed: expected Decimal(precision=18, scale=2), found no such column." in found.summary()
    land_snapshot(lake, Exporting([GOOD]), manifest, DEAL, DAY, **taken)
    assert landed_drift(lake, manifest, DEAL, [DAY]).passed
