"""Who stands for whom, and from when on: merge facts as known, followed to the root of every merged entity.

A link is the register of a loser's facts (DESIGN 2); a root is piecewise constant in time. Nothing here knows what a
merge moves. How facts are found in a source's versions stands in `merges`.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from crm_platform.history.codes import ABSENT, Codes, Ints
from crm_platform.history.registers import BEGINNING, TIMES, VersionsError, check_times, refuse_timeless, steps_of
from crm_platform.history.walks import FOREVER

Merges = pl.DataFrame | pl.LazyFrame


@dataclass(frozen=True)
class Roots:
    """The roots of all entities that were ever merged; everybody else is its own root, always.

    Attributes:
        pieces: One row per loser and stretch: entity_id, since, until (µs, half-open, together the whole axis), root_id.
        named: One row per id that any fact names: entity_id, known_at (µs), the least at which one does.
    """

    pieces: pl.DataFrame
    named: pl.DataFrame


def roots_of(merges: Merges | None, id_type: pl.DataType | None = None) -> Roots:
    """Follows the links of every loser to its root, piecewise in time.

    In a cycle, the winner of the cycle's greatest fact, in (event_time, processed_time, winner), is the root.

    Args:
        merges: One row per fact: loser_id, winner_id (null unmerges), event_time, processed_time.
        id_type: The type of ids where there are no merges.

    Raises:
        VersionsError: A column is missing or a time is none.
    """
    facts = _facts(merges, id_type or pl.String())
    if facts.is_empty():
        ids = pl.Series("entity_id", [], facts.schema["loser_id"])
        moments = {"since": pl.Int64, "until": pl.Int64}
        pieces = pl.DataFrame(ids).with_columns(
            *(pl.lit(None, dtype).alias(name) for name, dtype in moments.items()), ids.alias("root_id")
        )
        return Roots(pieces, pl.DataFrame(ids).with_columns(pl.lit(None, pl.Int64).alias("known_at")))
    codes = Codes.of(facts["loser_id"], facts["winner_id"])
    links = _links(facts, codes)
    pieces = _followed(links)
    known = pl.max_horizontal(TIMES).to_physical().alias("known_at")
    naming = [facts.select(pl.col(side).alias("entity_id"), known) for side in ("loser_id", "winner_id")]
    return Roots(
        pieces=pl.DataFrame(
            {
                "entity_id": codes.decode(pieces["entity"].to_numpy()),
                "since": pieces["since"],
                "until": pieces["until"],
                "root_id": codes.decode(pieces["root"].to_numpy()),
            }
        ),
        named=pl.concat(naming).drop_nulls().group_by("entity_id").agg(pl.col("known_at").min()).sort("entity_id"),
    )


def _facts(merges: Merges | None, id_type: pl.DataType) -> pl.DataFrame:
    """The distinct facts, ranked in (event_time, processed_time, winner), a null winner lowest."""
    if merges is None:
        return pl.DataFrame(schema={"loser_id": id_type, "winner_id": id_type})
    lazy = merges.lazy()
    schema = lazy.collect_schema()
    missing = [name for name in ("loser_id", "winner_id") if name not in schema]
    if missing:
        raise VersionsError.lacking("merges", missing)
    check_times(schema, "merges", TIMES)
    columns = ["loser_id", "winner_id", *TIMES]
    typed = lazy.select(columns).with_columns(pl.col("winner_id").cast(schema["loser_id"]))
    facts = typed.filter(pl.col("loser_id").is_not_null()).unique().sort(*TIMES, "winner_id", "loser_id")
    ranked = facts.with_row_index("rank").collect()
    refuse_timeless(ranked, "merges", TIMES)
    return ranked


def _links(facts: pl.DataFrame, codes: Codes) -> pl.DataFrame:
    """Each loser's link over the whole axis: loser, since, until, winner (null: none), rank of the fact."""
    versions = facts.select(
        pl.col("loser_id").alias("entity_id"), *TIMES, pl.col("rank").alias("source_position"), "winner_id", "rank"
    )
    steps = steps_of(versions, ["winner_id", "rank"], "merges")
    fact = steps.rows.select("winner_id", "rank")[pl.Series(steps.newest)]
    loser = codes.encode(steps.ids)[steps.entity]
    known = pl.DataFrame(
        {
            "loser": loser,
            "since": steps.since,
            "until": steps.until,
            "winner": pl.Series(codes.encode(fact["winner_id"])),
            "rank": fact["rank"].cast(pl.Int64),
        }
    )
    before = (
        known.group_by("loser")
        .agg(pl.col("since").min().alias("until"))
        .select(
            "loser",
            pl.lit(BEGINNING, pl.Int64).alias("since"),
            "until",
            pl.lit(ABSENT, pl.Int64).alias("winner"),
            pl.lit(-1, pl.Int64).alias("rank"),
        )
    )
    return pl.concat([known, before])


def _followed(links: pl.DataFrame) -> pl.DataFrame:
    """Takes all losers along their links, one link a round, cutting stretches where a link on the way changes.

    A stretch that comes back to where it stood at the last power of two of rounds has gone once around a cycle.
    """
    losers = links.select(pl.col("loser").unique())
    walking = losers.select(
        pl.col("loser").alias("entity"),
        pl.lit(BEGINNING, pl.Int64).alias("since"),
        pl.lit(FOREVER, pl.Int64).alias("until"),
        pl.col("loser").alias("here"),
        pl.col("loser").alias("mark"),
        pl.lit(-1, pl.Int64).alias("top"),
        pl.col("loser").alias("top_winner"),
    )
    arrived: list[pl.DataFrame] = []
    rounds, next_mark = 0, 1
    while walking.height:
        forth = (
            walking.join(links, left_on="here", right_on="loser", how="inner", suffix="_link")
            .with_columns(
                pl.max_horizontal("since", "since_link").alias("since"),
                pl.min_horizontal("until", "until_link").alias("until"),
            )
            .filter(pl.col("since") < pl.col("until"))
        )
        ends = pl.col("winner") == ABSENT
        arrived.append(forth.filter(ends).select("entity", "since", "until", pl.col("here").alias("root")))
        rises = pl.col("rank") > pl.col("top")
        forth = forth.filter(~ends).with_columns(
            pl.col("winner").alias("here"),
            pl.max_horizontal("top", "rank").alias("top"),
            pl.when(rises).then("winner").otherwise("top_winner").alias("top_winner"),
        )
        around = pl.col("here") == pl.col("mark")
        arrived.append(forth.filter(around).select("entity", "since", "until", pl.col("top_winner").alias("root")))
        forth = forth.filter(~around)
        linked = pl.col("here").is_in(links["loser"].unique().implode())
        arrived.append(forth.filter(~linked).select("entity", "since", "until", pl.col("here").alias("root")))
        walking = forth.filter(linked).select(walking.columns)
        rounds += 1
        if rounds == next_mark:
            next_mark *= 2
            walking = walking.with_columns(pl.col("here").alias("mark"), pl.lit(-1, pl.Int64).alias("top"))
    found = pl.concat(arrived).sort("entity", "since")
    return _joined_where_equal(found)


def _joined_where_equal(pieces: pl.DataFrame) -> pl.DataFrame:
    """Makes one stretch of neighbours with the same root."""
    entity, root = pieces["entity"].to_numpy(), pieces["root"].to_numpy()
    changes: Ints = np.flatnonzero(
        np.concatenate([[True], (entity[1:] != entity[:-1]) | (root[1:] != root[:-1])])
    ).astype(np.int64)
    lasts = np.append(changes[1:] - 1, len(entity) - 1)
    return pieces[changes].with_columns(pieces["until"].gather(pl.Series(lasts)).alias("until"))
