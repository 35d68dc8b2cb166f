"""What a view's features are at single moments, in SQL, from the definitions of DESIGN 2 and 3 and without our kernel.

It asks of each moment anew what every activity was known to be, and counts: slow, plain, and sharing no code with what it
judges. Pure: frames in, a frame out; DuckDB does the work.
"""

# ruff: noqa: S608  the SQL is put together from names of our own contracts and views, each of them quoted

from collections.abc import Sequence

import polars as pl

from crm_platform.features import (
    Attribute,
    Count,
    Distinct,
    FeatureView,
    First,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Std,
    Sum,
)
from crm_platform.features.views import Feature, Windowed
from crm_platform.lake.query import query

TIMES = ("event_time", "processed_time", "source_position")

LINKS = """
moments AS (SELECT DISTINCT as_of FROM asked),
facts AS (
    SELECT m.as_of, f.loser_id, f.winner_id, f.event_time, f.processed_time,
           row_number() OVER (PARTITION BY m.as_of, f.loser_id
                              ORDER BY f.event_time DESC, f.processed_time DESC, f.winner_id DESC NULLS LAST) AS place
    FROM moments m JOIN merges f ON f.event_time <= m.as_of AND f.processed_time <= m.as_of),
links AS (SELECT * FROM facts WHERE place = 1 AND winner_id IS NOT NULL),
walk AS (
    SELECT as_of, loser_id AS start, [loser_id] AS path, winner_id AS here FROM links
    UNION ALL
    SELECT w.as_of, w.start, list_append(w.path, w.here), l.winner_id
    FROM walk w JOIN links l ON l.as_of = w.as_of AND l.loser_id = w.here
    WHERE NOT list_contains(w.path, w.here)),
ends AS (
    SELECT as_of, start, arg_max(path, len(path)) AS path, arg_max(here, len(path)) AS here
    FROM walk GROUP BY as_of, start),
cycles AS (
    SELECT e.as_of, e.start, arg_max(l.winner_id, row(l.event_time, l.processed_time, l.winner_id)) AS root
    FROM ends e JOIN links l ON l.as_of = e.as_of
    WHERE list_contains(e.path, e.here)
      AND list_contains(list_slice(e.path, list_position(e.path, e.here), len(e.path)), l.loser_id)
    GROUP BY e.as_of, e.start),
roots AS (
    SELECT e.as_of, e.start AS id, coalesce(c.root, e.here) AS root
    FROM ends e LEFT JOIN cycles c ON c.as_of = e.as_of AND c.start = e.start)"""
"""Who is whose root at each moment: links followed one by one, and in a cycle the winner of its greatest fact."""


def second_opinion(
    view: FeatureView,
    asked: pl.DataFrame,
    *,
    activities: pl.DataFrame | None,
    merges: pl.DataFrame,
    versions: pl.DataFrame | None,
) -> pl.DataFrame:
    """The features of some entities at some moments.

    Args:
        view: The view.
        asked: One row per question: entity_id, as_of.
        activities: Versions of the activities; None where the view has none.
        merges: The merge facts of the view's entity.
        versions: Versions of the entity; None where the view has no attributes.

    Returns:
        One row per question, sorted by both: entity_id, as_of, is_known (whether any row names the entity by then),
        is_deleted, and the columns of `judged`.
    """
    family = _family(asked.get_column("entity_id").unique(), merges)
    tables = {"asked": asked.select("entity_id", "as_of").unique(), "merges": merges}
    parts = [LINKS]
    if activities is not None and view.key is not None:
        fields = list(dict.fromkeys([view.key, view.time, *view.reads]))
        mine = activities.filter(pl.col(view.key).is_in(family.implode())).select("entity_id").unique()
        tables["activities"] = activities.join(mine, on="entity_id", how="semi").select(_columns(fields))
        parts += [_states("activities", "activity", fields), _counting(view), _counted(view)]
    if versions is not None:
        fields = [attribute.column for attribute in view.attributes]
        tables["versions"] = versions.filter(pl.col("entity_id").is_in(family.implode())).select(_columns(fields))
        parts.append(_states("versions", "entity", fields))
    sql = f"WITH RECURSIVE {', '.join(parts)} {_answer(view, tables)} ORDER BY entity_id, as_of"
    return query(sql, **tables)  # pyright: ignore[reportArgumentType]  none of the tables is called lake


def judged(view: FeatureView) -> list[str]:
    """The timeline's columns that have a second opinion: all but the moments since which something has held."""
    return [name for feature in view.features for name in feature.columns[:1] if not isinstance(feature, Sum)] + [
        name for feature in view.features if isinstance(feature, Sum) for name in feature.columns
    ]


def _columns(fields: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(["entity_id", *TIMES, "is_tombstone", "changed_fields", *fields]))


def _family(ids: pl.Series, merges: pl.DataFrame) -> pl.Series:
    """The entities and all that may ever have gone into them."""
    family, before = ids, -1
    while len(family) != before:
        before = len(family)
        losers = merges.filter(pl.col("winner_id").is_in(family.implode())).get_column("loser_id")
        family = pl.concat([family, losers.cast(family.dtype)]).unique()
    return family


def _states(table: str, name: str, fields: Sequence[str]) -> str:
    """What each register shows at each moment: the write of the greatest version known by then."""
    shown = "".join(f", {_written(field)} AS {_quoted(field)}" for field in fields)
    return f"""
{name}_known AS (
    SELECT m.as_of, v.*, row_number() OVER (PARTITION BY m.as_of, v.entity_id
        ORDER BY v.event_time, v.processed_time, v.source_position NULLS FIRST) AS place
    FROM moments m JOIN {table} v ON v.event_time <= m.as_of AND v.processed_time <= m.as_of),
{name}_state AS (
    SELECT as_of, entity_id AS id, arg_max(is_tombstone, place) AS is_dead,
           arg_max(row(event_time, processed_time, source_position), place) AS stamp{shown}
    FROM {name}_known GROUP BY as_of, entity_id)"""


def _written(field: str) -> str:
    column = _quoted(field)
    writes = f"NOT is_tombstone AND (changed_fields IS NULL OR list_contains(changed_fields, {_text(field)}))"
    return f"struct_extract(arg_max({{'value': {column}}}, place) FILTER (WHERE {writes}), 'value')"


def _counting(view: FeatureView) -> str:
    """The living activities that have taken place, each with the root of its key."""
    key, time = _quoted(str(view.key)), _quoted(view.time)
    return f"""
counting AS (
    SELECT s.*, coalesce(r.root, s.{key}) AS owner, s.{time} AS occurred
    FROM activity_state s LEFT JOIN roots r ON r.as_of = s.as_of AND r.id = s.{key}
    WHERE NOT s.is_dead AND s.{key} IS NOT NULL AND s.{time} <= s.as_of)"""


def _counted(view: FeatureView) -> str:
    columns = ", ".join(f"{sql} AS {_quoted(name)}" for f in view.over_activities for name, sql in _aggregates(f))
    return f"counted AS (SELECT as_of, owner, {columns} FROM counting GROUP BY as_of, owner)"


def _aggregates(feature: Feature) -> list[tuple[str, str]]:
    """Each column of a feature, as an aggregation over the counting activities."""
    names, column = feature.columns, _quoted(feature.column or "")
    order = "row(occurred, stamp, id)"
    match feature:
        case Recency():
            return [(names[0], "max(occurred)")]
        case First():
            return [(names[0], f"struct_extract(arg_min({{'value': {column}}}, {order}), 'value')")]
        case Last():
            return [(names[0], f"struct_extract(arg_max({{'value': {column}}}, {order}), 'value')")]
        case Sum() if feature.currency is not None:
            money = _quoted(feature.currency)
            return [
                (name, f"sum({column}) FILTER (WHERE {_inside(feature)} AND {money} = {_text(code)})")
                for name, code in zip(names, feature.currencies, strict=True)
            ]
        case _:
            return [(names[0], f"{_over(feature, column)} FILTER (WHERE {_inside(feature)})")]


def _over(feature: Feature, column: str) -> str:
    words = {Sum: "sum", Mean: "avg", Std: "stddev_samp", Min: "min", Max: "max"}
    if isinstance(feature, Count):
        return "count(*)"
    if isinstance(feature, Distinct):
        return f"count(DISTINCT {column})"
    return f"{words[type(feature)]}({column})"


def _inside(feature: Feature) -> str:
    span = feature.span if isinstance(feature, Windowed) else None
    return "true" if span is None else f"occurred > as_of - INTERVAL '{int(span.total_seconds())} seconds'"


def _answer(view: FeatureView, tables: dict[str, pl.DataFrame]) -> str:
    columns, joins = ["a.entity_id", "a.as_of"], ["LEFT JOIN roots r ON r.as_of = a.as_of AND r.id = a.entity_id"]
    known = [
        "EXISTS (SELECT 1 FROM facts f WHERE f.as_of = a.as_of AND (f.loser_id = a.entity_id OR f.winner_id = a.entity_id))"
    ]
    dead = "coalesce(r.root <> a.entity_id, false)"
    if "versions" in tables:
        joins.append("LEFT JOIN entity_state e ON e.as_of = a.as_of AND e.id = a.entity_id")
        known.append("e.id IS NOT NULL")
        dead += " OR coalesce(e.is_dead, false)"
    if "activities" in tables:
        joins.append("LEFT JOIN counted c ON c.as_of = a.as_of AND c.owner = a.entity_id")
        key = _quoted(str(view.key))
        known.append(
            f"EXISTS (SELECT 1 FROM activity_known k WHERE k.as_of = a.as_of AND k.{key} = a.entity_id AND NOT k.is_tombstone)"
        )
    columns += [f"({' OR '.join(known)}) AS is_known", f"({dead}) AS is_deleted"]
    for feature in view.features:
        if isinstance(feature, Attribute):
            columns.append(f"CASE WHEN NOT ({dead}) THEN e.{_quoted(feature.column)} END AS {_quoted(feature.column)}")
            continue
        for name, _ in _aggregates(feature):
            empty_is_zero = isinstance(feature, Count | Sum | Distinct)
            value = f"coalesce(c.{_quoted(name)}, 0)" if empty_is_zero else f"c.{_quoted(name)}"
            columns.append(f"{value} AS {_quoted(name)}")
    return f"SELECT {', '.join(columns)} FROM asked a {' '.join(joins)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
