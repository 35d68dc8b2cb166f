"""Typing, quarantine and provenance of raw changes, on frames alone."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_platform.contracts import RAW_CHANGE, Contract, Moment, Money, ObjectModel, Text, TextList, field
from crm_platform.landing.quarantine import QUARANTINED, Arrival
from crm_platform.landing.rows import landed_rows

T1 = datetime(2026, 3, 1, 9, tzinfo=UTC)
NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
REAL = datetime(2026, 7, 1, 8, tzinfo=UTC)


class Deal(ObjectModel):
    """One column of every type."""

    id: Text = field("Key.", key=True)
    name: Text = field("Name.")
    amount: Money = field("Amount.", nullable=True, ge=Decimal(0))
    seats: int = field("Seats.", nullable=True)
    score: float = field("Score.", nullable=True)
    is_open: bool = field("Open.", nullable=True)
    closes: pl.Date = field("Closes.", nullable=True)
    edited_at: Moment = field("Edited.", nullable=True)
    old_ids: TextList = field("Old ids.", nullable=True)
    stage: Text = field("Stage.", nullable=True, categories=("won", "lost"))


DEAL = Contract("test", "deal", Deal)
ARRIVAL = Arrival("feed-0000000001", "feed", NOW, REAL)


def change(fields: dict | str | None, **known) -> dict:
    row = {
        "object": "deal",
        "entity_id": "d1",
        "operation": "create",
        "event_time": T1,
        "processed_time": T1 + timedelta(minutes=1),
        "source_position": "0000000001",
        "changed_fields": None,
        "merged_into": None,
        "fields": fields if fields is None or isinstance(fields, str) else json.dumps(fields),
        "changed_by": "u1",
        "change_origin": "ui",
        "payload": "{}",
        "error": None,
    }
    return row | known


def land(*rows: dict, arrival: Arrival = ARRIVAL):
    return landed_rows(pl.DataFrame(list(rows), schema=RAW_CHANGE, orient="row"), DEAL, arrival)


def test_a_full_image_becomes_one_typed_row():
    landed = land(
        change(
            {
                "id": "d1",
                "name": "Big",
                "amount": "1234567890123456.78",
                "seats": 5,
                "score": 1.5,
                "is_open": True,
                "closes": "2026-04-30",
                "edited_at": "2026-03-01T10:00:00.000001+01:00",
                "old_ids": ["a", "b"],
                "stage": "won",
            }
        )
    )
    assert landed.refused.height == 0
    assert landed.good.schema == DEAL.change_schema
    assert landed.good.row(0, named=True) == {
        "entity_id": "d1",
        "event_time": T1,
        "processed_time": T1 + timedelta(minutes=1),
        "source_position": "0000000001",
        "operation": "create",
        "is_tombstone": False,
        "merged_into": None,
        "changed_fields": None,
        "processed_date": date(2026, 3, 1),
        "id": "d1",
        "name": "Big",
        "amount": Decimal("1234567890123456.78"),
        "seats": 5,
        "score": 1.5,
        "is_open": True,
        "closes": date(2026, 4, 30),
        "edited_at": datetime(2026, 3, 1, 9, 0, 0, 1, tzinfo=UTC),
        "old_ids": ["a", "b"],
        "stage": "won",
        "_payload": "{}",
        "_changed_by": "u1",
        "_change_origin": "ui",
        "_channel": "feed",
        "_batch_id": "feed-0000000001",
        "_ingested_at": REAL,
    }


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"name": 5}, "type: name"),
        ({"name": ["x"]}, "type: name"),
        ({"name": {"x": 1}}, "type: name"),
        ({"name": None}, "not_nullable: name"),
        ({"amount": "12.345"}, "type: amount"),
        ({"amount": "12,34"}, "type: amount"),
        ({"amount": "99999999999999999.00"}, "type: amount"),
        ({"amount": True}, "type: amount"),
        ({"amount": "-1.00"}, "greater_than_or_equal_to(0): amount"),
        ('{"id": "d1", "name": "x", "amount": 123456789012345.67}', "type: amount"),
        ({"seats": 5.7}, "type: seats"),
        ({"seats": "5.0"}, "type: seats"),
        ({"seats": 2**70}, "type: seats"),
        ({"seats": True}, "type: seats"),
        ({"score": "high"}, "type: score"),
        ({"score": False}, "type: score"),
        ({"is_open": 1}, "type: is_open"),
        ({"is_open": "yes"}, "type: is_open"),
        ({"closes": "2026-02-30"}, "type: closes"),
        ({"closes": "30.04.2026"}, "type: closes"),
        ({"closes": 20000}, "type: closes"),
        ({"edited_at": "2026-03-01T10:00:00"}, "naive_timestamp: edited_at"),
        ({"edited_at": "2026-03-01 10:00:00.5"}, "naive_timestamp: edited_at"),
        ({"edited_at": "2026-03-01T10:00:00.0000001Z"}, "type: edited_at"),
        ({"edited_at": "yesterday"}, "type: edited_at"),
        ({"edited_at": 1772355600000}, "type: edited_at"),
        ({"old_ids": ["a", 5]}, "type: old_ids"),
        ({"old_ids": "a;b"}, "type: old_ids"),
        ({"old_ids": [["a"]]}, "type: old_ids"),
        ({"id": "d2"}, "key_mismatch: id"),
        ('{"id": "d1", "name": "x", "name": "y"}', "duplicate_key: fields"),
        ('{"id": "d1"', "malformed: fields"),
        ("[1]", "malformed: fields"),
        (None, "malformed: fields"),
    ],
)
def test_a_value_that_cannot_be_taken_exactly_is_quarantined_with_its_rule(fields, rule):
    given_fields = {"id": "d1", "name": "x"} | fields if isinstance(fields, dict) else fields
    sound = change({"id": "d2", "name": "fine"}, entity_id="d2", source_position="0000000002")
    landed = land(change(given_fields), sound)
    assert landed.good.get_column("entity_id").to_list() == ["d2"]
    assert landed.refused.get_column("rule").to_list() == [rule]
    assert landed.refused.get_column("column").to_list() == [rule.split(": ")[1]]
    assert landed.refused.schema == QUARANTINED


@pytest.mark.parametrize(
    ("column", "delivered", "value"),
    [
        ("amount", "12.3400", Decimal("12.34")),
        ("amount", "-0", Decimal("0.00")),
        ("amount", 12.34, Decimal("12.34")),
        ("amount", 7, Decimal("7.00")),
        ("amount", "0.10", Decimal("0.10")),
        ("amount", 100, Decimal("100.00")),
        ("seats", "-12", -12),
        ("score", 3, 3.0),
        ("score", "2.5e-3", 0.0025),
        ("is_open", "false", False),
        ("edited_at", "2026-03-01 10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("edited_at", "2026-03-01T10:00:00.123456000Z", datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        ("edited_at", "2026-03-01T10:00:00+05:30", datetime(2026, 3, 1, 4, 30, tzinfo=UTC)),
        ("old_ids", [], []),
        ("old_ids", ["é", None], ["é", None]),
        ("stage", None, None),
        ("name", "", ""),
        ("name", "\u00e9\n\"'", "é\n\"'"),
        ("name", "null", "null"),
    ],
)
def test_a_value_that_loses_nothing_is_taken(column, delivered, value):
    landed = land(change({"id": "d1", "name": "x", column: delivered}))
    assert landed.refused.get_column("rule").to_list() == []
    assert landed.good.get_column(column).to_list() == [value]


def test_a_partial_update_is_held_only_to_the_fields_it_names_and_writes_no_others():
    landed = land(change({"name": 5, "amount": "7.00", "stage": "lost"}, operation="update", changed_fields=["amount"]))
    (row,) = landed.good.rows(named=True)
    assert (row["changed_fields"], row["amount"]) == (["amount"], Decimal("7.00"))
    assert (row["id"], row["name"], row["stage"]) == (None, None, None)


def test_a_partial_update_that_names_a_bad_field_is_quarantined():
    landed = land(change({"amount": "7.00", "stage": "gone"}, operation="update", changed_fields=["amount", "stage"]))
    assert landed.good.height == 0
    assert landed.refused.get_column("column").to_list() == ["stage"]


def test_an_explicit_null_in_a_partial_update_is_written():
    landed = land(change({"amount": None}, operation="update", changed_fields=["amount"]))
    assert landed.good.select("changed_fields", "amount").row(0) == (["amount"], None)


def test_a_named_field_that_may_not_be_null_is_quarantined_when_it_is():
    landed = land(change({"name": None}, operation="update", changed_fields=["name"]))
    assert landed.refused.get_column("rule").to_list() == ["not_nullable: name"]


@pytest.mark.parametrize("operation", ["delete", "merge"])
def test_a_tombstone_writes_no_fields_whatever_it_carries(operation):
    landed = land(change({"name": 5, "amount": "x"}, operation=operation, merged_into="d9"))
    (row,) = landed.good.rows(named=True)
    assert (row["is_tombstone"], row["merged_into"]) == (True, "d9")
    assert [row[name] for name in DEAL.columns] == [None] * 10


def test_fields_the_contract_does_not_know_are_counted_and_not_named_as_changed():
    landed = land(
        change({"id": "d1", "name": "x", "region": "north"}),
        change({"region": "south", "amount": "1.00"}, operation="update", changed_fields=["region", "amount"]),
    )
    assert landed.unknown == {"region": 2}
    assert landed.good.get_column("changed_fields").to_list() == [None, ["amount"]]


def test_a_key_that_a_full_image_leaves_out_is_the_entity():
    assert land(change({"name": "x"})).good.get_column("id").to_list() == ["d1"]


def test_what_the_source_could_not_read_is_quarantined_under_its_own_rule_and_keeps_its_payload():
    landed = land(
        change({"id": "d1", "name": 5}, error="naive_timestamp: event_time", event_time=None, payload='{"at": "…"}')
    )
    (row,) = landed.refused.rows(named=True)
    assert (row["rule"], row["column"], row["payload"]) == ("naive_timestamp: event_time", "event_time", '{"at": "…"}')
    assert (row["processed_date"], row["_channel"], row["_batch_id"]) == (date(2026, 3, 1), "feed", "feed-0000000001")


def test_a_row_that_breaks_several_rules_is_one_quarantined_row():
    landed = land(change({"id": "d1", "name": "x", "seats": "many", "amount": "much"}))
    assert landed.refused.select("rule", "column").rows() == [("type: amount; type: seats", "amount")]


def test_an_entity_without_a_key_is_quarantined():
    assert land(change({"name": "x"}, entity_id=None)).refused.get_column("rule").to_list() == ["no_key: entity_id"]


def test_an_operation_nobody_knows_is_quarantined():
    landed = land(
        change({"id": "d1", "name": "x"}, operation="explode"), change({"id": "d1", "name": "x"}, operation=None)
    )
    assert landed.good.height == 0
    assert landed.refused.get_column("column").to_list() == ["operation", "operation"]


@pytest.mark.parametrize(
    ("knowledge", "claimed", "believed", "origin"),
    [
        ("source", T1 + timedelta(minutes=1), T1 + timedelta(minutes=1), "ui"),
        ("source", None, NOW, "ui"),
        ("ingest", T1 + timedelta(minutes=1), NOW, "ui"),
        ("reconstructed", T1 + timedelta(minutes=1), T1 + timedelta(minutes=1), "reconstructed: ui"),
        ("reconstructed", None, T1, "reconstructed: ui"),
    ],
)
def test_what_the_source_knows_decides_the_processed_time(knowledge, claimed, believed, origin):
    arrival = Arrival("feed-0000000001", "feed", NOW, REAL, knowledge)
    (row,) = land(change({"id": "d1", "name": "x"}, processed_time=claimed), arrival=arrival).good.rows(named=True)
    assert (row["processed_time"], row["processed_date"]) == (believed, believed.date())
    assert (row["event_time"], row["_change_origin"], row["_ingested_at"]) == (T1, origin, REAL)


def test_a_source_without_edit_times_or_positions_gets_ours():
    landed = land(
        change({"id": "d1", "name": "x"}, event_time=None, source_position=None),
        change({"id": "d1", "name": "y"}, event_time=None, source_position=None),
    )
    assert landed.good.get_column("event_time").to_list() == [T1 + timedelta(minutes=1)] * 2
    assert landed.good.get_column("source_position").to_list() == [
        "feed-0000000001-000000000",
        "feed-0000000001-000000001",
    ]


def test_no_rows_give_empty_typed_frames():
    landed = land()
    assert (landed.good.schema, landed.refused.schema) == (DEAL.change_schema, QUARANTINED)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["1.00", "-5", "2026-03-01", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00", "won", "d1"]),
    st.lists(st.one_of(st.text(max_size=3), st.integers()), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)
FIELDS = st.one_of(
    st.dictionaries(st.sampled_from([*DEAL.columns, "other"]), VALUES).map(json.dumps), st.text(max_size=8), st.none()
)
CHANGES = st.builds(
    change,
    FIELDS,
    entity_id=st.sampled_from(["d1", "d2", None]),
    operation=st.sampled_from(["create", "update", "delete", "merge", "other", None]),
    processed_time=st.sampled_from([T1, None]),
    changed_fields=st.one_of(st.none(), st.lists(st.sampled_from([*DEAL.columns, "other"]), max_size=3)),
    error=st.sampled_from([None, None, None, "bad_timestamp: event_time"]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(CHANGES, max_size=6))
def test_no_row_is_ever_lost(rows):
    rows = [row | {"payload": str(number)} for number, row in enumerate(rows)]
    landed = land(*rows)
    kept = landed.good.get_column("_payload").to_list() + landed.refused.get_column("payload").to_list()
    assert sorted(kept, key=int) == [str(number) for number in range(len(rows))]
    assert landed.good.schema == DEAL.change_schema
    assert landed.refused.get_column("rule").null_count() == 0


def test_an_object_may_call_its_columns_as_the_envelope_calls_its_own():
    class Odd(ObjectModel):
        """Names that a raw change has too."""

        id: Text = field("Key.", key=True)
        payload: Text = field("A payload.")
        fields: int = field("Fields.")
        error: Text = field("An error.", nullable=True)
        place: int = field("A row.", ge=0)

    fields = {"id": "d1", "payload": "p", "fields": 3, "error": "none", "place": 5}
    raw = pl.DataFrame([change(fields), change(fields | {"place": -1})], schema=RAW_CHANGE, orient="row")
    landed = landed_rows(raw, Contract("test", "odd", Odd), ARRIVAL)
    assert landed.good.select("id", "payload", "fields", "error", "place", "_payload").rows() == [
        ("d1", "p", 3, "none", 5, "{}")
    ]
    assert landed.refused.get_column("rule").to_list() == ["greater_than_or_equal_to(0): place"]
