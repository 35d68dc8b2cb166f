"""A contract splits a frame by its rules and says which rule each row broke."""

import datetime as dt
from decimal import Decimal

import pandera.polars as pa
import polars as pl
import pytest

from crm_platform.contracts import UTC_US, Contract, Money, ObjectModel, contracts_in, field

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class Deal(ObjectModel):
    id: str = field("The deal's id.", key=True, pii="identifier")
    stage: str = field("Where it stands.", categories=("open", "won"))
    amount: Money = field("What it is worth.", nullable=True, ge=Decimal(0))


DEAL = Contract("here", "deal", Deal)


def changes(*rows: dict) -> pl.DataFrame:
    common = {
        "event_time": NOON,
        "processed_time": NOON,
        "operation": "update",
        "is_tombstone": False,
        "processed_date": NOON.date(),
        "_payload": "{}",
        "_channel": "feed",
        "_batch_id": "b",
        "_ingested_at": NOON,
    }
    return pl.DataFrame(
        [common | {"source_position": f"{n:03}"} | row for n, row in enumerate(rows)], schema=DEAL.change_schema
    )


def test_a_full_image_must_fill_what_may_not_be_null():
    frame = changes({"entity_id": "1", "id": "1", "stage": None}, {"entity_id": "2", "id": "2", "stage": "won"})
    checked = DEAL.check(frame, "change")
    assert checked.failures.rows() == [(0, "stage", "not_nullable")]
    assert checked.good["entity_id"].to_list() == ["2"]


def test_a_partial_update_answers_only_for_the_fields_it_names():
    frame = changes(
        {"entity_id": "1", "changed_fields": ["amount"], "amount": Decimal("3.10")},
        {"entity_id": "2", "changed_fields": ["stage"], "stage": None},
        {"entity_id": "3", "changed_fields": [], "stage": None},
    )
    checked = DEAL.check(frame, "change")
    assert checked.failures.rows() == [(1, "stage", "not_nullable")]


def test_a_tombstone_writes_no_field_and_so_breaks_none():
    frame = changes({"entity_id": "1", "operation": "delete", "is_tombstone": True})
    assert DEAL.check(frame, "change").failures.is_empty()


def test_every_broken_rule_of_a_row_is_named_with_its_column():
    frame = changes({"entity_id": "1", "id": "1", "stage": "lost", "amount": Decimal("-1.00")})
    failures = DEAL.check(frame, "change").failures
    assert failures["column"].to_list() == ["amount", "stage"]
    assert failures["rule"].to_list() == ["greater_than_or_equal_to(0)", "isin(['open', 'won'])"]


def test_an_operation_nobody_knows_is_a_broken_rule_of_its_row():
    frame = changes({"entity_id": "1", "id": "1", "stage": "won", "operation": "explode"})
    assert DEAL.check(frame, "change").failures["column"].to_list() == ["operation"]


def test_a_missing_or_retyped_column_is_no_matter_of_single_rows():
    frame = changes({"entity_id": "1", "id": "1", "stage": "won"})
    with pytest.raises(pa.errors.SchemaErrors):
        DEAL.check(frame.drop("amount"), "change")
    with pytest.raises(pa.errors.SchemaErrors):
        DEAL.check(frame.with_columns(pl.col("amount").cast(pl.Float64)), "change")


def test_hops_share_the_own_columns_and_differ_in_what_stands_around_them():
    assert list(DEAL.history_schema)[-5:] == ["_changed_by", "_change_origin", "_channel", "_batch_id", "_ingested_at"]
    assert DEAL.snapshot_schema["finished_at"] == UTC_US
    assert list(DEAL.current_schema) == ["id", "stage", "amount"]
    assert DEAL.pii == {"id": "identifier", "stage": "none", "amount": "none"}
    assert DEAL.categories == {"stage": ["open", "won"]}


@pytest.mark.parametrize("source", ["sandbox", "bottlecrm"])
def test_the_contracts_of_every_shipped_source_load(source):
    found = contracts_in(f"crm_platform.contracts.{source}")
    assert all(contract.meaning[column] for contract in found.values() for column in contract.columns)
    assert {"account", "contact", "lead", "opportunity"} <= set(found)


def test_an_object_may_call_its_columns_as_the_check_calls_its_own():
    class Odd(ObjectModel):
        """Names that a check uses for itself while it works."""

        index: str = field("Key.", key=True)
        row: int = field("Where the thing stands on the shelf.", ge=1)
        column: str = field("On which side.")
        rule: str = field("By which rule.", nullable=True)
        check: bool = field("Whether it was looked at.")

    odd = Contract("here", "odd", Odd)
    frame = pl.DataFrame(
        {
            "index": ["a", "b", "c"],
            "row": [1, 0, 3],
            "column": ["l", "r", "l"],
            "rule": [None, "x", "y"],
            "check": [True] * 3,
        }
    )
    checked = odd.check(frame, "current")
    assert checked.good.rows() == [("a", 1, "l", None, True), ("c", 3, "l", "y", True)]
    assert checked.failures.rows() == [(1, "row", "greater_than_or_equal_to(1)")]
