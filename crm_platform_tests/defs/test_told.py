"""What a whole run leaves behind for people and other engines: metadata on every day, tables that open without our code."""

import dagster as dg
import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.checklist import WHOLE_PAST
from crm_platform.lake import Lake
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in

DAYS = 9
LATE = ("late_p50_seconds", "late_p99_seconds", "late_max_seconds", "lag_p50_seconds", "lag_p99_seconds", "lag_seconds")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Settings of a lake after one run of everything, and the metadata of every asset's materializations."""
    folder = tmp_path_factory.mktemp("told")
    with sandbox_at(folder / "sandbox", days=DAYS, accounts=60) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
        graph = build_defs(settings).resolve_asset_graph()
        with dg.DagsterInstance.get() as instance:
            told = {key.to_user_string(): materializations(instance, key) for key in graph.get_all_asset_keys()}
    return settings, told


def materializations(instance, key):
    """By partition, the metadata of the newest materialization."""
    records = instance.fetch_materializations(key, limit=100, ascending=True).records
    return {
        record.partition_key: {name: value.value for name, value in record.asset_materialization.metadata.items()}
        for record in records
    }


def test_every_day_of_every_table_tells_its_rows_its_version_and_how_late_they_came(ran):
    _, told = ran
    by_day = {key: days for key, days in told.items() if key.startswith(("landing", "history", "features"))}
    for key, days in by_day.items():
        assert sorted(days) == [f"2026-03-0{day}" for day in range(1, DAYS + 1)], key
        assert sum(metadata["dagster/partition_row_count"] for metadata in days.values()) > 0, key
        assert any(set(LATE) & set(metadata) for metadata in days.values()), key
        for day, metadata in days.items():
            if metadata["dagster/partition_row_count"]:
                assert metadata["delta_version"] >= 0, (key, day)


def test_the_newest_day_of_every_table_has_a_picture_of_the_days_before(ran):
    _, told = ran
    by_day = {key: days for key, days in told.items() if key.startswith(("landing", "history", "features"))}
    assert len(by_day) == 23
    for key, days in by_day.items():
        with_pictures = [day for day, metadata in days.items() if "over_time" in metadata]
        assert with_pictures == [f"2026-03-0{DAYS}"], key
        assert days[f"2026-03-0{DAYS}"]["over_time"].startswith(f"![{key}, day by day](data:image/svg+xml;base64,"), key


def test_tables_that_are_written_as_a_whole_tell_their_rows_and_the_moment_they_show(ran):
    _, told = ran
    for key, found in told.items():
        if key.startswith(("current", "training")):
            (metadata,) = found.values()
            assert metadata["dagster/row_count"] >= 0, key
            assert "watermark" in metadata, key
    assert told["current/lead"][None]["dagster/row_count"] > 0
    counts = ("tables_rewritten", "files_before", "files_after", "removed", "unreadable_manifests")
    assert told["maintenance"][None] == dict.fromkeys(counts, 0)


def test_history_tells_how_late_its_changes_were_recorded(ran):
    settings, told = ran
    rows = Lake(settings.lake_root).scan("history/lead").filter(pl.col("_channel") == "feed").collect()
    day = rows.filter(pl.col("processed_date") == FIRST)
    late = (day["processed_time"] - day["event_time"]).max().total_seconds()
    assert told["history/lead"]["2026-03-01"]["late_max_seconds"] == pytest.approx(late)
    assert told["history/lead"]["2026-03-01"]["late"] == day.height


def test_every_check_by_day_says_something_of_every_day(ran):
    settings, _ = ran
    graph = build_defs(settings).resolve_asset_graph()
    days = {f"2026-03-0{day}" for day in range(1, DAYS + 1)}
    by_day = 0
    with dg.DagsterInstance.get() as instance:
        for key in graph.asset_check_keys:
            if graph.get(key).partitions_def is not None and key.name != WHOLE_PAST:
                by_day += 1
                found = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
                told = {record.partition: record.status.value for record in found}
                assert {day for day, status in told.items() if status == "SUCCEEDED"} >= days, (key, told)
    assert by_day == 53


def test_a_day_that_was_looked_at_after_it_was_written_counts_as_looked_at(ran):
    """What the UI's grid of a check's days is made of: an evaluation that names no materialization is shown as missing."""
    settings, _ = ran
    graph = build_defs(settings).resolve_asset_graph()
    by_day = [key for key in graph.asset_check_keys if graph.get(key).partitions_def is not None]
    with dg.DagsterInstance.get() as instance:
        told = instance.event_log_storage.get_asset_check_partition_info(by_day)
    well = [info for info in told if info.latest_execution_status.value == "SUCCEEDED" and info.partition_key]
    assert len({info.check_key for info in well}) >= 35
    assert [(info.check_key, info.partition_key) for info in well if not info.is_current] == []


def checksum(relation):
    """A sum over a hash of every row as text, whatever the order of rows and columns."""
    columns = sorted(zip(relation.columns, map(str, relation.types), strict=True))
    row = ", ".join(f"coalesce(\"{name}\"::VARCHAR, '∅')" for name, _ in columns)
    rows, total = relation.aggregate(f"count(*), sum(hash(concat_ws('|', {row})))").fetchall()[0]
    return rows, total, columns


def test_duckdb_and_deltalake_alone_read_every_table_to_the_same_rows_as_ours(ran):
    settings, _ = ran
    lake = Lake(settings.lake_root)
    tables = lake.tables()
    assert len(tables) == 31, tables
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    for table in tables:
        plain = DeltaTable(f"{settings.lake_root}/{table}")
        partition = plain.metadata().partition_columns
        files = session.read_parquet(plain.file_uris(), hive_partitioning=bool(partition), union_by_name=True)
        by_deltalake = session.from_arrow(pl.DataFrame(plain.to_pyarrow_table()).to_arrow())
        ours = session.from_arrow(lake.scan(table).collect().to_arrow())
        assert checksum(ours) == checksum(by_deltalake), table
        assert checksum(files)[:2] == checksum(by_deltalake)[:2], table
        assert checksum(files)[0] == lake.rows(table) > 0, table
    session.close()
