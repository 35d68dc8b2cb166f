"""Leaks of five kinds: timelines built from a history that believes too much, and a label among the features.

Each takes a stage over a healthy lake, as in `injections`; what leaks is built for real, and takes the place of the true one.
"""

import datetime as dt
import hashlib
import io
from collections.abc import Callable

import polars as pl

from crm_platform.features.shelf import NEWEST, point_to, store, stored_set
from crm_platform_tests.defs.test_leaks import built_from, put, shifted
from crm_platform_tests.faults.injections import Injection, checked
from crm_platform_tests.faults.stage import TRAINING, Stage


def leaking(object_name: str, believed: Callable[[pl.DataFrame], pl.DataFrame]) -> Injection:
    """A timeline built from a history that believes too much."""

    def inject(stage: Stage) -> None:
        stage.tick()
        stage.meet()
        built_from(stage.settings, stage.lake, object_name, believed, stage.folder)
        checked(stage, "features/lead", "leakage_truncation")

    return inject


def early(rows: pl.DataFrame) -> pl.DataFrame:
    """Activities of three days later."""
    names = ("event_time", "processed_time", "occurred_at")
    ahead = pl.col("event_time") >= dt.datetime(2026, 3, 20, tzinfo=dt.UTC)
    return shifted(rows, ahead, **{name: pl.col(name) - dt.timedelta(days=3) for name in names})


def todays_status(rows: pl.DataFrame) -> pl.DataFrame:
    """The status of today in the past."""
    today = pl.col("status").drop_nulls().last().over("entity_id", order_by=["event_time", "processed_time"])
    return shifted(rows, pl.col("status").is_not_null(), status=today)


def at_event_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Late rows, known when they happened."""
    since = pl.col("event_time") >= dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
    return shifted(rows, since, processed_time=pl.col("event_time"))


def kept_too_long(stage: Stage) -> None:
    """Windows that keep what left them a microsecond ago."""
    stage.tick()
    stage.meet()
    steps = stage.lake.scan("features/lead").collect()
    later = pl.col("known_at") + dt.timedelta(microseconds=1)
    put(stage.lake, shifted(steps, pl.col("changed_at") < pl.col("known_at"), known_at=later))
    checked(stage, "features/lead", "leakage_truncation")


def label_among_the_features(stage: Stage) -> None:
    """A newer training set with its label as a feature, stored under an id of its own."""
    stage.tick()
    stage.meet()
    honest = stored_set(stage.lake, TRAINING)
    content = io.BytesIO()
    honest.frame.with_columns(pl.col("label").alias("lead__is_won")).write_parquet(content)
    leaky = honest.path.with_name("0" * len(honest.path.name))
    told = {
        "id": leaky.name,
        "features": honest.manifest.features | {"lead__is_won": "Boolean"},
        "parquet_sha256": hashlib.sha256(content.getvalue()).hexdigest(),
    }
    store(leaky, content.getvalue(), honest.manifest.model_copy(update=told))
    point_to(leaky, NEWEST)
    checked(stage, f"training/{TRAINING}")
