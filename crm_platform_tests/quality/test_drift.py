"""An export is held against its contract before it lands, and what differs is named by column."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from crm_platform.contracts import Contract, Moment, Money, ObjectModel, Text, TextList, field
from crm_platform.quality.differences import drift_between, drift_of
from crm_platform.quality.drift import drift_check

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class Deal(ObjectModel):
    id: Text = field("The id.", key=True)
    stage: Text = field("Where it stands.", categories=("open", "won", "lost"))
    amount: Money = field("What it is worth.", nullable=True)
    owner_id: Text = field("Who sells it.")
    modified_at: Moment = field("When it was edited.")
    probability: int = field("Chance.", nullable=True)
    tags: TextList = field("Tags.", nullable=True)


DEAL = Contract("here", "deal", Deal)


def export(**told) -> pl.DataFrame:
    rows = {
        "id": ["1", "2"],
        "stage": ["open", "won"],
        "amount": [Decimal("1.00"), None],
        "owner_id": ["mia", "leo"],
        "modified_at": [NOON, NOON],
        "probability": [10, 20],
        "tags": [["x"], None],
    }
    frame = pl.DataFrame(rows, schema_overrides={"amount": pl.Decimal(18, 2), "tags": pl.List(pl.String)})
    return frame.with_columns(
        **{name: pl.Series(value) if isinstance(value, list) else value for name, value in told.items()}
    )


def told(frame: pl.DataFrame) -> list[tuple[str, str, bool]]:
    return [(drift.column, drift.kind, drift.is_compatible) for drift in drift_between(DEAL, frame)]


def test_an_export_as_declared_does_not_drift_whatever_the_order_of_its_columns():
    assert told(export()) == []
    assert told(export().select(reversed(export().columns))) == []


def test_an_added_column_is_compatible_and_a_removed_one_is_not():
    assert told(export(region=["AT", "DE"])) == [("region", "added", True)]
    assert told(export().drop("probability")) == [("probability", "removed", False)]


def test_a_rename_is_suspected_from_the_name():
    found = drift_between(DEAL, export().rename({"owner_id": "ownerid"}))
    assert [str(drift) for drift in found] == [
        "owner_id renamed: expected owner_id, found ownerid, which looks like it"
    ]


def test_a_rename_is_suspected_from_the_values():
    assert told(export().rename({"stage": "phase"})) == [("stage", "renamed", False)]


def test_a_column_of_another_type_is_no_rename():
    assert told(export().rename({"amount": "amounts"}).with_columns(amounts=pl.lit(value=True))) == [
        ("amount", "removed", False),
        ("amounts", "added", True),
    ]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("amount", pl.Series([1.5, 2.0]), "Float64"),
        ("amount", pl.Series(["EUR 5", "n/a"]), "text that is no plain decimal number"),
        ("modified_at", pl.Series([NOON.replace(tzinfo=None)] * 2), "without a time zone"),
        ("modified_at", pl.Series(["2026-03-01T12:00:00", "2026-03-01 12:00"]), "no moment with a time zone"),
        ("probability", pl.Series(["high", "low"]), "text that is no Int64"),
        ("probability", pl.Series([1.5, 2.5]), "Float64"),
        ("owner_id", pl.Series([1, 2]), "Int64"),
        ("tags", pl.Series([[1], [2]]), "List(Int64)"),
    ],
)
def test_a_retyped_column_stops_and_says_what_it_is(column, values, said):
    found = drift_between(DEAL, export().with_columns(values.alias(column)))
    assert [(drift.column, drift.kind, drift.is_compatible) for drift in found] == [(column, "retyped", False)]
    assert said in found[0].found


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("amount", pl.Series(["1.00", "2.5"])),
        ("amount", pl.Series([1, 2])),
        ("amount", pl.Series([Decimal("1.0")] * 2, dtype=pl.Decimal(10, 1))),
        ("modified_at", pl.Series(["2026-03-01T12:00:00Z", "2026-03-01T12:00:00+05:30"])),
        ("modified_at", pl.Series([NOON] * 2).cast(pl.Datetime("ms", "UTC"))),
        ("probability", pl.Series([1, 2], dtype=pl.Int16)),
        ("probability", pl.Series([None, None])),
        ("tags", pl.Series(['["x"]', None])),
    ],
)
def test_another_way_of_writing_the_same_type_is_no_drift(column, values):
    assert told(export().with_columns(values.alias(column))) == []


def test_one_row_that_does_not_read_is_a_matter_of_the_row():
    assert told(export(amount=["1.00", "n/a"])) == []


def test_nulls_where_none_may_be_are_told_and_a_column_of_nothing_else_stops():
    assert told(export(owner_id=["mia", None])) == [("owner_id", "nullability", True)]
    assert told(export(owner_id=pl.lit(None, pl.String))) == [("owner_id", "emptied", False)]


def test_new_categories_are_compatible_and_named():
    (found,) = drift_between(DEAL, export(stage=["parked", "open"]))
    assert str(found) == "stage new category: expected one of 3 declared values, found parked (1 rows)"
    assert found.is_compatible


def test_an_empty_export_has_no_values_to_drift():
    assert told(export().clear()) == []


def test_what_stops_stands_first():
    frame = export(region=["AT", "DE"], stage=["parked", "open"]).drop("probability")
    assert [drift.is_compatible for drift in drift_of(DEAL)(frame)] == [False, True, True]


def test_the_check_stops_a_day_with_an_incompatible_export_and_names_the_column():
    monday, tuesday = dt.date(2026, 3, 2), dt.date(2026, 3, 3)
    found = drift_check(DEAL, {monday: [], tuesday: drift_between(DEAL, export().drop("amount"))})
    assert (found.severity, found.failed_days) == ("error", [tuesday])
    assert "amount removed: expected Decimal(precision=18, scale=2), found no such column." in found.summary()


def test_the_check_warns_of_a_compatible_difference():
    found = drift_check(DEAL, {dt.date(2026, 3, 2): drift_between(DEAL, export(region=["AT", "DE"]))})
    assert (found.severity, found.passed) == ("warn", False)
