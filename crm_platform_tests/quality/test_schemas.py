"""What exports looked like is kept: a line only where the schema changes, and the days that had each."""

import datetime as dt
from dataclasses import replace

import polars as pl
import pytest

from crm_platform.contracts import Contract, Policies, field
from crm_platform.lake import Lake
from crm_platform.landing import DriftError, land_snapshot
from crm_platform.quality.differences import drift_of
from crm_platform.quality.drift import landed_drift
from crm_platform.quality.schemas import (
    TABLE,
    fingerprint_of,
    held_against,
    history_of,
    recorder,
    schema_seen,
    schemas_by_day,
)
from crm_platform_tests.landing.test_snapshots import REAL, Exporting, manifest_with_deals
from crm_platform_tests.quality.test_drift import DEAL, Deal, export

MANIFEST = manifest_with_deals()


TEXTS = {
    "amount": pl.lit("1.00"),
    "modified_at": pl.lit("2026-03-01T12:00:00Z"),
    "probability": pl.lit("10"),
    "tags": pl.lit('["x"]'),
}
"""The other columns as a file of nothing but text has them."""


def day(number: int) -> dt.date:
    return dt.date(2026, 3, number)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def take(lake, number, frame, contract=DEAL):
    """Lands the export of a day; the moments are those of the day's end."""
    end = dt.datetime(2026, 3, number, 23, tzinfo=dt.UTC)
    told = {"drift": drift_of(contract), "record": recorder(lake, contract), "clock": lambda: end}
    source = Exporting([frame], started_at=end, finished_at=end)
    return land_snapshot(
        lake,
        source,
        MANIFEST,
        contract,
        day(number),
        ingested_at=lambda: REAL + (end - dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        **told,
    )


def shape(*frames: pl.DataFrame) -> str:
    return fingerprint_of(schema_seen(DEAL, frames, {}))


def test_neither_order_nor_file_format_nor_optional_nulls_make_another_schema():
    usual = shape(export())
    assert shape(export().select(reversed(export().columns))) == usual
    assert shape(export(probability=[None, None])) == usual
    assert shape(export().select(pl.col("id", "stage", "owner_id").cast(pl.String), **TEXTS)) == usual
    assert shape(export(), export()) == usual
    assert shape(export().clear()) == usual


@pytest.mark.parametrize(
    "other",
    [
        export(region=["AT", "DE"]),
        export().drop("tags"),
        export().rename({"tags": "labels"}),
        export(amount=["much", "little"]),
        export(amount=["1.00", "2.00"]),
        export(owner_id=["mia", None]),
    ],
)
def test_every_kind_of_change_of_a_schema_makes_another(other):
    assert shape(other) != shape(export())


def test_equal_exports_write_one_schema_once(lake):
    take(lake, 1, export())
    take(lake, 2, export().select(reversed(export().columns)))
    take(lake, 3, export(id=["8", "9"]))
    take(lake, 3, export())
    assert lake.version(TABLE) == 0
    assert lake.rows(TABLE) == 7
    assert list(schemas_by_day(lake, "deal")) == [day(1), day(2), day(3)]


def verdicts(lake, contract, *days):
    result = landed_drift(lake, MANIFEST, contract, list(days))
    return [(finding.passed, finding.what) for finding in result.findings]


def test_a_column_that_becomes_text_is_told_from_its_first_day_on_though_every_value_still_reads_as_its_type(lake):
    take(lake, 1, export())
    take(lake, 2, export(probability=[None, None]))
    take(lake, 3, export(probability=["10", "20"]))
    take(lake, 4, export(probability=["10", "30"]))
    take(lake, 5, export())
    said = "probability as text: expected Int64, found text that reads as it."
    kept = (True, "The export keeps the contract.")
    assert verdicts(lake, DEAL, *map(day, range(1, 6))) == [kept, kept, (False, said), (False, said), kept]
    assert history_of(schemas_by_day(lake, "deal")).get_column("change").to_list() == [
        "probability: Int64, as text, may be null → Int64, may be null",
        "probability: Int64, may be null → Int64, as text, may be null",
        "first seen",
    ]
    silent = replace(DEAL, policies=Policies(as_text="evolve"))
    assert verdicts(lake, silent, day(3)) == [(True, said)]


def test_a_column_that_has_always_come_as_text_is_nothing_new(lake):
    take(lake, 1, export(amount=["1.00", "2.00"]))
    take(lake, 2, export(amount=["1.00", "3.00"]))
    assert [passed for passed, _ in verdicts(lake, DEAL, day(1), day(2))] == [True, True]


class Regional(Deal):
    region: str = field("Where it is sold.", nullable=True)


def test_a_column_that_came_is_well_on_all_days_once_the_contract_declares_it(lake):
    take(lake, 1, export())
    take(lake, 2, export(region=["AT", "DE"]))
    assert [passed for passed, _ in verdicts(lake, DEAL, day(1), day(2))] == [True, False]
    declared = Contract("here", "deal", Regional)
    assert [passed for passed, _ in verdicts(lake, declared, day(1), day(2))] == [True, True]


def test_a_history_of_three_schemas_shows_which_days_had_which_and_what_changed(lake):
    take(lake, 1, export())
    take(lake, 2, export())
    take(lake, 3, export(region=["AT", "DE"]))
    with pytest.raises(DriftError):
        take(lake, 4, export(region=["AT", "DE"]).drop("amount"))
    take(lake, 5, export())
    told = history_of(schemas_by_day(lake, "deal"))
    assert told.select("from", "to", "exports", "columns", "change").rows() == [
        (day(5), day(5), 1, 7, "+amount; −region"),
        (day(4), day(4), 1, 7, "−amount"),
        (day(3), day(3), 1, 8, "+region"),
        (day(1), day(2), 2, 7, "first seen"),
    ]
    assert told.get_column("fingerprint").n_unique() == 3
    found = landed_drift(lake, MANIFEST, DEAL, [day(4)])
    assert found.facts["schemas"].equals(told)


def test_an_older_day_that_lands_late_does_not_change_what_is_said_of_the_days_after_it(lake):
    take(lake, 1, export())
    take(lake, 5, export())
    take(lake, 3, export(region=["AT", "DE"]))
    assert history_of(schemas_by_day(lake, "deal")).select("from", "to", "change").rows() == [
        (day(5), day(5), "−region"),
        (day(3), day(3), "+region"),
        (day(1), day(1), "first seen"),
    ]


def test_an_older_day_before_all_others_leaves_the_others_as_they_were(lake):
    take(lake, 5, export())
    take(lake, 2, export(region=["AT", "DE"]))
    assert history_of(schemas_by_day(lake, "deal")).get_column("change").to_list() == ["−region", "first seen"]


def test_each_day_shows_its_columns_beside_those_expected_and_what_is_new_since_the_last_good_one(lake):
    take(lake, 1, export(region=["AT", "DE"]))
    with pytest.raises(DriftError):
        take(lake, 2, export(owner_id=["mia", None]).drop("amount"))
    (finding,) = landed_drift(lake, MANIFEST, DEAL, [day(2)]).findings
    shown = finding.facts["columns"]
    assert shown.columns == ["column", "expected", "actual", "verdict"]
    assert shown.filter(pl.col("verdict") != "same").rows() == [
        ("amount", "Decimal(precision=18, scale=2), may be null", None, "removed"),
        ("owner_id", "String", "String, may be null", "differs"),
    ]
    assert shown.height == 7
    assert finding.facts["since_2026-03-01"].select("column", "verdict").rows() == [
        ("amount", "removed"),
        ("owner_id", "differs"),
        ("region", "removed"),
    ]


def test_a_schema_held_against_itself_is_the_same_throughout():
    seen = schema_seen(DEAL, [export()], {})
    assert held_against(seen, seen).get_column("verdict").unique().to_list() == ["same"]
