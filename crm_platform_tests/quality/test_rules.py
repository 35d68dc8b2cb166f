"""What a single frame can be held to, day by day, in words that say what to look at."""

import datetime as dt

import polars as pl

from crm_platform.history.versions import versions_from
from crm_platform.quality.rules import broken_rows, history_rules, holds, timeline_rules, training_rules
from crm_platform_tests.scenario import COMPANY, LIFE, at, landed

LIVED = versions_from(landed(*LIFE).lazy(), COMPANY).kept.collect()
MERGED_ROW = pl.col("source_position") == "009"


def broken(frame: pl.DataFrame) -> list[str]:
    return broken_rows(history_rules(COMPANY), frame)["rule"].unique().sort().to_list()


def test_a_true_history_breaks_no_rule():
    assert broken(LIVED) == []


def test_a_version_twice_breaks_a_rule_in_both_rows():
    found = broken_rows(history_rules(COMPANY), pl.concat([LIVED, LIVED.head(1)]))
    assert found.select("row", "rule").rows() == [(0, "one_version_per_identity"), (11, "one_version_per_identity")]


def test_a_tombstone_that_is_none_and_a_merge_without_winner_are_told():
    assert broken(LIVED.with_columns(pl.lit(value=False).alias("is_tombstone"))) == ["tombstone_is_what_ends_a_life"]
    lost = LIVED.with_columns(pl.when(~MERGED_ROW).then("merged_into").alias("merged_into"))
    assert broken(lost) == ["winner_stands_on_merges_alone"]


def test_a_tombstone_that_would_write_is_told():
    image = pl.when(~pl.col("is_tombstone")).then("changed_fields").alias("changed_fields")
    assert broken(LIVED.with_columns(image)) == ["tombstone_writes_no_field"]


def test_a_version_in_another_days_partition_is_told():
    moved = LIVED.with_columns(pl.lit(dt.date(2026, 3, 9)).alias("processed_date"))
    assert broken(moved) == ["partition_is_the_day_of_recording"]


def test_a_retyped_column_breaks_the_frame_as_a_whole():
    found = holds(
        history_rules(COMPANY),
        LIVED.with_columns(pl.col("revenue").cast(pl.Float64)),
        check="contract",
        table="history/company",
        remedy="Mend it.",
        day_column="processed_date",
    )
    assert not found.passed
    assert "revenue" in found.findings[0].what


def test_every_day_has_its_own_finding_with_counts_and_examples():
    spoiled = LIVED.with_columns(pl.when(~MERGED_ROW).then("merged_into").alias("merged_into"))
    found = holds(
        history_rules(COMPANY),
        spoiled,
        check="contract",
        table="history/company",
        remedy="Rebuild the day.",
        days=[dt.date(2026, 3, 4), dt.date(2026, 3, 7)],
        day_column="processed_date",
    )
    assert found.failed_days == [dt.date(2026, 3, 4)]
    failed = next(finding for finding in found.findings if not finding.passed)
    assert (failed.failing, failed.total) == (1, 1)
    assert failed.what == "Rows break the rule “winner stands on merges alone”."
    assert failed.examples is not None
    assert failed.examples.rows() == [("boreal", None, "winner_stands_on_merges_alone")]
    assert [f.passed for f in found.findings if f.day == dt.date(2026, 3, 7)] == [True]


FEATURES = pl.Schema(
    {"count_7d": pl.Int64(), "count_30d": pl.Int64(), "channel_distinct_7d": pl.Int64(), "stage": pl.String()}
)


def steps(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame(
        [(entity, at(known), at(changed), False, *rest, at(known).date()) for entity, known, changed, *rest in rows],
        schema={
            "entity_id": pl.String,
            "known_at": pl.Datetime("us", "UTC"),
            "changed_at": pl.Datetime("us", "UTC"),
            "is_deleted": pl.Boolean,
        }
        | dict(FEATURES)
        | {"known_date": pl.Date},
        orient="row",
    )


def test_steps_are_one_per_moment_and_windows_fit_into_each_other():
    good = steps(("a", "01 09:00", "01 09:00", 1, 1, 0, None), ("a", "08 09:00", "01 09:00", 0, 1, 0, None))
    assert broken_rows(timeline_rules(FEATURES), good).is_empty()
    bad = steps(
        ("a", "01 09:00", "01 09:00", 2, 1, 0, None),
        ("a", "01 09:00", "02 09:00", 1, 1, -1, None),
    )
    assert broken_rows(timeline_rules(FEATURES), bad).select("row", "rule").rows() == [
        (0, "count_7d_fits_into_count_30d"),
        (0, "one_step_per_moment"),
        (1, "channel_distinct_7d_is_no_less_than_zero"),
        (1, "news_is_no_later_than_its_step"),
        (1, "one_step_per_moment"),
    ]


def rows(*told: tuple) -> pl.DataFrame:
    schema = {
        "entity_id": pl.String,
        "as_of": pl.Datetime("us", "UTC"),
        "label": pl.Boolean,
        "label_event_time": pl.Datetime("us", "UTC"),
        "label_known_at": pl.Datetime("us", "UTC"),
        "step_at": pl.Datetime("us", "UTC"),
    }
    return pl.DataFrame(told, schema=schema, orient="row")


def test_an_outcome_at_as_of_itself_is_a_leak_and_a_later_one_is_not():
    rules = training_rules(watermark=pl.lit(at("20 00:00")), steps=["step_at"])
    good = rows(("a", at("01 00:00"), True, at("01 00:00:00.000001"), at("11 00:00"), at("01 00:00")))
    assert broken_rows(rules, good).is_empty()
    bad = rows(
        ("a", at("01 00:00"), True, at("01 00:00"), at("11 00:00"), at("01 00:00:00.000001")),
        ("b", at("15 00:00"), False, None, at("25 00:00"), None),
        ("c", at("01 00:00"), False, at("03 00:00"), at("02 00:00"), None),
    )
    assert broken_rows(rules, bad).select("row", "rule").rows() == [
        (0, "label_happened_after_as_of"),
        (0, "step_at_is_not_after_as_of"),
        (1, "label_is_mature"),
        (2, "label_says_whether_it_happened"),
        (2, "label_was_read_after_it_happened"),
    ]
