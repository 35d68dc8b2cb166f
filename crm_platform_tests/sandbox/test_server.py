"""The server speaks its API over a real socket, and its OpenAPI document says so."""

import io
import json
import socket
from datetime import datetime, timedelta

import httpx
import jsonschema
import polars as pl
import pytest
from openapi_spec_validator import validate

from crm_platform.contracts import contracts_in
from crm_platform.sandbox import SandboxError, Truth, generated, running

HEAD = "2026-03-21T00:00:00.000000Z"
CONTRACTS = contracts_in("crm_platform.contracts.sandbox")


def test_anybody_may_ask_for_health_and_the_document_and_nobody_for_more(crm):
    with httpx.Client(base_url=crm.http.base_url) as stranger:
        assert stranger.get("/healthz").json() == {"status": "ok"}
        assert stranger.get("/openapi.json").status_code == 200
        for path in ("/api/v1/objects", "/api/v1/changes/head", "/sandbox/clock"):
            refused = stranger.get(path)
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
            assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_wrong_secret_and_another_grant_get_no_token(crm):
    form = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "guess"}
    refused = crm.http.post("/oauth/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    refused = crm.http.post("/oauth/token", data=form | {"grant_type": "password"})
    assert (refused.status_code, refused.json()["error"]) == (400, "unsupported_grant_type")
    given = crm.http.post("/oauth/token", data=form | {"client_secret": "sandbox-secret"}).json()
    assert (given["token_type"], given["expires_in"]) == ("Bearer", 3600)


def test_a_token_dies_after_its_time(serve):
    crm = serve(token_seconds=1)
    answers = [crm.get("/api/v1/objects").status_code]
    while answers[-1] == 200:
        answers.append(crm.get("/api/v1/changes/head").status_code)
    refused = crm.get("/api/v1/objects")
    assert (refused.status_code, refused.json()["error"]) == (401, "token_expired")
    crm.sign_in()
    assert crm.get("/api/v1/objects").status_code == 200


def test_objects_are_described_as_their_contracts_say(crm):
    told = {entry["name"]: entry["fields"] for entry in crm.get("/api/v1/objects").json()["objects"]}
    assert list(told) == ["account", "contact", "lead", "opportunity", "activity", "owner"]
    for of, fields in told.items():
        assert [field["name"] for field in fields] == CONTRACTS[of].columns
        assert [field["nullable"] for field in fields] == [
            CONTRACTS[of].nullable(name) for name in CONTRACTS[of].columns
        ]
    types = {field["name"]: field["type"] for field in told["opportunity"]}
    assert (types["amount"], types["created_at"], types["close_date"], types["is_closed"]) == (
        "decimal(18,2)",
        "timestamp",
        "date",
        "boolean",
    )


def test_reads_page_through_everything_that_lives_in_the_order_of_edits(crm, small):
    pages = crm.read("contact", limit=7)
    records = [record for page in pages for record in page]
    living = Truth(generated(small())).living("contact", datetime.fromisoformat(HEAD))
    assert {record["id"] for record in records} == set(living)
    assert len(records) == len(living)
    keys = [(record["modified_at"], record["id"]) for record in records]
    assert keys == sorted(keys)
    assert {len(page) for page in pages[:-1]} == {7}
    assert list(records[0]) == CONTRACTS["contact"].columns


def test_reads_filter_by_time_ids_and_any_field(crm):
    everything = [record for page in crm.read("opportunity", limit=1000) for record in page]
    since = everything[len(everything) // 2]["modified_at"]
    [late] = crm.read("opportunity", limit=1000, modified_since=since)
    assert late == [record for record in everything if record["modified_at"] >= since]
    wanted = sorted(record["id"] for record in everything[3:5])
    [some] = crm.read("opportunity", ids=f"{wanted[0]},opp-9999999,{wanted[1]}")
    assert sorted(record["id"] for record in some) == wanted
    [won] = crm.read("opportunity", limit=1000, is_closed="true", currency="EUR")
    assert won == [record for record in everything if record["is_closed"] and record["currency"] == "EUR"]
    priced = next(record for record in everything if record["amount"])
    [found] = crm.read("opportunity", amount=priced["amount"])
    assert priced in found


def test_money_is_text_and_moments_have_microseconds_and_a_zone(crm):
    [[record]] = crm.read("account", ids="acc-0000000")
    assert record["annual_revenue"].count(".") == 1
    assert len(record["annual_revenue"].split(".")[1]) == 2
    assert record["created_at"] == "2026-03-01T00:04:58.000000Z"


def test_the_bin_shows_on_demand_with_where_the_losers_went(crm, small):
    told = [record for page in crm.read("account", include_deleted="true", limit=1000) for record in page]
    dead = {record["id"]: record["merged_into"] for record in told if record["is_deleted"]}
    accounts = pl.read_parquet(generated(small()) / "account" / "*.parquet").filter(
        pl.col("_commit") <= datetime.fromisoformat(HEAD)
    )
    hard = set(accounts.filter(pl.col("_hard"))["id"])
    merged = dict(accounts.filter(pl.col("_operation") == "merge").select("id", "_merged_into").iter_rows())
    assert {loser: winner for loser, winner in dead.items() if winner}.items() <= merged.items()
    assert any(dead.values())
    assert not hard & {record["id"] for record in told}


def test_what_a_client_gets_wrong_is_said(crm):
    def refused(path: str, **params) -> tuple[int, str]:
        answer = crm.get(path, **params)
        return answer.status_code, answer.json()["error"]

    assert refused("/api/v1/objects/invoice") == (404, "unknown_object")
    assert refused("/api/v1/objects/account", colour="red") == (400, "unknown_field")
    assert refused("/api/v1/objects/account", after="nonsense") == (400, "invalid_cursor")
    assert refused("/api/v1/objects/account", modified_since="2026-03-01T00:00:00") == (400, "invalid_timestamp")
    assert refused("/api/v1/objects/account", modified_since="yesterday") == (400, "invalid_timestamp")
    assert refused("/api/v1/exports/exp-000000") == (404, "unknown_export")
    assert refused("/api/v1/changes", after=10_000_000) == (400, "offset_unknown")
    assert crm.get("/api/v1/changes", limit=0).status_code == 422
    answer = crm.http.post("/api/v1/exports", json={"object": "account", "as_of": "2027-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["error"]) == (400, "in_the_future")
    answer = crm.http.post("/api/v1/exports", json={"object": "account", "as_of": "2026-03-05T00:00:00"})
    assert answer.status_code == 422


def test_an_export_says_the_same_in_every_format(crm):
    exports = {form: crm.export("activity", form) for form in ("parquet", "csv", "jsonl")}
    rows = exports["parquet"]["rows"]
    assert {form: export["parts"] for form, export in exports.items()} == dict.fromkeys(exports, -(-rows // 500))
    assert exports["parquet"]["started_at"] == exports["parquet"]["finished_at"] == HEAD
    parquet = pl.concat([pl.read_parquet(io.BytesIO(part)) for part in crm.parts(exports["parquet"])])
    assert dict(parquet.schema) == dict(CONTRACTS["activity"].schema)
    lines = [json.loads(line) for part in crm.parts(exports["jsonl"]) for line in part.splitlines()]
    csv = pl.concat([pl.read_csv(io.BytesIO(part), infer_schema=False) for part in crm.parts(exports["csv"])])
    assert (parquet.height, len(lines), csv.height) == (rows, rows, rows)
    assert csv.columns == parquet.columns == list(lines[0])
    [page] = ([record for page in crm.read("activity", ids=lines[7]["id"]) for record in page],)
    assert page == [lines[7]]
    assert {name: None if value is None else str(value) for name, value in lines[7].items()} == csv.row(7, named=True)
    assert str(parquet["amount"].drop_nulls()[0]) in {line["amount"] for line in lines}


def test_lists_are_json_in_csv(crm):
    [content] = crm.parts(crm.export("contact", "csv"))
    merged = pl.read_csv(content, infer_schema=False)["merged_ids"].drop_nulls()
    assert merged.len() > 0
    assert all(len(json.loads(ids)) >= 2 for ids in merged)


def test_an_empty_export_has_one_empty_part(crm):
    export = crm.export("lead", as_of="2026-02-01T00:00:00Z")
    [content] = crm.parts(export)
    assert (export["rows"], export["parts"]) == (0, 1)
    assert dict(pl.read_parquet(content).schema) == dict(CONTRACTS["lead"].schema)


def test_a_part_can_be_fetched_piece_by_piece(crm):
    export = crm.export("lead")
    path = f"/api/v1/exports/{export['id']}/parts/1"
    whole = crm.get(path)
    assert int(whole.headers["Content-Length"]) == len(whole.content)
    pieces = [
        crm.http.get(path, headers={"Range": f"bytes={start}-{start + 9999}"})
        for start in range(0, len(whole.content), 10_000)
    ]
    assert {piece.status_code for piece in pieces} == {206}
    assert {piece.headers["ETag"] for piece in pieces} == {whole.headers["ETag"]}
    assert b"".join(piece.content for piece in pieces) == whole.content
    assert crm.http.get(path, headers={"Range": "bytes=99999999-"}).status_code == 416
    assert crm.get(f"/api/v1/exports/{export['id']}/parts/99").json()["error"] == "unknown_part"


def test_the_feed_is_one_line_of_offsets_whatever_the_page(crm):
    events = crm.events(limit=137)
    assert [event["offset"] for event in events] == list(range(1, len(events) + 1))
    assert events == crm.events(limit=10_000)
    assert crm.get("/api/v1/changes/head").json() == {"offset": len(events), "time": HEAD, "earliest_offset": 1}
    assert crm.events(after=len(events) - 3) == events[-3:]
    commits = [event["commit_time"] for event in events]
    assert commits == sorted(commits)


def test_a_watermark_never_promises_half_a_transaction(crm):
    after, marks = 0, []
    events = crm.events()
    while after < len(events):
        page = crm.get("/api/v1/changes", after=after, limit=25).json()
        after = page["next_offset"]
        marks.append(page["watermark"])
        assert all(event["commit_time"] > page["watermark"] for event in events[after:])
    assert marks == sorted(marks)
    assert marks[-1] == HEAD
    assert marks[1] < events[50]["commit_time"]  # the import's first transaction is longer than two pages


def test_events_carry_full_images_partial_updates_and_bare_tombstones(crm):
    events = crm.events()
    by_operation = {event["operation"]: event for event in events}
    assert set(by_operation) == {"create", "update", "delete", "undelete", "merge"}
    for event in events:
        contract = CONTRACTS[event["object"]]
        if event["operation"] in {"create", "undelete"}:
            assert (list(event["fields"]), event["changed_fields"]) == (contract.columns, None)
        elif event["operation"] == "update":
            assert list(event["fields"]) == event["changed_fields"]
            assert event["fields"]["modified_at"] == event["event_time"]
        else:
            assert (event["fields"], event["changed_fields"]) == ({}, None)
        assert (event["merged_into"] is not None) == (event["operation"] == "merge")
    conversion = next(event for event in events if event["fields"].get("status") == "converted")
    together = [event for event in events if event["transaction"]["id"] == conversion["transaction"]["id"]]
    assert [event["object"] for event in together][-3:] == ["contact", "opportunity", "lead"]
    assert [event["transaction"]["order"] for event in together][-3:] == [2, 3, 4]
    assert len({event["commit_time"] for event in together}) == 1


def test_the_feed_forgets_and_says_from_where_it_still_knows(serve):
    crm = serve(retention_days=5)
    head = crm.get("/api/v1/changes/head").json()
    earliest = head["earliest_offset"]
    expired = crm.get("/api/v1/changes", after=earliest - 2)
    assert (expired.status_code, expired.json()["error"], expired.json()["earliest_offset"]) == (
        410,
        "offset_expired",
        earliest,
    )
    kept = crm.events(after=earliest - 1)
    assert kept[0]["offset"] == earliest
    assert kept[0]["commit_time"] > "2026-03-16T00:00:00.000000Z"
    assert crm.events() == kept
    assert crm.get("/api/v1/changes", after=0).status_code == 410


def test_the_clock_goes_forward_and_shows_more(serve):
    crm = serve()
    before = crm.get("/api/v1/changes/head").json()
    moved = crm.http.post("/sandbox/clock", json={"head": "2026-03-23T12:00:00Z"})
    assert moved.json() == {"head": "2026-03-23T12:00:00Z"}
    after = crm.get("/api/v1/changes/head").json()
    assert after["time"] == "2026-03-23T12:00:00.000000Z"
    fresh = crm.events(after=before["offset"])
    assert after["offset"] == before["offset"] + len(fresh)
    assert len(fresh) > 50
    assert all("2026-03-21T00:00:00" <= event["commit_time"] <= "2026-03-23T12:00:00.000000Z" for event in fresh)
    for refused in ("2026-03-22T00:00:00Z", "2027-01-01T00:00:00Z"):
        answer = crm.http.post("/sandbox/clock", json={"head": refused})
        assert (answer.status_code, answer.json()["error"]) == (409, "clock_refused")


def test_the_clock_can_run_and_stops_at_the_end_of_the_simulation(serve):
    crm = serve(speed=1_000_000_000, head="2026-03-20T00:00:00Z")
    times = {crm.get("/sandbox/clock").json()["head"] for _ in range(50)}
    assert "2026-03-26T00:00:00Z" in times


def test_limits_are_told_and_kept(serve):
    crm = serve(rate_limit=5)
    answers = [crm.get("/api/v1/changes/head") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 429, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0", "0"]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"5"}
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].headers["Retry-After"] == answers[-1].headers["X-RateLimit-Reset"]


def test_the_daily_quota_is_no_matter_of_authorization(serve):
    crm = serve(daily_quota=2)
    answers = [crm.get("/api/v1/changes/head") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[-1].json()["error"] == "quota_exceeded"


def test_the_openapi_document_is_valid_and_true(crm):
    document = crm.http.get("/openapi.json").json()
    validate(document)
    export = crm.export("owner")
    calls = {
        "/healthz": {},
        "/api/v1/objects": {},
        "/api/v1/objects/{object_name}": {"object_name": "contact", "limit": 500},
        "/api/v1/exports/{export}": {"export": export["id"]},
        "/api/v1/changes": {"after": 0, "limit": 2000},
        "/api/v1/changes/head": {},
        "/sandbox/clock": {},
    }
    for template, params in calls.items():
        path = template.format(**params)
        answer = crm.get(path, **{name: value for name, value in params.items() if f"{{{name}}}" not in template})
        told = document["paths"][template]["get"]["responses"][str(answer.status_code)]
        schema = told["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())
        if path != "/healthz":
            assert {name.lower() for name in told["headers"]} <= set(answer.headers)
    refused = crm.get("/api/v1/objects/invoice")
    told = document["paths"]["/api/v1/objects/{object_name}"]["get"]["responses"]["404"]
    schema = told["content"]["application/json"]["schema"] | {"components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(refused.json())
    part = document["paths"]["/api/v1/exports/{export}/parts/{part}"]["get"]["responses"]
    assert crm.get(f"/api/v1/exports/{export['id']}/parts/1").headers["Content-Type"] in part["200"]["content"]
    assert set(part) >= {"200", "204", "206", "401", "403", "404", "409", "416", "429", "500", "503"}
    assert document["components"]["securitySchemes"]["OAuth2"]["flows"] == {
        "clientCredentials": {"scopes": {}, "tokenUrl": "/oauth/token"}
    }


def test_a_port_that_is_taken_is_named(small):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=rf"cannot listen on 127\.0\.0\.1:{port}"), running(small(), port=port):
            pass


def test_a_head_may_lie_anywhere_in_the_simulation(serve, small):
    head = small().opening_head - timedelta(days=9, hours=7)
    crm = serve(head=head)
    assert crm.get("/api/v1/changes/head").json()["time"] == "2026-03-11T17:00:00.000000Z"
    assert max(event["commit_time"] for event in crm.events()) <= "2026-03-11T17:00:00.000000Z"
