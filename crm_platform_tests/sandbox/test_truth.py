"""The truth agrees with a naive replay of the feed, with the server's exports, and with a life told by hand."""

import io
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from crm_platform.sandbox import Truth, generated
from crm_platform.sandbox.journal import Journal
from crm_platform_tests.sandbox.conftest import client_of

OBJECTS = ("account", "contact", "lead", "opportunity", "activity", "owner")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def default_crm(default_config):
    with client_of(default_config) as found:
        yield found


@pytest.fixture(scope="module")
def truth(default_config) -> Truth:
    return Truth(generated(default_config))


def as_told(value):
    """A value as the API writes it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value) if isinstance(value, Decimal) or hasattr(value, "isoformat") else value


def test_a_naive_replay_of_the_feed_agrees_at_a_thousand_moments(default_crm, default_config, truth):
    lives = defaultdict(list)
    for event in default_crm.events():
        key = (event["event_time"], event["commit_time"], event["offset"])
        lives[event["object"], event["id"]].append((key, event))
    asked = truth.probes(1000, seed=3, until=default_config.opening_head)
    dead = unknown = 0
    for probe in asked:
        fields, deleted, seen = {}, False, False
        for _, event in sorted(lives[probe.object, probe.entity_id], key=lambda pair: pair[0]):
            if moment(event["event_time"]) <= probe.event_time and moment(event["commit_time"]) <= probe.commit_time:
                fields |= event["fields"]
                deleted, seen = event["operation"] in {"delete", "merge"}, True
        state = truth.at(probe.object, probe.entity_id, event_time=probe.event_time, commit_time=probe.commit_time)
        assert (state is not None) == seen
        if state is None:
            unknown += 1
            continue
        dead += state.is_deleted
        told = {name: as_told(value) for name, value in state.fields.items() if value is not None}
        assert told == {"id": probe.entity_id} | {name: value for name, value in fields.items() if value is not None}
        assert state.is_deleted == deleted
    assert 20 < unknown < 200
    assert dead > 5


@pytest.mark.parametrize("of", OBJECTS)
@pytest.mark.parametrize("as_of", ["2026-03-18T10:30:00.000000Z", "2026-04-30T00:00:00.000000Z"])
def test_dated_exports_hold_what_was_known_to_live(default_crm, truth, of, as_of):
    export = default_crm.export(of, as_of=as_of)
    rows = pl.concat([pl.read_parquet(io.BytesIO(part)) for part in default_crm.parts(export)])
    living = truth.living(of, moment(as_of))
    assert (export["started_at"], export["finished_at"], export["rows"]) == (as_of, as_of, len(living))
    assert {row["id"]: row for row in rows.iter_rows(named=True)} == {id_: dict(row) for id_, row in living.items()}


def at(hour: float) -> int:
    return int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1_000_000 + hour * 3_600_000_000)


def told_at(hour: float) -> datetime:
    return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=hour)


@pytest.fixture
def life(tmp_path) -> Truth:
    """Four accounts: entered at 1; 0 is edited with an old date, deleted, restored; 1, 2 and 3 merge in a circle."""
    journal = Journal(tmp_path)

    def write(operation, ids, event, commit, **more):
        rows = len(ids)
        stamps = {"event": np.full(rows, at(event)), "commit": np.full(rows, at(commit))}
        journal.write("account", operation, np.array(ids), **stamps, **more)

    image = dict.fromkeys(("name", "industry", "country", "tier", "employees", "currency", "owner_id", "created_at"), 1)
    write("create", [0, 1, 2, 3], 1, 1, fields=image, txn=np.zeros(4, np.int64), order=np.arange(4))
    write("update", [0], 5, 5, fields={"employees": 50, "modified_at": at(5)})
    write("update", [0], 3, 6, fields={"employees": 30, "tier": 2, "modified_at": at(3)})  # late, and older
    write("delete", [0], 8, 9)
    write("update", [0], 7, 10, fields={"employees": 70, "modified_at": at(7)})  # older than the tombstone
    write("undelete", [0], 12, 12, fields={**image, "employees": 120, "modified_at": at(12)})
    write("merge", [1], 2, 2, merged_into=2)
    write("merge", [2], 3, 3, merged_into=3)
    write("merge", [3], 4, 4, merged_into=1)  # closes the circle
    write("undelete", [1], 5, 5, fields=image)
    journal.end_of_day(at(24), last=True)
    journal.finish({"start": at(0), "end": at(24)})
    return Truth(tmp_path)


def test_an_older_edit_writes_only_what_nobody_newer_wrote(life):
    before = life.known("account", "acc-0000000", told_at(5.5))
    after = life.known("account", "acc-0000000", told_at(6))
    assert (before.fields["employees"], before.fields["tier"]) == (50, "growth")
    assert (after.fields["employees"], after.fields["tier"]) == (50, "standard")
    assert after.fields["modified_at"] == told_at(5)


def test_the_two_times_are_asked_apart(life):
    state = life.at("account", "acc-0000000", event_time=told_at(4), commit_time=told_at(24))
    assert (state.fields["employees"], state.is_deleted) == (30, False)
    state = life.at("account", "acc-0000000", event_time=told_at(24), commit_time=told_at(4))
    assert state.fields["employees"] == 1
    assert life.known("account", "acc-0000000", told_at(0.5)) is None


def test_a_late_edit_older_than_the_tombstone_revives_nobody_and_an_undelete_does(life):
    assert not life.known("account", "acc-0000000", told_at(8.5)).is_deleted
    assert life.known("account", "acc-0000000", told_at(9)).is_deleted
    late = life.known("account", "acc-0000000", told_at(10))
    assert (late.is_deleted, late.fields["employees"]) == (True, 70)
    back = life.known("account", "acc-0000000", told_at(12))
    assert (back.is_deleted, back.fields["employees"]) == (False, 120)
    assert sorted(life.living("account", told_at(10))) == ["acc-0000001"]


def test_roots_follow_chains_and_end_circles_at_the_newest_winner(life):
    assert life.root("account", "acc-0000001", told_at(1.5)) == "acc-0000001"
    assert life.root("account", "acc-0000001", told_at(2)) == "acc-0000002"
    assert life.root("account", "acc-0000001", told_at(3)) == "acc-0000003"
    assert life.root("account", "acc-0000002", told_at(4)) == "acc-0000001"
    assert life.root("account", "acc-0000003", told_at(4)) == "acc-0000001"
    assert life.root("account", "acc-0000002", told_at(5)) == "acc-0000001"
    assert [(fact.loser_id, fact.winner_id) for fact in life.merges("account")][:4] == [
        ("acc-0000001", "acc-0000002"),
        ("acc-0000002", "acc-0000003"),
        ("acc-0000003", "acc-0000001"),
        ("acc-0000001", None),
    ]


def test_a_third_id_lists_every_contact_it_came_from(truth):
    chained = [fact for fact in truth.merges("contact") if fact.winner_id]
    winners = {fact.winner_id for fact in chained}
    twice = next(fact for fact in chained if fact.loser_id in winners)
    inherited = [fact.loser_id for fact in chained if fact.winner_id == twice.loser_id]
    end = datetime(2026, 4, 30, tzinfo=UTC)
    root = truth.root("contact", twice.loser_id, end)
    assert [truth.root("contact", loser, end) for loser in inherited] == [root] * len(inherited)
    assert len(inherited) >= 2
