"""Each fault, switched on by its name, shows what it is named for, and nothing else changes."""

import io
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import polars as pl
import pytest

from crm_platform.sandbox import Faults, SandboxConfig, Truth, generated

HEAD = "2026-03-21T00:00:00.000000Z"


def test_every_fault_explains_itself_and_its_parameters():
    faults = {name: field.annotation.__args__[0] for name, field in Faults.model_fields.items()}
    assert len(faults) == 16
    for fault in faults.values():
        assert fault.__doc__.endswith(".")
        assert all(field.description for field in fault.model_fields.values())


def test_faults_are_named_alone_together_or_with_parameters():
    assert SandboxConfig(faults="late_commits").faults.late_commits.lag_seconds == 900
    both = SandboxConfig(faults=["late_commits", "result_cap"]).faults
    assert (both.late_commits.share, both.result_cap.cap) == (0.02, 10_000)
    assert SandboxConfig(faults={"result_cap": {"cap": 5}, "gap_events": True}).faults.result_cap.cap == 5
    assert SandboxConfig().faults == Faults()


def test_late_commits_show_up_behind_the_watermark(serve):
    crm = serve(faults={"late_commits": {"share": 0.2, "lag_seconds": 3600}}, head="2026-03-17T12:00:00Z")
    before = crm.get("/api/v1/changes/head").json()
    known = {event["offset"] for event in crm.events()}
    crm.http.post("/sandbox/clock", json={"head": "2026-03-17T18:00:00Z"})
    fresh = crm.events(after=before["offset"])
    late = [event for event in fresh if event["commit_time"] <= before["time"]]
    assert late
    assert all(event["commit_time"] > "2026-03-17T11:00:00" for event in late)
    assert [event["offset"] for event in fresh] == list(range(max(known) + 1, max(known) + 1 + len(fresh)))
    commits = [event["commit_time"] for event in fresh]
    assert commits != sorted(commits)
    [page] = crm.read(late[0]["object"], ids=late[0]["id"], include_deleted="true")
    assert page


def test_late_commits_come_with_their_whole_transaction(small):
    rows = pl.read_parquet(generated(small(faults="late_commits")) / "contact" / "*.parquet")
    assert rows.group_by("_txn").agg(pl.col("_visible").n_unique()).get_column("_visible").max() == 1
    assert set((rows["_visible"] - rows["_commit"]).dt.total_seconds().unique()) == {0, 900}


def test_timestamp_ties_do_not_fit_a_page_and_paging_survives_them(serve):
    crm = serve(faults="timestamp_ties")
    pages = crm.read("contact", limit=40)
    tied = [record for page in pages for record in page if record["modified_at"] == "2026-03-11T22:00:00.000000Z"]
    assert len(tied) > 80
    everything = [record["id"] for page in pages for record in page]
    assert len(everything) == len(set(everything))
    assert {record["id"] for record in tied} <= set(everything)


def test_a_lagging_search_misses_what_a_read_by_id_finds(serve):
    crm = serve(faults="lagging_search")
    newest = max((event for event in crm.events() if event["operation"] == "create"), key=lambda event: event["offset"])
    moment = datetime.fromisoformat(newest["commit_time"])
    crm = serve(faults="lagging_search", head=moment)
    [by_id] = crm.read(newest["object"], ids=newest["id"])
    assert [record["id"] for record in by_id] == [newest["id"]]
    found = [record["id"] for page in crm.read(newest["object"], limit=1000) for record in page]
    assert newest["id"] not in found
    assert len(found) > 10


def test_a_result_cap_ends_paging_without_a_word(serve):
    crm = serve(faults={"result_cap": {"cap": 150}})
    pages = crm.read("activity", limit=100)
    assert [len(page) for page in pages] == [100, 50]
    last = pages[-1][-1]["modified_at"]
    [rest] = crm.read("activity", limit=100, modified_since=last)[:1]
    assert rest[0]["modified_at"] == last
    assert len(rest) == 100


def test_a_null_locator_hides_the_number_of_parts_and_fails_first(serve):
    crm = serve(faults="null_locator", export_part_rows=300)
    failed = crm.export("activity")
    assert (failed["status"], failed["parts"], failed["rows"]) == ("failed", None, None)
    assert failed["error"] == "The export was aborted by the server. Ask for it again."
    answer = crm.get(f"/api/v1/exports/{failed['id']}/parts/1")
    assert (answer.status_code, answer.content) == (204, b"")
    export = crm.export("activity")
    assert (export["status"], export["parts"]) == ("completed", None)
    parts = crm.parts(export)
    assert len(parts) > 1
    assert sum(pl.read_parquet(io.BytesIO(part)).height for part in parts) == export["rows"]


def test_gap_events_carry_no_data_and_name_what_to_read_again(serve):
    crm = serve(faults={"gap_events": {"share": 0.05, "overflow_every": 100}})
    events = crm.events()
    gaps = [event for event in events if event["operation"] == "gap"]
    assert gaps
    assert all((event["id"], event["fields"], event["changed_fields"]) == (None, {}, None) for event in gaps)
    assert all(event["ids"] for event in gaps)
    overflows = [event for event in events if event["operation"] == "overflow"]
    assert [event["offset"] % 100 for event in overflows] == [0] * len(overflows)
    assert {(event["id"], event["ids"]) for event in overflows} == {(None, None)}
    assert len(overflows) > 5


def test_one_event_names_several_entities(serve):
    quiet, loud = serve(faults="timestamp_ties"), serve(faults=["timestamp_ties", "gap_events"])
    several = [event for event in loud.events() if event["ids"] and event["operation"] == "update"]
    assert several
    plain = {event["offset"]: event for event in quiet.events()}
    for event in several:
        assert event["id"] is None
        assert len(event["ids"]) > 1
        assert plain[event["offset"]]["fields"] == event["fields"]
        first = event["offset"] - len(event["ids"]) + 1
        assert [plain[offset]["id"] for offset in range(first, event["offset"] + 1)] == event["ids"]


def test_merges_by_a_third_id_close_the_old_ones_in_silence(serve, small):
    fault = {"merge_styles": {"more": 30}}
    crm = serve(faults=fault)
    events = crm.events()
    born = [event for event in events if event["object"] == "contact" and event["fields"].get("merged_ids")]
    losers = {loser for event in born for loser in event["fields"]["merged_ids"]}
    assert len(born) >= 5
    assert max(len(event["fields"]["merged_ids"]) for event in born) > 2
    told = {event["id"] for event in events if event["operation"] == "delete"}
    assert not losers & told
    [answer] = crm.read("contact", ids=next(iter(born[-1]["fields"]["merged_ids"])))
    assert [record["id"] for record in answer] == [born[-1]["id"]]
    assert any(event["merged_into"] for event in events if event["object"] == "account")
    truth = Truth(generated(small(faults=fault)))
    end = datetime(2026, 3, 21, tzinfo=UTC)
    assert all(truth.known("contact", loser, end).is_deleted for loser in losers)


def test_hidden_deletes_show_only_in_a_snapshot(serve, small):
    crm = serve(accounts=200, faults="hidden_deletes")
    events = crm.events()
    activities = pl.read_parquet(generated(small(accounts=200, faults="hidden_deletes")) / "activity" / "*.parquet")
    gone = set(activities.filter(pl.col("_hard") & (pl.col("_commit") <= datetime.fromisoformat(HEAD)))["id"])
    assert len(gone) > 1
    deleted = {event["id"] for event in events if event["operation"] == "delete"}
    assert not gone & deleted
    living = [record["id"] for page in crm.read("activity", limit=1000) for record in page]
    assert not gone & set(living)
    created = {event["id"] for event in events if event["operation"] == "create"}
    unseen = {event["id"] for event in events if event["object"] == "activity"} - created
    assert len(unseen) > 20
    assert {event["operation"] for event in events if event["id"] in unseen} == {"delete"}


def test_negative_amounts_start_on_their_day(serve):
    crm = serve(accounts=200, faults={"negative_amount": {"day": 8, "share": 1}})
    negative = [event for event in crm.events() if (event["fields"].get("amount") or "").startswith("-")]
    assert negative
    assert {event["object"] for event in negative} == {"opportunity"}
    assert min(event["commit_time"] for event in negative) > "2026-03-09"


@pytest.mark.parametrize("style", ["seconds", "date"])
def test_a_rate_limit_says_how_long_to_wait(serve, style):
    crm = serve(faults={"rate_limited": {"every": 3, "retry_after": 2, "style": style}})
    answers = [crm.get("/api/v1/changes/head") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200, 429]
    told = answers[2].headers["Retry-After"]
    if style == "seconds":
        assert told == "2"
    else:
        wait = parsedate_to_datetime(told) - parsedate_to_datetime(answers[2].headers.get("Date", told))
        assert told.endswith("GMT")
        assert 0 <= wait.total_seconds() <= 4


def test_a_quota_is_403_and_no_new_token_helps(serve):
    crm = serve(faults={"quota_403": {"calls": 3}})
    answers = [crm.get("/api/v1/changes/head") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 403]
    crm.sign_in()
    assert crm.get("/api/v1/changes/head").json()["error"] == "quota_exceeded"


def test_server_errors_come_in_bursts(serve):
    crm = serve(faults={"server_errors": {"every": 4, "burst": 2, "status": 502}})
    assert [crm.get("/api/v1/changes/head").status_code for _ in range(12)] == [200, 200, 200, 502, 502, 200] * 2


def test_a_truncated_body_breaks_off_and_resumes(serve):
    crm = serve(faults="truncated_bodies")
    export = crm.export("activity")
    path = f"/api/v1/exports/{export['id']}/parts/1"
    pieces = []
    with crm.http.stream("GET", path) as answer, pytest.raises(httpx.RemoteProtocolError, match="complete message"):
        pieces.extend(answer.iter_raw())
    held = b"".join(pieces)
    total = int(answer.headers["Content-Length"])
    assert len(held) == total // 2
    rest = crm.http.get(path, headers={"Range": f"bytes={len(held)}-", "If-Range": answer.headers["ETag"]})
    assert rest.status_code == 206
    assert pl.read_parquet(io.BytesIO(held + rest.content)).height == export["rows"]


def test_a_token_expires_in_the_middle_of_things(serve):
    crm = serve(faults={"token_expiry": {"calls": 2}})
    answers = [crm.get("/api/v1/changes/head") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert answers[-1].json()["error"] == "token_expired"
    crm.sign_in()
    assert crm.get("/api/v1/changes/head").status_code == 200


CHANGED = {
    "object": "opportunity",
    "day": "2026-03-12",
    "rename": {"amount": "deal_amount"},
    "add": {"territory": "emea"},
    "remove": ["probability"],
    "retype": ["is_closed", "created_at"],
}


def test_a_schema_change_shows_from_its_day_on(serve):
    crm = serve(accounts=200, faults={"schema_change": CHANGED})
    before = pl.read_parquet(crm.parts(crm.export("opportunity", as_of="2026-03-11T23:59:59Z"))[0])
    after = pl.read_parquet(crm.parts(crm.export("opportunity", as_of="2026-03-12T00:00:00Z"))[0])
    assert {"amount", "probability"} <= set(before.columns)
    assert {"deal_amount", "territory"} <= set(after.columns)
    assert not {"amount", "probability"} & set(after.columns)
    assert (before.schema["is_closed"], after.schema["is_closed"]) == (pl.Boolean, pl.String)
    assert after.schema["created_at"] == pl.String
    events = [event for event in crm.events() if event["object"] == "opportunity"]
    for event in events:
        changed = event["commit_time"] >= "2026-03-12"
        assert ("amount" in event["fields"]) <= (not changed)
        assert ("deal_amount" in event["fields"]) <= changed
        assert event["changed_fields"] is None or list(event["fields"]) == event["changed_fields"]
    assert any("deal_amount" in (event["changed_fields"] or ()) for event in events)
    described = {entry["name"]: entry["fields"] for entry in crm.get("/api/v1/objects").json()["objects"]}
    types = {field["name"]: field["type"] for field in described["opportunity"]}
    assert (types["deal_amount"], types["is_closed"], types["territory"]) == ("decimal(18,2)", "text", "text")
    [record, *_] = crm.read("opportunity", limit=1000)[0]
    assert (record["territory"], "amount" in record) == ("emea", False)
    assert crm.read("opportunity", deal_amount=record["deal_amount"])[0]


def test_a_schema_changes_between_two_pages_and_two_parts(serve):
    fault = {"object": "activity", "rename": {"subject": "title"}, "between_pages": True}
    crm = serve(faults={"schema_change": fault}, export_part_rows=400)
    first, second, *_ = crm.read("activity", limit=200)
    assert ("subject" in first[0], "title" in first[0]) == (True, False)
    assert ("subject" in second[0], "title" in second[0]) == (False, True)
    parts = [pl.read_parquet(io.BytesIO(part)).columns for part in crm.parts(crm.export("activity"))]
    assert ["subject" in columns for columns in parts] == [True, *[False] * (len(parts) - 1)]


def test_naive_timestamps_lose_their_zone_from_a_day_on(serve):
    crm = serve(faults={"naive_timestamps": {"object": "activity", "field": "occurred_at", "day": "2026-03-12"}})
    told = [event for event in crm.events() if event["object"] == "activity" and "occurred_at" in event["fields"]]
    zoned = {event["fields"]["occurred_at"].endswith("Z"): event["commit_time"] for event in told}
    assert set(zoned) == {True, False}
    assert all(event["fields"]["occurred_at"].endswith("Z") == (event["commit_time"] < "2026-03-12") for event in told)
    frame = pl.read_parquet(crm.parts(crm.export("activity"))[0])
    assert frame.schema["occurred_at"] == pl.Datetime("us")
    assert frame.schema["created_at"] == pl.Datetime("us", "UTC")
    line = json.loads(crm.parts(crm.export("activity", "jsonl"))[0].splitlines()[0])
    assert not line["occurred_at"].endswith("Z")
