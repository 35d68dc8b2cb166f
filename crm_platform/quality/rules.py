"""What can be said of one frame, as Pandera schemas that a notebook can run: versions, timeline steps, training rows.

`broken_rows` tells which row breaks which rule, `holds` makes a check's answer of it. What needs several tables, or the
lake, stands in the other modules.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import pairwise

import pandera.polars as pa
import polars as pl

from crm_platform.contracts import TOMBSTONES, UTC_US, Contract
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding

IDENTITY = ("entity_id", "event_time", "processed_time", "source_position")
BROKEN = pl.Schema({"row": pl.UInt32(), "column": pl.String(), "rule": pl.String()})
_WINDOWED = re.compile(r"^(?P<name>(?:.+_)?(?:count|distinct))_(?P<days>\d+)d$")


def row_rule(name: str, keeps: pl.Expr) -> pa.Check:
    """A rule over whole rows; a null answer counts as kept."""
    return pa.Check(lambda held: held.lazyframe.select(keeps.fill_null(value=True)), name=name)


def history_rules(contract: Contract) -> pa.DataFrameSchema:
    """What every version of an object keeps: its contract, and the rules of operations and times."""
    base = contract.rules("history")
    tombstone, merge = pl.col("is_tombstone"), pl.col("operation") == "merge"
    silent = pl.col("changed_fields").list.len().fill_null(1) == 0
    checks = [
        row_rule("one_version_per_identity", pl.struct(IDENTITY).is_unique()),
        row_rule("tombstone_is_what_ends_a_life", tombstone == pl.col("operation").is_in(TOMBSTONES)),
        row_rule("tombstone_writes_no_field", ~tombstone | silent),
        row_rule("winner_stands_on_merges_alone", merge == pl.col("merged_into").is_not_null()),
        row_rule("partition_is_the_day_of_recording", pl.col("processed_date") == pl.col("processed_time").dt.date()),
    ]
    return pa.DataFrameSchema(
        base.columns, checks=[*(base.checks or []), *checks], strict=True, name=f"{base.name}.rules"
    )


def timeline_rules(features: pl.Schema) -> pa.DataFrameSchema:
    """What every step of a timeline keeps: one step per entity and moment, news no later than the step, counts that fit.

    Args:
        features: The timeline's feature columns with their types.
    """
    counts = [name for name in features if _WINDOWED.match(name)]
    columns = {
        "entity_id": pa.Column(pl.String()),
        "known_at": pa.Column(UTC_US),
        "changed_at": pa.Column(UTC_US),
        "is_deleted": pa.Column(pl.Boolean()),
        **{name: pa.Column(dtype, nullable=True) for name, dtype in features.items()},
        "known_date": pa.Column(pl.Date()),
    }
    checks = [
        row_rule("one_step_per_moment", pl.struct("entity_id", "known_at").is_unique()),
        row_rule("news_is_no_later_than_its_step", pl.col("changed_at") <= pl.col("known_at")),
        row_rule("partition_is_the_day_of_the_step", pl.col("known_date") == pl.col("known_at").dt.date()),
        *(row_rule(f"{name}_is_no_less_than_zero", pl.col(name) >= 0) for name in counts),
        *(row_rule(f"{less}_fits_into_{more}", pl.col(less) <= pl.col(more)) for less, more in _nested(counts)),
    ]
    return pa.DataFrameSchema(columns, checks=checks, strict=True, name="timeline")


def merge_rules(objects: Sequence[str]) -> pa.DataFrameSchema:
    """What every merge fact keeps: two entities of an object that may be merged, and one fact per moment.

    Args:
        objects: The objects whose entities may be merged.
    """
    columns = {
        "object": pa.Column(pl.String(), pa.Check.isin(list(objects))),
        "loser_id": pa.Column(pl.String()),
        "winner_id": pa.Column(pl.String(), nullable=True),
        "event_time": pa.Column(UTC_US),
        "processed_time": pa.Column(UTC_US),
        "processed_date": pa.Column(pl.Date()),
    }
    checks = [
        row_rule("one_fact_per_pair_and_moment", pl.struct(list(columns)).is_unique()),
        row_rule("nobody_is_merged_into_itself", pl.col("loser_id") != pl.col("winner_id")),
        row_rule("partition_is_the_day_of_recording", pl.col("processed_date") == pl.col("processed_time").dt.date()),
    ]
    return pa.DataFrameSchema(columns, checks=checks, strict=True, name="merges")


def training_rules(
    *, watermark: pl.Expr | None = None, steps: Sequence[str] = (), embargo: timedelta = timedelta(0)
) -> pa.DataFrameSchema:
    """What every training row keeps: a question at a moment, and an outcome that lies after it and was known in time.

    Args:
        watermark: The moment beyond which nothing was known; None where that is not asked.
        steps: Columns with the moment of a step that a feature was read from: none may be after as_of, less the embargo.
        embargo: How much older than as_of the features are.
    """
    columns = {
        "entity_id": pa.Column(pl.String()),
        "as_of": pa.Column(UTC_US),
        "label": pa.Column(pl.Boolean()),
        "label_event_time": pa.Column(UTC_US, nullable=True),
        "label_known_at": pa.Column(UTC_US),
    }
    checks = [
        row_rule("one_row_per_question", pl.struct("entity_id", "as_of").is_unique()),
        row_rule("rows_are_sorted_by_entity_and_moment", _follows("entity_id", "as_of")),
        row_rule("label_happened_after_as_of", pl.col("label_event_time") > pl.col("as_of")),
        row_rule("label_was_read_after_it_happened", pl.col("label_event_time") <= pl.col("label_known_at")),
        row_rule("label_is_read_after_as_of", pl.col("label_known_at") > pl.col("as_of")),
        row_rule("label_says_whether_it_happened", pl.col("label") == pl.col("label_event_time").is_not_null()),
        *(row_rule(f"{name}_is_not_after_as_of", pl.col(name) <= pl.col("as_of") - embargo) for name in steps),
    ]
    if watermark is not None:
        checks.append(row_rule("label_is_mature", pl.col("label_known_at") <= watermark))
    return pa.DataFrameSchema(columns, checks=checks, strict=False, name="training")


def broken_rows(rules: pa.DataFrameSchema, frame: pl.DataFrame) -> pl.DataFrame:
    """Which rows break which rules.

    Returns:
        One row per broken rule: row (position in the frame; null where the frame as a whole breaks it), column, rule.
    """
    try:
        rules.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as broken:
        cases = broken.failure_cases
        return (
            cases.select(
                pl.col("index").cast(pl.UInt32).alias("row"),
                pl.when(pl.col("column").is_in(frame.columns)).then("column").cast(pl.String),
                pl.col("check").cast(pl.String).alias("rule"),
            )
            .unique()
            .sort("row", "rule", "column", nulls_last=False)
        )
    return pl.DataFrame(schema=BROKEN)


def holds(
    rules: pa.DataFrameSchema,
    frame: pl.DataFrame,
    *,
    check: str,
    table: str,
    remedy: str,
    days: Sequence[date] = (),
    day_column: str | None = None,
    shown: Sequence[str] = ("entity_id",),
    told: Callable[[str], str] = lambda rule: rule.replace("_", " "),
) -> CheckResult:
    """A check's answer on one frame: per day where the frame has days, else one finding.

    Args:
        rules: What the rows must keep.
        frame: The rows.
        check: The check's name.
        table: Where the rows stand.
        remedy: What to do when they break a rule.
        days: The days looked at: one without rows holds.
        day_column: The column that says a row's day; None for one finding about all of it.
        shown: Columns that tell an example; no personal data.
        told: How a rule's name reads.
    """
    broken = broken_rows(rules, frame)
    whole = broken.filter(pl.col("row").is_null())
    numbered = frame.select(shown if day_column in shown or day_column is None else [*shown, day_column])
    rows = broken.drop_nulls("row").join(numbered.with_row_index("row"), on="row", how="left").sort("row", "rule")
    findings = [_of_frame(rule, column, frame.height) for _, column, rule in whole.iter_rows()]
    if day_column is None:
        findings.append(_finding(rows, frame.height, None, shown, told))
    else:
        counted = dict(frame.group_by(day_column).len().iter_rows())
        for day in sorted({*days, *counted}):
            mine = rows.filter(pl.col(day_column) == day)
            findings.append(_finding(mine, counted.get(day, 0), day, shown, told))
    return CheckResult(check, table, findings, remedy)


def _of_frame(rule: str, column: str | None, total: int) -> Finding:
    """A finding about the columns: no row is as the rules say."""
    what = f"The table as a whole breaks the rule “{rule}”{'' if column is None else f' in the column {column}'}."
    shown = pl.DataFrame({"column": [column], "rule": [rule]}, schema={"column": pl.String, "rule": pl.String})
    return Finding(passed=False, what=what, failing=total, total=total, examples=shown)


def _finding(
    broken: pl.DataFrame, total: int, day: date | None, shown: Sequence[str], told: Callable[[str], str]
) -> Finding:
    if broken.is_empty():
        return Finding(passed=True, what=f"All {total} rows keep every rule.", day=day, total=total)
    first = broken.row(0, named=True)
    column = "" if first["column"] is None else f" ({first['column']})"
    rules = broken.get_column("rule").n_unique()
    more = f", and {rules - 1} more rules" if rules > 1 else ""
    return Finding(
        passed=False,
        what=f"Rows break the rule “{told(first['rule'])}”{column}{more}.",
        day=day,
        failing=broken.get_column("row").n_unique(),
        total=total,
        examples=broken.select(*shown, "column", "rule").head(MOST_EXAMPLES),
    )


def _follows(entity: str, moment: str) -> pl.Expr:
    """Whether a row stands after the one before it; the first one does."""
    before, earlier = pl.col(entity).shift(1), pl.col(moment).shift(1)
    return (pl.col(entity) > before) | ((pl.col(entity) == before) & (pl.col(moment) > earlier))


def _nested(counts: Sequence[str]) -> list[tuple[str, str]]:
    """Of the same count over several windows, each pair of neighbours: the shorter, the longer."""
    by_name: dict[str, list[tuple[int, str]]] = {}
    for name in counts:
        found = _WINDOWED.match(name)
        if found:
            by_name.setdefault(found["name"], []).append((int(found["days"]), name))
    pairs: list[tuple[str, str]] = []
    for windows in by_name.values():
        ordered = [name for _, name in sorted(windows)]
        pairs += pairwise(ordered)
    return pairs
