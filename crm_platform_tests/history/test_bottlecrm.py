"""A real CRM's log, end to end: what DuckDB alone reads in the lake is what the CRM's own tables held at the end."""

# ruff: noqa: S608  the SQL names files and columns of our own

import gzip
import json
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from crm_platform.contracts import contracts_in
from crm_platform.history.build import build_current, build_history, build_merges
from crm_platform.lake import Lake
from crm_platform.landing import land_changes, watermark
from crm_platform.sources import load_manifest, recorded_log

SAMPLES = Path(__file__).parents[2] / "data" / "samples" / "bottlecrm"
FINAL = {
    "account": "accounts",
    "contact": "contacts",
    "lead": "lead",
    "opportunity": "opportunity",
    "task": "task",
}
MERGED = {"accounts.merge": "account", "contacts.merge": "contact", "leads.merge": "lead"}
MANIFEST = load_manifest("bottlecrm")
CONTRACTS = contracts_in(MANIFEST.contracts)


def ingest(lake: Lake) -> None:
    land_changes(lake, recorded_log(SAMPLES / "events.jsonl.gz", MANIFEST), MANIFEST, CONTRACTS)
    reached = watermark(lake)
    assert reached is not None
    first = date(2026, 1, 5)
    days = [first + timedelta(days=n) for n in range((reached.date() - first).days + 1)]
    for name in MANIFEST.objects:
        build_history(lake, MANIFEST, CONTRACTS, name, days)
    build_merges(lake, MANIFEST, CONTRACTS, days)
    for name in MANIFEST.objects:
        build_current(lake, MANIFEST, CONTRACTS, name)


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    built = Lake(tmp_path_factory.mktemp("bottlecrm"))
    ingest(built)
    return built


@pytest.fixture(scope="module")
def sql():
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        yield session


def files(lake: Lake, table: str) -> str:
    return "[" + ", ".join(f"'{file.removeprefix('file://')}'" for file in lake.files(table)) + "]"


@pytest.mark.parametrize("name", FINAL)
def test_the_living_are_the_rows_of_the_crms_own_table_in_every_column(lake, sql, name):
    csv = SAMPLES / "final" / f"{FINAL[name]}.csv"
    own = sql.sql(f"DESCRIBE SELECT * FROM read_csv('{csv}', all_varchar = true)").fetchall()
    mine = dict(
        row[:2] for row in sql.sql(f"DESCRIBE SELECT * FROM read_parquet({files(lake, f'current/{name}')})").fetchall()
    )
    columns = [row[0] for row in own]
    assert sorted(mine) == sorted(columns)
    # psql writes an empty text as "" and a null as nothing
    typed = ", ".join(f'CAST("{column}" AS {mine[column]}) AS "{column}"' for column in columns)
    told = f"SELECT {typed} FROM read_csv('{csv}', all_varchar = true, nullstr = '', allow_quoted_nulls = false)"
    listed = ", ".join(f'"{column}"' for column in columns)
    held = f"SELECT {listed} FROM read_parquet({files(lake, f'current/{name}')})"
    assert sql.sql(f"({told}) EXCEPT ALL ({held})").fetchall() == []
    assert sql.sql(f"({held}) EXCEPT ALL ({told})").fetchall() == []
    assert sql.sql(f"SELECT count(*) > 0 FROM ({held})").fetchall() == [(True,)]


def test_all_merges_that_were_asked_for_stand_as_facts(lake, sql):
    with gzip.open(SAMPLES / "ops.jsonl.gz", "rt") as lines:
        asked = [json.loads(line) for line in lines]
    merged = {
        (MERGED[op["op"]], op["body"]["merge_id"], op["path"].strip("/").split("/")[-2])
        for op in asked
        if op["op"].endswith(".merge") and op["status"] == 200
    }
    held = sql.sql(f"SELECT object, loser_id, winner_id FROM read_parquet({files(lake, 'history/merges')})").fetchall()
    assert len(held) == 39
    assert set(held) == merged


def test_ingesting_again_writes_no_new_version_of_any_table(lake):
    before = {table: lake.version(table) for table in lake.tables()}
    ingest(lake)
    assert {table: lake.version(table) for table in lake.tables()} == before
    assert len([table for table in before if not table.startswith("state/")]) == 17


def test_nothing_of_the_real_log_is_quarantined(lake):
    assert [table for table in lake.tables() if table.startswith("quarantine/")] == []
