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
    monkeypatch.setattr("crm_platform.features.portions.LOOKED_AT", LOOKED_AT)


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


def test_portions_found_by_looking_at_some_rows_hold_every_account_once_and_about_as_many_rows_as_may_be():
    whole = activities()
    portions = portions_of(VIEW, Inputs(whole, None, None))
    assert [one.high for one in portions[:-1]] == [one.low for one in portions[1:]]
    assert (portions[0].low, portions[-1].high) == (None, None)
    assert all(one < other for one, other in pairwise([portion.high for portion in portions[:-1]]))
    held = [portion.activities.collect()["account_id"] for portion in portions]
    assert sum(len(accounts) for accounts in held) == whole.select(pl.col("account_id").count()).collect().item()
    assert sum(BUSY in accounts for accounts in held) == 1
    assert all(len(accounts) < AT_ONCE * 1.5 for accounts in held if BUSY not in accounts)
    assert len(portions) <= ROWS / AT_ONCE


def test_an_activity_that_changed_its_account_is_in_the_portions_of_both_whatever_stands_between_its_versions():
    moved = told(["t", None, "t"], ["a000", "a150", "a299"])
    portions = portions_of(VIEW, Inputs(pl.concat([moved, activities()]), None, None))
    held = [one.activities.filter(pl.col("entity_id") == "t").collect()["account_id"].to_list() for one in portions]
    assert held == [["a000", "a299"], *[[]] * (len(portions) - 2), ["a000", "a299"]]
