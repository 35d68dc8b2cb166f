"""In which portions a history too large to be held at once is read."""

import datetime as dt
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from crm_platform.features import Count, FeatureView
from crm_platform.features.portions import Inputs, portions_of

VIEW = FeatureView(
    name="account_activity", entity="account", key="account_id", time="occurred_at", features=[Count(window="7d")]
)
ROWS, AT_ONCE, LOOKED_AT, BUSY = 20_000, 1_000, 100, "a042"
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def small_portions(monkeypatch):
    monkeypatch.setattr("crm_platform.features.portions.ROWS_AT_ONCE", AT_ONCE)
    monkeypatch.setattr("crm_platform.features.portions.SET_APART", AT_ONCE)
    monkeypatch.setattr("crm_platform.features.portions.LOOKED_AT", LOOKED_AT)


@pytest.fixture(params=[0, 1_000], ids=["set apart", "read again"])
def portions_read_again(request, monkeypatch):
    monkeypatch.setattr("crm_platform.features.portions.READ_AGAIN", request.param)


def activities():
    """Accounts in no order, one of them with a fifth of all activities, and some activities without any."""
    dice = np.random.default_rng(7)
    accounts = [f"a{number:03}" for number in dice.integers(0, 300, ROWS)]
    accounts = [
        BUSY if lot < 0.2 else None if lot < 0.21 else one for one, lot in zip(accounts, dice.random(ROWS), strict=True)
    ]
    return told([f"t{number:05}" for number in range(ROWS)], accounts)


def told(ids, accounts):
    return pl.LazyFrame({"entity_id": ids, "account_id": accounts}).with_columns(
        event_time=pl.lit(NOON), processed_time=pl.lit(NOON), occurred_at=pl.lit(NOON)
    )


@pytest.mark.usefixtures("portions_read_again")
def test_portions_found_by_looking_at_some_rows_hold_every_account_once_and_about_as_many_rows_as_may_be():
    whole = activities()
    portions = portions_of(VIEW, Inputs(whole, None, None))
    ranges = [portion.inputs for portion in portions.ranges]
    assert [one.high for one in ranges[:-1]] == [one.low for one in ranges[1:]]
    assert (ranges[0].low, ranges[-1].high) == (None, None)
    assert all(one < other for one, other in pairwise([one.high for one in ranges[:-1]]))
    held = [portion.activities.collect() for portion in portions]
    assert all(rows["entity_id"].is_sorted() for rows in held)
    of_somebody = whole.filter(pl.col("account_id").is_not_null()).collect()
    assert pl.concat(held).sort("entity_id").equals(of_somebody.select(held[0].columns))
    assert sum(BUSY in rows["account_id"] for rows in held) == 1
    assert all(len(rows) < AT_ONCE * 1.5 for rows in held if BUSY not in rows["account_id"])
    assert 1 < len(portions) <= ROWS / AT_ONCE


@pytest.mark.usefixtures("portions_read_again")
def test_an_activity_that_changed_its_account_is_in_the_portions_of_both_whatever_stands_between_its_versions():
    moved = told(["t", None, "t"], ["a000", "a150", "a299"])
    portions = portions_of(VIEW, Inputs(pl.concat([moved, activities()]), None, None))
    held = [
        portion.activities.filter(pl.col("entity_id") == "t").collect()["account_id"].to_list() for portion in portions
    ]
    assert held == [["a000", "a299"], *[[]] * (len(portions) - 2), ["a000", "a299"]]
