"""The change feed and paged reads: bounds, gaps, several entities, ties and caps, against real servers."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from crm_platform.contracts import RAW_CHANGE
from crm_platform.sources import GapError, connect, now
from crm_platform.sources.errors import AnswerError, AuthError, QuotaError, ResultCapError
from crm_platform_tests.sources.loopback import CREDENTIALS, Call, Reply

CHANGES = "/api/v1/changes"
LEADS = "/api/v1/objects/lead"


def at(minute: int) -> str:
    return f"2026-03-01T10:{minute:02d}:00.000000Z"


def event(offset: int, **told):
    named = {"object": "lead", "id": f"L{offset}", "ids": None, "operation": "create", "fields": {"id": f"L{offset}"}}
    times = {"event_time": at(offset), "commit_time": at(offset), "transaction": {"id": offset, "order": 1}}
    rest = {"changed_fields": None, "merged_into": None, "changed_by": "U1", "origin": "import"}
    return {"offset": offset} | named | times | rest | told


@pytest.fixture
def feed(misbehaving):
    """Serves these events, two a page."""

    def serve(*events):
        def page(call: Call) -> Reply:
            after, limit = int(call.query["after"]), 2
            served = [told for told in events if told["offset"] > after][:limit]
            reached = served[-1]["offset"] if served else after
            head = events[-1]["offset"] if events else 0
            watermark = at(59) if reached == head else at(reached)
            body = {"events": served, "next_offset": reached, "head_offset": head, "watermark": watermark}
            return Reply(200, body)

        misbehaving.answers[CHANGES] = page
        return misbehaving

    return serve


def offset(number: int) -> str:
    return f"{number:020d}"


def test_pages_become_one_batch_of_raw_changes(feed, source):
    feed(*(event(number) for number in range(1, 6)))
    (batch,) = source.changes(None)
    assert batch.events.schema == RAW_CHANGE
    assert (batch.from_offset, batch.to_offset) == (None, offset(5))
    assert batch.watermark == datetime(2026, 3, 1, 10, 59, tzinfo=UTC)
    assert batch.events["entity_id"].to_list() == ["L1", "L2", "L3", "L4", "L5"]
    assert batch.events.select(pl.exclude("payload")).row(0, named=True) == {
        "object": "lead", "entity_id": "L1", "operation": "create", "event_time": datetime(2026, 3, 1, 10, 1, tzinfo=UTC),
        "processed_time": datetime(2026, 3, 1, 10, 1, tzinfo=UTC), "source_position": offset(1), "changed_fields": None,
        "merged_into": None, "fields": '{"id": "L1"}', "changed_by": "U1", "change_origin": "import", "error": None,
    }  # fmt: skip
    assert json.loads(batch.events["payload"][0]) == event(1)


def test_batches_are_cut_at_pages_and_follow_one_another(feed, source):
    feed(*(event(number) for number in range(1, 6)))
    batches = list(source.changes(None, limit=2))
    assert [(batch.from_offset, batch.to_offset) for batch in batches] == [
        (None, offset(2)), (offset(2), offset(4)), (offset(4), offset(5)),
    ]  # fmt: skip


def test_a_quiet_feed_yields_one_batch_without_events_so_that_the_watermark_can_move(feed, source):
    feed(event(1))
    (batch,) = source.changes(offset(1))
    assert (batch.from_offset, batch.to_offset, batch.events.height) == (offset(1), offset(1), 0)
    assert batch.watermark == datetime(2026, 3, 1, 10, 59, tzinfo=UTC)


def test_until_a_moment_is_exclusive_and_the_watermark_stops_before_what_was_seen(feed, source):
    feed(*(event(number) for number in range(1, 6)))
    (batch,) = source.changes(None, until=datetime(2026, 3, 1, 10, 4, tzinfo=UTC))
    assert batch.to_offset == offset(3)
    assert batch.watermark == datetime(2026, 3, 1, 10, 3, 59, 999999, UTC)
    (rest,) = source.changes(batch.to_offset)
    assert rest.events["entity_id"].to_list() == ["L4", "L5"]


def test_up_to_an_offset_is_inclusive(feed, source):
    feed(*(event(number) for number in range(1, 6)))
    (batch,) = source.changes(offset(1), upto=offset(3))
    assert (batch.from_offset, batch.to_offset) == (offset(1), offset(3))
    assert batch.events["entity_id"].to_list() == ["L2", "L3"]


def test_up_to_an_offset_between_two_events_is_kept(feed, source):
    feed(event(1), event(5))
    (batch,) = source.changes(None, upto=offset(5))
    (again,) = source.changes(batch.from_offset, upto=batch.to_offset)
    assert again.to_offset == batch.to_offset == offset(5)
    assert again.events.equals(batch.events)


def test_a_partial_update_names_its_fields(feed, source):
    feed(event(1, operation="update", changed_fields=["status"], fields={"status": None}))
    (batch,) = source.changes(None)
    assert batch.events["changed_fields"].to_list() == [["status"]]
    assert batch.events["fields"].to_list() == ['{"status": null}']


def test_an_event_of_several_entities_becomes_a_row_each(feed, source):
    told = event(1, id=None, ids=["L7", "L8"], operation="update", changed_fields=["status"], fields={"status": "new"})
    feed(told)
    (batch,) = source.changes(None)
    assert batch.events["entity_id"].to_list() == ["L7", "L8"]
    assert batch.events["source_position"].to_list() == [offset(1), offset(1)]


def test_a_merge_points_to_its_winner(feed, source):
    feed(event(1, operation="merge", merged_into="L9", fields={}), event(2, operation="merge", fields={}))
    (batch,) = source.changes(None)
    assert batch.events["merged_into"].to_list() == ["L9", None]
    assert batch.events["error"].to_list() == [None, "no_winner: a merge that names no winner"]


def test_events_that_cannot_be_read_keep_their_payload_and_say_why(feed, source):
    feed(
        event(1, operation="evaporate"),
        event(2, id=None),
        event(3, event_time="2026-03-01T10:03:00"),
        event(4, commit_time="noon"),
        event(5, fields={"id": "L5", "converted_at": "2026-03-01 10:05:00"}),
        event(6, fields={"id": "L6", "converted_at": "2026-03-01T10:05:00+05:30"}),
        event(7, fields="id=L7"),
        event(8, operation="update", changed_fields="status"),
    )
    (batch,) = source.changes(None)
    assert batch.events["error"].to_list() == [
        "unknown_operation: the manifest does not name it",
        "no_key: the event names no entity",
        "naive_timestamp: event_time",
        "bad_timestamp: processed_time",
        "naive_timestamp: converted_at",
        None,
        "malformed: fields",
        "malformed: changed_fields",
    ]
    assert json.loads(batch.events["payload"][0])["operation"] == "evaporate"


def test_a_feed_that_does_not_move_on_is_an_error_and_no_endless_read(misbehaving, source):
    page = {"events": [event(1)], "next_offset": 1, "head_offset": 9, "watermark": at(59)}
    misbehaving.answers[CHANGES] = [Reply(200, page)]
    with pytest.raises(AnswerError, match="'next_offset' does not move on and the head is not reached"):
        list(source.changes(offset(1)))


def test_objects_that_the_manifest_does_not_name_are_left_out(feed, source):
    feed(event(1, object="invoice"), event(2))
    (batch,) = source.changes(None)
    assert batch.events["object"].to_list() == ["lead"]
    assert batch.to_offset == offset(2)


def test_an_event_without_data_is_read_again_by_its_ids(feed, source):
    crm = feed(event(1), event(2, id=None, ids=["L1", "L4", "L5", "L6"], operation="gap", fields={}))
    living = {"id": "L1", "status": "working", "modified_at": at(30), "is_deleted": False, "merged_into": None}
    dead = {"id": "L4", "status": "new", "modified_at": at(1), "is_deleted": True, "merged_into": None}
    crm.answers[LEADS] = [Reply(200, {"records": [living, dead], "next": None})]
    (batch,) = source.changes(None)
    assert crm.asked(LEADS)[0].query == {"limit": "200", "ids": "L1,L4,L5,L6", "include_deleted": "true"}
    reread = batch.events.filter(pl.col("source_position") == offset(2))
    columns = ["entity_id", "operation", "event_time", "processed_time", "changed_fields", "change_origin"]
    assert reread.select(columns).rows() == [
        ("L1", "update", datetime(2026, 3, 1, 10, 30, tzinfo=UTC), None, None, "reread"),
        ("L4", "delete", None, None, None, "reread"),
        ("L5", "delete", None, None, None, "reread"),
        ("L6", "delete", None, None, None, "reread"),
    ]
    assert json.loads(reread["fields"][0]) == {"id": "L1", "status": "working", "modified_at": at(30)}


def test_without_reads_an_event_without_data_is_a_gap(feed, with_changes):
    crm = feed(event(1), event(2, id=None, ids=["L1"], operation="gap", fields={}))
    manifest = with_changes(transport__reads=None)
    with connect(manifest, base_url=crm.base_url, credentials=CREDENTIALS) as source:
        batches = source.changes(None)
        assert next(batches).to_offset == offset(1)
        with pytest.raises(GapError):
            next(batches)


def test_an_overflow_yields_what_came_before_and_then_names_the_gap(feed, source):
    feed(event(1), event(2), event(3), event(4, id=None, operation="overflow", fields={}), event(5))
    batches = source.changes(None)
    assert next(batches).to_offset == offset(3)
    with pytest.raises(GapError, match=r"lost changes between offset 3 and offset 4") as caught:
        next(batches)
    (after,) = source.changes(caught.value.resume)
    assert after.events["entity_id"].to_list() == ["L5"]


# Paged reads.


def lead(key: str, minute: int) -> dict:
    return {"id": key, "status": "new", "modified_at": at(minute)}


@pytest.fixture
def leads(misbehaving):
    """Serves rows two a page by an opaque cursor, and stops without a word after `cap` rows of a read."""

    def serve(*rows, cap=10_000):
        def page(call: Call) -> Reply:
            since = call.query.get("modified_since", "")
            held = [row for row in rows if row["modified_at"] >= since][:cap]
            start = int(call.query.get("after", "0"))
            more = start + 2 < len(held)
            return Reply(200, {"records": held[start : start + 2], "next": str(start + 2) if more else None})

        misbehaving.answers[LEADS] = page
        return misbehaving

    return serve


def keys(frames) -> list[str]:
    return [key for frame in frames for key in frame["entity_id"]]


def test_rows_are_read_to_the_end_each_once(leads, source):
    leads(*(lead(f"L{n}", n) for n in range(1, 6)))
    frames = list(source.rows("lead"))
    assert keys(frames) == ["L1", "L2", "L3", "L4", "L5"]
    assert frames[0].schema == RAW_CHANGE
    assert frames[0].select("operation", "event_time", "processed_time", "source_position").row(0) == (
        "snapshot", datetime(2026, 3, 1, 10, 1, tzinfo=UTC), None, f"{at(1)}/L1",
    )  # fmt: skip


def test_a_silent_cap_is_found_out_and_read_past_by_ranges_of_the_cursor(leads, source):
    leads(*(lead(f"L{n:02d}", n) for n in range(1, 20)), cap=5)
    assert keys(source.rows("lead")) == [f"L{n:02d}" for n in range(1, 20)]


def test_ties_at_the_edge_of_a_cap_are_neither_lost_nor_doubled(leads, source):
    leads(lead("A", 1), lead("B", 2), lead("C", 2), lead("D", 3), lead("E", 4), cap=3)
    assert keys(source.rows("lead")) == ["A", "B", "C", "D", "E"]


@pytest.mark.parametrize("after", [[], [lead("Z", 3)]], ids=["at the end", "before others"])
def test_as_many_rows_at_one_time_as_the_cap_are_an_error_and_no_silent_end(leads, with_changes, after):
    crm = leads(lead("A", 1), *(lead(f"B{n}", 2) for n in range(5)), *after, cap=3)
    manifest = with_changes(transport__reads__result_cap=None if after else 3)
    with (
        connect(manifest, base_url=crm.base_url, credentials=CREDENTIALS) as source,
        pytest.raises(ResultCapError, match=r"serves 3 rows at most.*2026-03-01T10:02:00\+00:00"),
    ):
        list(source.rows("lead"))


def test_reading_since_a_moment_looks_back_as_far_as_the_manifest_says(leads, source):
    crm = leads(lead("A", 1))
    list(source.rows("lead", since=datetime(2026, 3, 1, 10, 30, tzinfo=UTC)))
    assert crm.asked(LEADS)[0].query["modified_since"] == "2026-03-01T10:10:00.000000Z"


def test_filters_go_with_every_page(leads, source):
    crm = leads(*(lead(f"L{n}", n) for n in range(1, 6)))
    list(source.rows("lead", status="new"))
    assert {call.query["status"] for call in crm.asked(LEADS)} == {"new"}


# The sandbox CRM.


def told(batches) -> pl.DataFrame:
    return pl.concat([batch.events for batch in batches])


@pytest.fixture(scope="module")
def plain():
    """What the sandbox's feed says without faults; filled by the first test that asks."""
    return {}


@pytest.fixture
def expected(plain, sandbox):
    if "events" not in plain:
        with sandbox() as crm:
            plain["events"] = told(crm.changes(None))
    return plain["events"]


def test_the_sandbox_is_read_whole_and_without_fault(sandbox, expected, manifest):
    with sandbox() as crm:
        head = crm.head()
        assert head.time == now(manifest, crm) == datetime(2026, 3, 21, tzinfo=UTC)
        assert int(head.offset) == expected.height == expected["source_position"].n_unique()
        assert expected["error"].null_count() == expected.height
        batches = list(crm.changes(None, limit=100))
        assert told(batches).equals(expected)
        assert batches[-1].watermark == head.time
    assert expected["source_position"].is_sorted()
    assert set(expected["operation"]) == {"create", "update", "delete", "undelete", "merge"}


@pytest.mark.parametrize(
    "fault",
    [
        {"rate_limited": {"every": 4, "retry_after": 0}},
        {"rate_limited": {"every": 4, "retry_after": 0, "style": "date"}},
        {"server_errors": {"every": 3, "burst": 2}},
        {"token_expiry": {"calls": 2}},
    ],
    ids=["429 in seconds", "429 as a date", "5xx bursts", "tokens that expire"],
)
def test_illnesses_of_the_sandbox_change_nothing(sandbox, expected, with_changes, fault):
    manifest = with_changes(transport__changes__limit=150)
    with sandbox(fault, using=manifest) as crm:
        assert told(crm.changes(None)).equals(expected)


def test_a_quota_of_the_sandbox_is_told_as_one(sandbox):
    with sandbox({"quota_403": {"calls": 1}}) as crm:
        crm.head()
        with pytest.raises(QuotaError, match="quota is used up"):
            crm.head()


def test_the_sandbox_refuses_a_wrong_secret(sandbox):
    with sandbox(client_secret="another") as crm, pytest.raises(AuthError, match="CRM_SANDBOX_CLIENT_SECRET"):
        crm.head()


def test_the_sandbox_forgets_what_is_past_its_retention(sandbox):
    with sandbox(retention_days=5) as crm:
        head = crm.head()
        assert int(head.earliest) > 1
        with pytest.raises(GapError, match="past its retention") as caught:
            list(crm.changes(None))
        assert int(caught.value.resume) == int(head.earliest) - 1
        (batch,) = crm.changes(caught.value.resume)
        assert batch.to_offset == head.offset


def test_rows_that_the_sandbox_had_us_read_again_have_no_proven_time(sandbox, expected):
    with sandbox({"gap_events": {"share": 0.1}}) as crm:
        events = told(crm.changes(None))
    reread = events.filter(pl.col("change_origin") == "reread")
    assert reread.height > 20
    assert reread["processed_time"].null_count() == reread.height
    assert set(events["entity_id"]) == set(expected["entity_id"])


def test_commits_that_show_late_hold_nothing_back_for_ever(sandbox):
    with sandbox({"late_commits": {"share": 0.2}}) as crm:
        (batch,) = crm.changes(None, until=datetime(2026, 3, 10, tzinfo=UTC))
        events = told([batch, *crm.changes(batch.to_offset)])
        head = crm.head()
    assert events["source_position"].is_sorted()
    assert not events["processed_time"].is_sorted()
    assert events.height == int(head.offset)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_broken_transfers_and_failed_jobs_of_the_sandbox_are_outlasted(sandbox, tmp_path, form):
    faults = {"truncated_bodies": {"every": 2}, "null_locator": {"failures": 1}}
    with sandbox(faults, export_part_rows=100) as crm:
        export = crm.export("activity", day=None, into=tmp_path, form=form)
        expected = keys(crm.rows("activity"))
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[form]
    ids = [key for path in export.paths for key in read(path)["id"]]
    assert len(export.paths) > 3
    assert len(ids) == export.rows
    assert sorted(ids) == sorted(expected)


def test_a_dated_export_of_the_sandbox_shows_its_day(sandbox, tmp_path):
    day = datetime(2026, 3, 9, tzinfo=UTC)
    with sandbox() as crm:
        export = crm.export("lead", day=day.date(), into=tmp_path)
        rows = pl.read_parquet(export.paths)
    assert export.started_at == export.finished_at == day + timedelta(days=1) - timedelta(microseconds=1)
    assert rows["created_at"].max() < day + timedelta(days=1)


def test_ties_and_caps_of_the_sandbox_lose_no_row(sandbox, tmp_path):
    faults = {"timestamp_ties": {"rows": 450}, "result_cap": {"cap": 150}}
    with sandbox(faults, accounts=80) as crm:
        export = crm.export("contact", day=None, into=tmp_path)
        expected = set(pl.read_parquet(export.paths)["id"])
        read = keys(crm.rows("contact"))
    assert len(read) == len(set(read))
    assert set(read) == expected


def test_columns_that_the_sandbox_calls_otherwise_are_read_under_the_contracts_names(sandbox, expected, with_changes):
    called = {"id": "Id", "status": "phase", "converted_at": "ConvertedDate"}
    ours = {delivered: column for column, delivered in called.items()}
    manifest = with_changes(objects__lead__rename=ours)
    with sandbox() as crm:
        rows = pl.concat(crm.rows("lead"))
    with sandbox({"schema_change": {"object": "lead", "rename": called}}, using=manifest) as crm:
        renamed = told(crm.changes(None))
        assert pl.concat(crm.rows("lead")).drop("payload").equals(rows.drop("payload"))
        (wanted,) = crm._rows.by_id("lead", [rows.item(0, "entity_id")])
    assert renamed.drop("payload").equals(expected.drop("payload"))
    assert '"phase"' in renamed.filter(pl.col("object") == "lead").item(0, "payload")
    assert (wanted["operation"], wanted["entity_id"]) == ("update", rows.item(0, "entity_id"))


def test_times_without_a_zone_in_the_sandboxs_feed_are_errors(sandbox):
    with sandbox({"naive_timestamps": {"object": "activity", "field": "occurred_at"}}) as crm:
        events = told(crm.changes(None))
    broken = events.filter(pl.col("error").is_not_null())
    assert set(broken["error"]) == {"naive_timestamp: occurred_at"}
    assert set(broken["object"]) == {"activity"}
    assert broken.height > 300
