"""Portions of a history hold whole lives: judged one by one, they say what the whole says."""

import datetime as dt

import polars as pl
import pytest

from crm_platform.quality.portions import group_of, portions, touching
from crm_platform.quality.truncation import differences, honestly, leakily
from crm_platform_tests.quality.test_leakage import MERGE, START, life

CUT = START + dt.timedelta(days=5, hours=7)
END = START + dt.timedelta(days=40)


@pytest.mark.parametrize("seed", range(4))
def test_the_steps_of_all_portions_are_those_of_the_whole(seed):
    inputs = life(seed)
    whole = honestly(inputs, END).collect().sort("entity_id", "known_at")
    parts = [honestly(part, END).filter(inside("entity_id")).collect() for part, inside in portions(inputs, 3)]
    assert pl.concat(parts).sort("entity_id", "known_at").equals(whole)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_wrong_in_portions_is_what_is_wrong_in_the_whole(seed):
    inputs = life(seed)
    steps = leakily(inputs, END).collect().lazy()
    whole, total = differences(inputs, steps, CUT)
    parts = [differences(part, steps, CUT, inside=inside("entity_id")) for part, inside in portions(inputs, 3)]
    assert pl.concat([wrong for wrong, _ in parts]).sort(whole.columns).equals(whole.sort(whole.columns))
    assert sum(looked_at for _, looked_at in parts) == total


def test_entities_that_merges_ever_tied_stay_together():
    pairs = [("d", "c"), ("b", "a"), ("c", "b"), ("z", "y"), ("x", None)]
    rows = [{"loser_id": loser, "winner_id": winner} for loser, winner in pairs]
    of = group_of(pl.LazyFrame(rows, schema={name: MERGE[name] for name in ("loser_id", "winner_id")}))
    assert pl.DataFrame({"id": list("abcdxyzq")}).select(of("id"))["id"].to_list() == list("aaaaxyyq")


def test_what_touches_an_entity_touches_all_it_is_tied_to():
    inputs = life(1)
    assert inputs.merges is not None
    tied = inputs.merges.filter(pl.col("winner_id").is_not_null()).collect().row(0, named=True)
    _, inside = touching(inputs, pl.Series([tied["loser_id"]]))
    asked = pl.DataFrame({"id": [tied["loser_id"], tied["winner_id"], None, "stranger"]})
    assert asked.select(inside("id"))["id"].to_list() == [True, True, None, False]


def test_only_steps_from_a_moment_on_are_judged():
    inputs = life(2)
    steps = leakily(inputs, END).collect().lazy()
    since = START + dt.timedelta(days=5)
    wrong, _ = differences(inputs, steps, CUT, since=since)
    assert wrong["known_at"].min() >= since
    assert wrong.height < differences(inputs, steps, CUT)[0].height
