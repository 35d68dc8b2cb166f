"""What is carried from one moment to the next gives every later state, whatever was thrown away at each."""

import datetime as dt
import random

import polars as pl
import pytest

from crm_platform.history import state_as_of
from crm_platform.history.links import roots_of
from crm_platform.history.living import living, living_links
from crm_platform_tests.features.brute_force import MICROSECOND
from crm_platform_tests.features.histories import START, frames, lives

FIELDS = ["stage", "size"]


def recorded_in(rows, since, until):
    return rows.filter(pl.col("processed_time") >= since, pl.col("processed_time") < until)


def pieces_after(merges, moment):
    since = pl.lit(moment).to_physical()
    return (
        roots_of(merges)
        .pieces.filter(pl.col("until") > since, pl.col("root_id") != pl.col("entity_id"))
        .with_columns(pl.max_horizontal("since", since).alias("since"))
    )


@pytest.mark.parametrize("seed", range(4))
def test_what_is_carried_over_any_cuts_gives_every_later_state_and_root(seed):
    _, merges, versions = frames(lives(9_000 + 100 * seed, 100))
    rng = random.Random(seed)
    begin, end = START - dt.timedelta(days=9), START + dt.timedelta(days=20)
    cuts = [*sorted({begin + dt.timedelta(hours=rng.randint(1, 29 * 24)) for _ in range(6)}), end]
    carried, facts, since = versions.clear(), merges.clear(), begin
    for cut in cuts:
        carried = living(
            pl.concat([carried.select(versions.columns), recorded_in(versions, since, cut)]), cut - MICROSECOND, FIELDS
        )
        facts = living_links(pl.concat([facts, recorded_in(merges, since, cut)]), cut - MICROSECOND)
        since = cut
        for _ in range(4):
            moment = cut - MICROSECOND + dt.timedelta(hours=rng.choice([0, 0, 6, 30, 400]))
            newer = recorded_in(versions, cut, end)
            links = pl.concat([facts, recorded_in(merges, cut, end)])
            found = state_as_of(pl.concat([carried.select(versions.columns), newer]), moment, links)
            assert found.equals(state_as_of(versions, moment, merges))
        assert pieces_after(links, cut).equals(pieces_after(merges, cut))
    assert carried.height < versions.height / 2


def test_of_full_images_one_row_per_entity_is_carried():
    versions = pl.DataFrame(
        {
            "entity_id": ["a", "a", "a", "b"],
            "event_time": [START, START + MICROSECOND, START + dt.timedelta(days=3), START],
            "processed_time": [START + dt.timedelta(days=1), START + MICROSECOND, START, START],
            "stage": ["old", "new", "planned", "open"],
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("event_time", "processed_time")},
    )
    carried = living(versions, START + dt.timedelta(days=1), ["stage"])
    assert carried["stage"].to_list() == ["new", "planned", "open"]
