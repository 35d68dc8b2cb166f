"""A snapshot tells what the stream lost, and no more than it proves."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from crm_platform.history.reconcile import Snapshot, first_told, reconcile
from crm_platform_tests.scenario import COMPANY, at

NIGHT = Snapshot(dt.date(2026, 3, 4), at("04 01:00"), at("04 01:30"), True, "export-4", at("09 00:00"))


def rows(*companies: tuple, schema=("entity_id", "name", "revenue")) -> pl.DataFrame:
    told = [
        dict(zip(schema, company, strict=True)) | {"id": company[0], "modified_at": at("02 00:00")}
        for company in companies
    ]
    return pl.DataFrame(told, schema={"entity_id": pl.String} | dict(COMPANY.schema))


def ids(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"entity_id": names}, schema={"entity_id": pl.String})


def compared(snapshot: pl.DataFrame, state: pl.DataFrame, when: Snapshot = NIGHT, **asked):
    asked = {"left_out": ids(), "quarantined": ids(), "allows": lambda *_: True} | asked
    return reconcile(snapshot, state, when, COMPANY, **asked)


ACME = ("acme", "Acme", Decimal("10.00"))
BOREAL = ("boreal", "Boreal", None)


def test_the_first_snapshot_tells_every_row_at_its_edit_time():
    found = first_told(rows(ACME, BOREAL), NIGHT, COMPANY, "modified_at").versions
    assert found.select("entity_id", "operation", "event_time", "processed_time", "processed_date", "name").rows() == [
        ("acme", "snapshot", at("02 00:00"), at("04 01:30"), dt.date(2026, 3, 4), "Acme"),
        ("boreal", "snapshot", at("02 00:00"), at("04 01:30"), dt.date(2026, 3, 4), "Boreal"),
    ]
    assert found.schema == COMPANY.history_schema
    assert found["changed_fields"].to_list() == [None, None]


def test_without_an_edit_time_the_first_snapshot_speaks_for_the_moment_it_began():
    assert first_told(rows(ACME), NIGHT, COMPANY, None).versions["event_time"].to_list() == [at("04 01:00")]


def test_a_snapshot_that_equals_the_state_adds_nothing():
    found = compared(rows(ACME, BOREAL), rows(BOREAL, ACME))
    assert found.versions.is_empty()
    assert found.counts == {
        "rows": 2,
        "living": 2,
        "left_out": 0,
        "equal": 2,
        "repair": 0,
        "inferred_delete": 0,
        "quarantined": 0,
        "withheld": 0,
    }


def test_what_differs_is_repaired_by_a_full_image_from_the_moment_the_snapshot_began():
    found = compared(rows(("acme", "Acme", Decimal("10.01"))), rows(ACME))
    assert found.versions.select(
        "entity_id",
        "operation",
        "is_tombstone",
        "event_time",
        "processed_time",
        "revenue",
        "changed_fields",
        "_channel",
    ).rows() == [("acme", "repair", False, at("04 01:00"), at("04 01:30"), Decimal("10.01"), None, "snapshot")]
    assert found.examples == {"repair": ["acme"]}


def test_a_value_against_a_null_differs_and_two_nulls_do_not():
    assert compared(rows(("acme", "Acme", None)), rows(ACME)).counts["repair"] == 1
    assert compared(rows(BOREAL), rows(BOREAL)).counts["repair"] == 0


def test_lists_are_compared_by_what_they_hold():
    one = rows(ACME).with_columns(pl.Series("merged_ids", [["x", "y"]], pl.List(pl.String)))
    other = rows(ACME).with_columns(pl.Series("merged_ids", [["x"]], pl.List(pl.String)))
    assert compared(one, one).counts["repair"] == 0
    assert compared(one, other).counts["repair"] == 1
    assert compared(one, rows(ACME)).counts["repair"] == 1


def test_an_entity_that_history_does_not_know_alive_is_repaired():
    assert compared(rows(ACME, BOREAL), rows(ACME)).examples == {"repair": ["boreal"]}


def test_what_is_missing_is_taken_for_deleted():
    found = compared(rows(ACME), rows(ACME, BOREAL))
    assert found.versions.select(
        "entity_id", "operation", "is_tombstone", "event_time", "processed_time", "name", "changed_fields"
    ).rows() == [("boreal", "inferred_delete", True, at("04 01:00"), at("04 01:30"), None, [])]


def test_an_incomplete_export_deletes_nothing_but_repairs():
    part = Snapshot(NIGHT.day, NIGHT.started_at, NIGHT.finished_at, False, "export-4", NIGHT.ingested_at)
    found = compared(rows(("acme", "Acme", None)), rows(ACME, BOREAL), part)
    assert found.versions["operation"].to_list() == ["repair"]
    assert found.counts["withheld"] == 1
    assert not found.is_over_limit


def test_a_key_in_quarantine_is_never_taken_for_deleted():
    found = compared(rows(ACME), rows(ACME, BOREAL), quarantined=ids("boreal"))
    assert found.versions.is_empty()
    assert found.counts["quarantined"] == 1


def test_what_changed_around_the_snapshot_is_left_out_whether_it_differs_or_is_missing():
    found = compared(rows(("acme", "Acme", None)), rows(ACME, BOREAL), left_out=ids("acme", "boreal"))
    assert found.versions.is_empty()
    assert found.counts["left_out"] == 1


@pytest.mark.parametrize(("limit", "inferred"), [(2, ["boreal", "cedar"]), (1, [])])
def test_above_the_limit_nothing_is_inferred_and_the_tally_says_so(limit, inferred):
    found = compared(
        rows(ACME),
        rows(ACME, BOREAL, ("cedar", "Cedar", None)),
        allows=lambda missing, living: missing <= limit and living == 3,
    )
    assert found.versions["entity_id"].to_list() == inferred
    assert found.is_over_limit is not bool(inferred)
    assert found.examples == ({"inferred_delete": inferred} if inferred else {"withheld": ["boreal", "cedar"]})
