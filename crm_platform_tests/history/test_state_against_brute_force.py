import random

import polars as pl

from crm_platform.history import state_as_of
from crm_platform.history.links import roots_of
from crm_platform_tests.features import brute_force
from crm_platform_tests.features.histories import MERGE_SCHEMA, Life, frames, lives


def test_the_state_at_any_moment_equals_the_brute_force():
    them = lives(1_000, 250)
    _, merges, versions = frames(them)
    rng = random.Random(1)
    living = 0
    for _ in range(25):
        moment = rng.choice([Life.moment, lambda life: life.moment() + brute_force.MICROSECOND])(them[0])
        expected = [
            row
            for life in them
            for row in brute_force.state_as_of(life.versions, moment, life.merges, ["stage", "size"])
        ]
        found = state_as_of(versions, moment, merges)
        assert found.sort("entity_id").rows(named=True) == sorted(expected, key=lambda row: row["entity_id"])
        living += found.height
    assert living > 2_000


def test_the_root_of_everybody_at_any_moment_equals_the_brute_force():
    rng = random.Random(2)
    names = [f"n{number}" for number in range(7)]
    for number in range(150):
        life = Life(5_000 + number)
        facts = [
            {"loser_id": rng.choice(names), "winner_id": rng.choice([*names, *names, None]), **life.times()}
            for _ in range(rng.randint(1, 14))
        ]
        facts = [fact for fact in facts if fact["loser_id"] != fact["winner_id"] or rng.random() < 0.1]
        pieces = roots_of(pl.DataFrame(facts, schema=MERGE_SCHEMA)).pieces
        for _ in range(6):
            moment = life.moment()
            at = pl.lit(moment).to_physical()
            now = pieces.filter(pl.col("since") <= at, at < pl.col("until"))
            expected = {name: brute_force.root(facts, name, moment) for name in {fact["loser_id"] for fact in facts}}
            assert dict(now.select("entity_id", "root_id").rows()) == expected
