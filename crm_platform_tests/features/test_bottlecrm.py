"""A real CRM's log from end to end, against answers worked out from the log by plain loops that share no code."""

import gzip
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from crm_platform.contracts import contracts_in
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.features.training import build_training_set, stored_set
from crm_platform.history.build import build_history, build_merges
from crm_platform.lake import Lake
from crm_platform.landing import land_changes, watermark
from crm_platform.sources import load_manifest, recorded_log

LOG = Path(__file__).parents[2] / "data/samples/bottlecrm/events.jsonl.gz"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HORIZON, WEEK = timedelta(days=30), timedelta(days=7)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    manifest = load_manifest("bottlecrm")
    contracts = contracts_in(manifest.contracts)
    found = Lake(tmp_path_factory.mktemp("bottlecrm") / "lake")
    source = recorded_log(LOG, manifest)
    land_changes(found, source, manifest, contracts, until=source.head().time + timedelta(microseconds=1))
    reached = watermark(found)
    first = min(found.days("landing/changes/lead"))
    days = [first + timedelta(days=n) for n in range((reached.date() - first).days + 1)]
    for name in ("lead", "task"):
        build_history(found, manifest, contracts, name, days, watermark=reached)
    build_merges(found, manifest, contracts, days)
    build_features(found, manifest, contracts, views_for(manifest, contracts)["lead"], days, watermark=reached)
    build_training_set(found, manifest, "lead_conversion", watermark=reached)
    return found


@pytest.fixture(scope="module")
def lives():
    """What the log says of every lead and task: (commit time, row or None) in the log's order."""
    told = {"lead": defaultdict(list), "task": defaultdict(list)}
    with gzip.open(LOG, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            table = event["topic"].removeprefix("crm.public.")
            if table in told and event["value"] is not None:
                committed = EPOCH + timedelta(microseconds=event["value"]["source"]["ts_us"])
                told[table][event["key"]["id"]].append((committed, event["value"]["after"]))
    return told


def known(life, moment):
    """The row as it stood at a moment; None before it was there and after it was deleted."""
    return next((row for committed, row in reversed(life) if committed <= moment), None)


def became_converted(life, since, until):
    """Whether some write between the two, the later one included, made the status what it was not."""
    statuses = [(committed, row["status"]) for committed, row in life if row is not None]
    steps = pairwise([(EPOCH, None), *statuses])
    return any(
        since < committed <= until and status == "converted" and before != "converted"
        for (_, before), (committed, status) in steps
    )


def test_the_questions_and_answers_are_those_of_the_log(lake, lives):
    found = stored_set(lake, "lead_conversion")
    end = max(committed for table in lives.values() for life in table.values() for committed, _ in life)
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    mondays = [monday + n * WEEK for n in range(20) if monday + n * WEEK + HORIZON <= end]
    expected = sorted(
        (lead, moment, became_converted(life, moment, moment + HORIZON), row["status"], row["rating"])
        for lead, life in lives["lead"].items()
        for moment in mondays
        if (row := known(life, moment)) is not None and row["status"] not in {"converted", "closed"}
    )
    columns = ["entity_id", "as_of", "label", "lead__status", "lead__rating"]
    assert found.frame.select(columns).rows() == expected
    assert (found.manifest.rows, found.manifest.positives) == (495, 141)


def test_the_tasks_of_a_lead_are_counted_as_they_were_known(lake, lives):
    found = stored_set(lake, "lead_conversion").frame
    facts = lake.scan("history/merges").filter(pl.col("object") == "lead").collect()
    merged = {
        loser: (winner, when) for loser, winner, when in facts.select("loser_id", "winner_id", "processed_time").rows()
    }
    expected = []
    for lead, as_of in found.select("entity_id", "as_of").rows():
        tasks = [row for life in lives["task"].values() if (row := known(life, as_of)) is not None]
        mine = []
        for task in tasks:
            winner, since = merged.get(task["lead_id"], (None, as_of))
            if (winner if winner is not None and since <= as_of else task["lead_id"]) == lead:
                mine.append((datetime.fromisoformat(task["created_at"]), task["priority"]))
        month = [priority for created, priority in mine if as_of - timedelta(days=30) < created <= as_of]
        latest = max(mine, default=(None, None))[0]
        expected.append((len(month), len(set(month)), latest))
    assert found.select("lead__count_30d", "lead__priority_distinct_30d", "lead__last_at").rows() == expected
    assert sum(count for count, _, _ in expected) == 127
