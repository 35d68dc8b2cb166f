"""History is built from what landed: by windows, again, late, and never past a day that is red."""

import datetime as dt
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_platform.contracts import MERGES, QUARANTINE
from crm_platform.contracts.envelope import PROVENANCE_COLUMNS
from crm_platform.history.build import build_current, build_history, build_merges
from crm_platform.history.errors import SnapshotError, UnbuiltDayError, WindowError
from crm_platform.history.staleness import stale_from
from crm_platform.history.state import state_as_of
from crm_platform.lake import Lake, hold, release
from crm_platform.sources import Manifest
from crm_platform_tests.scenario import (
    AHEAD,
    BOREAL,
    CEDAR,
    COMPANY,
    CORRECTED,
    CREATED,
    LIFE,
    LINKS,
    LIVING,
    QUARREL,
    RENAMED,
    at,
    change,
    landed,
)

CONTRACTS = {"company": COMPANY}
WEEK = [dt.date(2026, 3, day) for day in range(1, 8)]
LATE = at("08 00:00")


def declared(**told) -> Manifest:
    spec = {"table": "companies", "kind": "account", "key": "id", "event_time": "modified_at"}
    base = {
        "name": "scenario",
        "title": "One small CRM life",
        "contracts": "crm_platform_tests.scenario",
        "knowledge": "source",
        "clock": "head",
        "settling_lag": "0s",
        "inferred_delete_limit": {"rows": 1, "share": 0.0},
        "deletes": {"announced": True, "silent": True, "undeletes": True},
        "transport": {"kind": "debezium_log", "topic": "crm.{table}"},
        "objects": {"company": spec | told.pop("spec", {})},
    }
    return Manifest.model_validate(base | told)


MANIFEST = declared()
LISTED = declared(spec={"merges": {"style": "listed", "column": "merged_ids"}})


def land(lake: Lake, *rows: dict, batch: str = "1") -> None:
    lake.append("landing/changes/company", landed(*rows), token=batch)


def export(lake: Lake, day: int, rows: list[dict], *, started: str = "00:30", complete: bool = True) -> None:
    finished_at = at(f"{day:02} 01:00")
    taken = {
        "started_at": at(f"{day:02} {started}"),
        "finished_at": finished_at,
        "snapshot_date": finished_at.date(),
        "_complete": complete,
        "_batch_id": f"export-{day}",
        "_ingested_at": at("09 00:00"),
    }
    held = [{"id": row["entity_id"], "name": "?", "modified_at": at("01 00:00")} | row | taken for row in rows]
    lake.append("landing/snapshot/company", pl.DataFrame(held, schema=COMPANY.snapshot_schema), token=f"export-{day}")


def build(lake: Lake, days=WEEK, manifest: Manifest = MANIFEST, **asked):
    return build_history(lake, manifest, CONTRACTS, "company", days, **({"watermark": LATE} | asked))


def history(lake: Lake) -> pl.DataFrame:
    scanned = lake.scan("history/company", schema=COMPANY.history_schema)
    return scanned.sort("processed_date", "entity_id", "event_time", "processed_time", "source_position").collect()


def versions_of_all(lake: Lake) -> dict[str, int | None]:
    return {table: lake.version(table) for table in lake.tables()}


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def test_a_life_is_known_as_it_was_at_every_moment(lake):
    land(lake, *LIFE)
    build(lake)
    build_merges(lake, MANIFEST, CONTRACTS, WEEK)
    versions, merges = lake.scan("history/company"), lake.scan("history/merges")
    for moment, living in LIVING.items():
        found = state_as_of(versions, at(moment), merges).sort("entity_id")
        told = [
            (name, title, owner, None if revenue is None else str(revenue))
            for name, title, owner, revenue in found.select("entity_id", "name", "owner_id", "revenue").rows()
        ]
        assert told == living, moment


def test_current_holds_the_living_in_their_own_columns(lake):
    land(lake, *LIFE)
    build(lake)
    build_merges(lake, MANIFEST, CONTRACTS, WEEK)
    build_current(lake, MANIFEST, CONTRACTS, "company", watermark=at("04 18:00"))
    found = lake.scan("current/company").collect()
    assert found.columns == COMPANY.columns
    assert found.select("id", "name").rows() == [("acme", "Acme AG")]
    build_current(lake, MANIFEST, CONTRACTS, "company", watermark=LATE)
    assert lake.scan("current/company").collect()["id"].to_list() == ["acme", "boreal", "cedar"]


def test_a_quiet_day_is_built_too(lake):
    land(lake, CREATED)
    report = build(lake)
    assert report.days == tuple(WEEK)
    assert report.rows == {day: int(day == WEEK[0]) for day in WEEK}
    assert (report.version, report.blocked) == (0, None)


def test_building_again_writes_no_version_of_any_table(lake):
    land(lake, *LIFE, *QUARREL)
    for _ in range(2):
        report = build(lake)
        build_merges(lake, MANIFEST, CONTRACTS, WEEK)
        build_current(lake, MANIFEST, CONTRACTS, "company", watermark=LATE)
        before = versions_of_all(lake)
    assert report.commit is None
    assert versions_of_all(lake) == before
    assert set(before.values()) == {0}


def test_contradictions_wait_in_quarantine_with_what_was_delivered(lake):
    land(lake, *LIFE, *QUARREL)
    assert build(lake).rejected == 2
    found = lake.scan("quarantine/company").collect()
    assert found.schema == QUARANTINE
    assert found.select("entity_id", "rule", "payload", "processed_date", "resolved_by").rows() == [
        ("delta", "conflicting_versions", '{"position":"012"}', dt.date(2026, 3, 2), None)
    ]


def test_merges_of_all_objects_stand_in_one_table(lake):
    land(lake, *LIFE)
    build(lake)
    build_merges(lake, MANIFEST, CONTRACTS, WEEK)
    found = lake.scan("history/merges").sort("event_time").collect()
    assert found.schema == MERGES
    assert found.rows() == LINKS


def test_rebuilding_a_window_leaves_the_files_of_all_other_days(lake):
    land(lake, *LIFE)
    build(lake)
    files = lake.files("history/company")
    before = history(lake)
    assert build(lake, WEEK[2:5]).commit is None
    assert lake.files("history/company") == files
    assert history(lake).equals(before)


def test_an_event_that_lands_late_gives_what_it_would_have_given_in_time(lake, tmp_path):
    rest = [row for row in LIFE if row is not CORRECTED]
    land(lake, *rest)
    build(lake)
    land(lake, CORRECTED, batch="2")
    assert stale_from(lake, MANIFEST, CONTRACTS, "company") == dt.date(2026, 3, 3)
    build(lake, WEEK[2:])
    assert stale_from(lake, MANIFEST, CONTRACTS, "company") is None
    in_time = Lake(tmp_path / "in-time")
    land(in_time, *LIFE)
    build(in_time)
    assert history(lake).equals(history(in_time))


@settings(max_examples=10, deadline=None)
@given(rest=st.randoms(), cuts=st.sets(st.integers(1, 24), max_size=4))
def test_any_order_of_delivery_in_any_batches_builds_one_history_provenance_aside(tmp_path_factory, rest, cuts):
    deliveries = [*LIFE, *rest.choices(LIFE, k=12)]
    rest.shuffle(deliveries)
    lake, in_order = (Lake(tmp_path_factory.mktemp("lake")) for _ in range(2))
    for number, (since, until) in enumerate(pairwise([0, *sorted(cuts), len(deliveries)])):
        land(lake, *deliveries[since:until], batch=f"{number}")
        stale = stale_from(lake, MANIFEST, CONTRACTS, "company") if number else WEEK[0]
        if stale is not None:
            build(lake, WEEK[WEEK.index(stale) :])
    land(in_order, *LIFE)
    build(in_order)
    assert stale_from(lake, MANIFEST, CONTRACTS, "company") is None
    assert history(lake).drop(PROVENANCE_COLUMNS).equals(history(in_order).drop(PROVENANCE_COLUMNS))


@pytest.mark.parametrize("rows", [1, 1_000_000])
def test_a_snapshot_that_lands_late_makes_its_day_stale(lake, rows, monkeypatch):
    monkeypatch.setattr("crm_platform.history.landed.ROWS_AT_ONCE", rows)
    monkeypatch.setattr("crm_platform.history.derive.CHUNK_ROWS", rows)
    land(lake, *LIFE)
    export(lake, 2, [{"entity_id": "elder", "name": "Elder"}])
    build(lake)
    export(lake, 4, [{"entity_id": "elder", "name": "Elder AG"}])
    limit = declared(inferred_delete_limit={"rows": 9, "share": 0.0})
    assert stale_from(lake, limit, CONTRACTS, "company", watermark=LATE) == dt.date(2026, 3, 4)
    assert stale_from(lake, limit, CONTRACTS, "company", before=dt.date(2026, 3, 4), watermark=LATE) is None
    build(lake, WEEK[3:], limit)
    assert stale_from(lake, limit, CONTRACTS, "company", watermark=LATE) is None
    export(lake, 1, [{"entity_id": "elder", "name": "Elder"}])
    assert stale_from(lake, limit, CONTRACTS, "company", watermark=LATE) == dt.date(2026, 3, 1)
    build(lake, WEEK, limit)
    assert stale_from(lake, limit, CONTRACTS, "company", watermark=LATE) is None


def test_a_window_after_a_first_snapshot_that_was_never_built_is_refused(lake):
    export(lake, 2, [{"entity_id": "elder"}, {"entity_id": "acme"}])
    with pytest.raises(UnbuiltDayError, match="2 versions of 2026-03-02 are not in it"):
        build(lake, WEEK[2:])


def test_a_repeated_delivery_makes_no_day_stale(lake):
    land(lake, *LIFE)
    build(lake)
    land(lake, *(row | {"_ingested_at": at("10 00:00")} for row in LIFE), batch="2")
    assert stale_from(lake, MANIFEST, CONTRACTS, "company") is None
    assert build(lake).commit is None


def test_a_contradiction_that_lands_late_makes_its_day_stale_and_takes_the_version_away(lake):
    land(lake, CREATED, QUARREL[0])
    build(lake)
    land(lake, QUARREL[1], batch="2")
    assert stale_from(lake, MANIFEST, CONTRACTS, "company") == dt.date(2026, 3, 2)
    build(lake)
    assert history(lake)["entity_id"].to_list() == ["acme"]


def test_days_that_are_no_stretch_are_refused_by_name(lake):
    with pytest.raises(WindowError, match="lack 1 in between, the first of them 2026-03-02"):
        build(lake, [WEEK[0], WEEK[2]])
    with pytest.raises(WindowError, match="No day was asked for"):
        build(lake, [])


def test_a_window_after_days_that_were_never_built_is_refused(lake):
    land(lake, *LIFE)
    with pytest.raises(UnbuiltDayError, match="3 versions of 2026-03-01 are not in it") as refused:
        build(lake, WEEK[5:])
    assert refused.value.day == WEEK[0]
    assert not lake.exists("history/company")


def test_what_was_recorded_before_the_first_day_is_built_with_it(lake):
    land(lake, *LIFE)
    report = build(lake, WEEK[3:], first_day=WEEK[3])
    build_merges(lake, MANIFEST, CONTRACTS, WEEK[3:], first_day=WEEK[3])
    assert report.days == tuple(WEEK[3:])
    assert history(lake)["processed_date"].min() == WEEK[0]
    assert lake.rows("history/merges") == 2


def test_days_that_the_watermark_has_not_entered_are_not_built(lake):
    land(lake, *LIFE)
    assert build(lake, watermark=at("03 00:00")).days == tuple(WEEK[:3])


def test_days_from_a_red_one_on_wait_until_it_is_mended(lake):
    land(lake, *LIFE)
    hold(lake, "landing/snapshot/company", WEEK[2], "schema_drift", "name removed")
    report = build(lake)
    assert (report.days, report.blocked) == (tuple(WEEK[:2]), WEEK[2])
    assert (build(lake, WEEK[3:]).days, build(lake, WEEK[3:]).blocked) == ((), WEEK[3])
    release(lake, "landing/snapshot/company", WEEK)
    report = build(lake, WEEK[2:])
    assert (report.days, report.blocked) == (tuple(WEEK[2:]), None)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, 6), max_size=3))
def test_building_by_window_equals_building_at_once(tmp_path_factory, cuts):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    land(lake, *LIFE)
    export(lake, 2, [{"entity_id": "acme", "name": "Acme"}, {"entity_id": "elder", "name": "Elder"}])
    export(lake, 4, [{"entity_id": "acme", "name": "Acme AG"}, {"entity_id": "boreal", "name": "Boreal"}])
    export(lake, 7, [{"entity_id": "acme", "name": "Acme AG"}, {"entity_id": "cedar", "name": "Cedar Old"}])
    for since, until in pairwise([0, *sorted(cuts), 7]):
        build(lake, WEEK[since:until])
    parts = history(lake)
    report = build(lake)
    assert report.commit is None
    assert history(lake).equals(parts)


def test_building_in_stretches_that_fit_into_memory_equals_building_at_once(lake, tmp_path):
    whole = Lake(tmp_path / "whole")
    for one in (lake, whole):
        land(one, *LIFE)
        export(one, 2, [{"entity_id": "acme", "name": "Acme"}, {"entity_id": "elder", "name": "Elder"}])
        export(one, 4, [{"entity_id": "acme", "name": "Acme AG"}, {"entity_id": "boreal", "name": "Boreal"}])
    report, at_once = build(lake, rows_at_once=3), build(whole)
    assert (report.version, at_once.version) == (3, 0)
    assert history(lake).equals(history(whole))
    assert report.commit is not None
    assert at_once.commit is not None
    assert (report.commit.rows, report.commit.days) == (at_once.commit.rows, at_once.commit.days)
    assert (report.days, report.rows, report.rejected) == (at_once.days, at_once.rows, at_once.rejected)
    assert report.lateness.equals(at_once.lateness)
    assert build(lake).commit is None


def test_the_first_snapshot_tells_and_a_later_one_repairs_and_infers(lake):
    land(lake, CREATED, BOREAL)
    export(lake, 2, [{"entity_id": "elder", "name": "Elder"}, {"entity_id": "acme", "name": "Acme", "owner_id": "mia"}])
    export(lake, 4, [{"entity_id": "acme", "name": "Acme GmbH"}, {"entity_id": "elder", "name": "Elder"}])
    report = build(lake)
    assert history(lake).select("entity_id", "operation", "event_time", "processed_time").rows() == [
        ("acme", "create", at("01 09:00"), at("01 09:00")),
        ("boreal", "create", at("01 12:00"), at("01 12:00")),
        ("acme", "snapshot", at("01 00:00"), at("02 01:00")),
        ("elder", "snapshot", at("01 00:00"), at("02 01:00")),
        ("acme", "repair", at("04 00:30"), at("04 01:00")),
        ("boreal", "inferred_delete", at("04 00:30"), at("04 01:00")),
    ]
    assert [found.counts.get("repair") for found in report.reconciled] == [None, 1]
    assert build(lake).commit is None


def test_snapshot_and_deltas_are_the_next_snapshot(lake):
    land(lake, *LIFE)
    told = [{"entity_id": "acme", "name": "Other"}, {"entity_id": "fir", "name": "Fir"}]
    export(lake, 2, told[:1])
    export(lake, 7, told)
    build(lake, manifest=declared(inferred_delete_limit={"rows": 9, "share": 0.0}))
    found = state_as_of(lake.scan("history/company"), at("07 01:00"))
    assert found.sort("entity_id").select("entity_id", "name").rows() == [("acme", "Other"), ("fir", "Fir")]


def test_what_changed_around_a_snapshot_is_left_out(lake):
    land(lake, CREATED, change("acme", "002", "04 00:45", changed_fields=["name"], name="Acme AG"))
    export(lake, 2, [{"entity_id": "acme", "name": "Acme", "owner_id": "mia"}])
    export(lake, 4, [{"entity_id": "acme", "name": "torn"}])
    report = build(lake)
    assert report.reconciled[-1].counts["left_out"] == 1
    assert "repair" not in history(lake)["operation"].to_list()


def test_a_snapshot_waits_for_the_watermark(lake):
    land(lake, CREATED)
    export(lake, 2, [{"entity_id": "acme", "name": "Acme"}])
    export(lake, 4, [{"entity_id": "acme", "name": "Acme AG"}])
    build(lake, watermark=at("04 00:59"))
    assert "repair" not in history(lake)["operation"].to_list()
    build(lake, watermark=at("04 01:00"))
    assert "repair" in history(lake)["operation"].to_list()


def test_a_snapshot_that_lacks_too_much_stops_the_build_before_its_day(lake):
    land(lake, CREATED, BOREAL, CEDAR, change("acme", "099", "05 08:00", changed_fields=["name"], name="Late"))
    export(lake, 2, [{"entity_id": "acme", "name": "Acme", "owner_id": "mia"}])
    export(lake, 5, [{"entity_id": "acme", "name": "Acme", "owner_id": "mia", "modified_at": at("01 09:00")}])
    report = build(lake)
    assert report.blocked == dt.date(2026, 3, 5)
    assert report.days == tuple(WEEK[:4])
    assert report.reconciled[-1].is_over_limit
    assert report.reconciled[-1].examples == {"withheld": ["boreal", "cedar"]}
    assert history(lake)["processed_date"].max() == dt.date(2026, 3, 2)


def test_a_key_with_a_row_in_quarantine_is_not_taken_for_deleted(lake):
    quarrel = [change("delta", "012", "05 00:10", name=name) for name in ("Delta", "Delta GmbH")]
    land(lake, CREATED, BOREAL, *quarrel)
    export(lake, 2, [{"entity_id": name} for name in ("acme", "boreal", "delta")])
    export(
        lake, 5, [{"entity_id": "acme", "name": "Acme", "owner_id": "mia"}, {"entity_id": "boreal", "name": "Boreal"}]
    )
    report = build(lake)
    assert report.reconciled[-1].counts["quarantined"] == 1
    assert "inferred_delete" not in history(lake)["operation"].to_list()


def test_rows_of_two_exports_on_one_day_are_refused(lake):
    export(lake, 2, [{"entity_id": "acme"}])
    table = "landing/snapshot/company"
    again = lake.scan(table).with_columns(pl.lit("other").alias("_batch_id")).collect()
    lake.append(table, again, token="other")
    with pytest.raises(SnapshotError, match="rows of 2 exports on 2026-03-02"):
        build(lake)


def test_old_ids_that_a_third_one_lists_end_in_it_and_stay_merged_once(lake):
    union = change("union", "020", "04 10:00", name="Union", merged_ids=["acme", "boreal"])
    again = change("union", "021", "05 10:00", changed_fields=["merged_ids"], merged_ids=["acme", "boreal", "cedar"])
    land(lake, CREATED, RENAMED, BOREAL, AHEAD, CEDAR, union, again)
    build(lake, WEEK[:4], LISTED)
    build(lake, WEEK[4:], LISTED)
    build_merges(lake, LISTED, CONTRACTS, WEEK)
    assert lake.scan("history/merges").sort("event_time", "loser_id").select(
        "loser_id", "winner_id", "event_time"
    ).collect().rows() == [
        ("acme", "union", at("04 10:00")),
        ("boreal", "union", at("04 10:00")),
        ("cedar", "union", at("05 10:00")),
    ]
    parts = history(lake)
    assert build(lake, WEEK, LISTED).commit is None
    assert history(lake).equals(parts)
    living = state_as_of(lake.scan("history/company"), LATE, lake.scan("history/merges"))
    assert living["entity_id"].to_list() == ["union"]


def test_a_snapshot_that_lists_old_ids_merges_them_too(lake):
    export(lake, 2, [{"entity_id": "union", "merged_ids": ["acme"]}])
    export(lake, 4, [{"entity_id": "union", "merged_ids": ["acme", "boreal"]}])
    build(lake, manifest=LISTED)
    merged = history(lake).filter(pl.col("operation") == "merge")
    assert merged.select("entity_id", "merged_into", "processed_time").rows() == [
        ("acme", "union", at("02 01:00")),
        ("boreal", "union", at("04 01:00")),
    ]
    assert build(lake, WEEK[2:], LISTED).commit is None


def test_a_snapshots_list_and_a_streams_list_do_not_depend_on_the_windows(lake):
    export(lake, 2, [{"entity_id": "union", "merged_ids": ["acme"]}])
    land(lake, change("union", "020", "04 10:00", changed_fields=["merged_ids"], merged_ids=["acme"]))
    build(lake, WEEK[:3], LISTED)
    build(lake, WEEK[3:], LISTED)
    merged = history(lake).filter(pl.col("operation") == "merge")
    assert merged.select("event_time", "processed_time").rows() == [
        (at("01 00:00"), at("02 01:00")),
        (at("04 10:00"), at("04 10:00")),
    ]
    assert build(lake, WEEK, LISTED).commit is None


@settings(max_examples=12, deadline=None)
@given(minutes=st.integers(0, 7 * 24 * 60), rest=st.randoms())
def test_the_past_does_not_change_when_the_future_lands(tmp_path_factory, minutes, rest):
    moment = at("01 00:00") + dt.timedelta(minutes=minutes)
    known = [row for row in LIFE if max(row["event_time"], row["processed_time"]) <= moment]
    half, whole = (Lake(tmp_path_factory.mktemp("lake")) for _ in range(2))
    everything = [*LIFE]
    rest.shuffle(everything)
    land(half, *known)
    land(whole, *everything)
    states = []
    for one in (half, whole):
        build(one)
        build_merges(one, MANIFEST, CONTRACTS, WEEK)
        versions = one.scan("history/company", schema=COMPANY.history_schema)
        states.append(state_as_of(versions, moment, one.scan("history/merges", schema=MERGES)).sort("entity_id"))
    assert states[0].equals(states[1])


def test_lateness_is_told_per_day(lake):
    land(lake, *LIFE)
    found = build(lake).lateness.filter(pl.col("late") > 0)
    assert found.select("processed_date", "changes", "late", "late_max").rows() == [
        (dt.date(2026, 3, 3), 3, 2, dt.timedelta(hours=41))
    ]


def test_what_arrives_again_on_a_later_day_is_no_version_again_where_arrival_is_the_only_proof(lake):
    first = change("acme", "001", "01 09:00", "01 10:00", merged_ids=["x"])
    again = change("acme", "001", "01 09:00", "03 10:00", merged_ids=["x"])
    land(lake, first, again)
    by_arrival = declared(knowledge="ingest")
    build(lake, WEEK[:2], by_arrival)
    build(lake, WEEK[2:], by_arrival)
    assert history(lake)["processed_time"].to_list() == [at("01 10:00")]
    assert build(lake, WEEK, by_arrival).commit is None
    assert stale_from(lake, by_arrival, CONTRACTS, "company") is None


def test_an_amount_stays_exact(lake):
    land(lake, change("acme", "001", "01 09:00", revenue=Decimal("1234567890123456.78")))
    build(lake)
    assert history(lake)["revenue"].to_list() == [Decimal("1234567890123456.78")]
