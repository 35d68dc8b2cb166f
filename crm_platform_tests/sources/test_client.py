"""The HTTP client against a server that misbehaves: retries, limits, logins, and what messages say."""

import json
import logging
from datetime import UTC, datetime

import pytest

from crm_platform.sources import GapError, connect, credentials_from, load_manifest
from crm_platform.sources.errors import (
    AnswerError,
    AuthError,
    CredentialsError,
    QuotaError,
    RefusedError,
    ThrottledError,
    TruncatedError,
    UnreachableError,
    UnsupportedError,
)
from crm_platform_tests.sources.loopback import CREDENTIALS, Reply

HEAD = "/api/v1/changes/head"
CHANGES = "/api/v1/changes"
GOOD = Reply(200, {"offset": 7, "time": "2026-03-01T00:00:00.000000Z", "earliest_offset": 1})


def test_a_passing_illness_is_outlasted(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(503), Reply(500), Reply(429), GOOD]
    assert source.head().offset == "00000000000000000007"
    assert len(misbehaving.asked(HEAD)) == 4


def test_a_lasting_illness_is_told_with_path_attempts_and_remedy(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(503)]
    with pytest.raises(UnreachableError) as caught:
        source.head()
    assert "GET /api/v1/changes/head of sandbox (attempt 4 of 4, request " in str(caught.value)
    assert "was answered 503" in str(caught.value)
    assert "run again later" in str(caught.value)
    assert len(misbehaving.asked(HEAD)) == 4


def test_a_crm_that_only_ever_says_too_often_is_told_as_such(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(429)]
    with pytest.raises(
        UnreachableError, match=r"asked more often than it allows: .* lower `requests_per_second` under `rate`"
    ):
        source.head()
    assert len(misbehaving.asked(HEAD)) == 4


def test_a_crm_that_is_not_there_is_told_with_its_place_but_without_its_login(manifest):
    told = r"no answer from http://127\.0\.0\.1:9 \(ConnectError\)"
    with (
        connect(manifest, base_url="http://me:hush@127.0.0.1:9", credentials=CREDENTIALS) as source,
        pytest.raises(UnreachableError, match=told) as caught,
    ):
        source.head()
    assert "hush" not in str(caught.value)
    assert "Check that the CRM runs" in str(caught.value)


def test_retry_after_in_seconds_is_waited_for(misbehaving, source, monkeypatch):
    misbehaving.answers[HEAD] = [Reply(429, headers={"Retry-After": "0.3"}), GOOD]
    waited = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    source.head()
    assert len(waited) == 1
    assert 0.3 <= waited[0] <= 0.4


def test_retry_after_beyond_our_patience_ends_the_attempts(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(429, headers={"Retry-After": "7200"}), GOOD]
    with pytest.raises(ThrottledError, match=r"7200 s of patience, more than the 120 s of `retry_after_max`"):
        source.head()
    assert len(misbehaving.asked(HEAD)) == 1


def test_a_request_that_is_refused_is_not_repeated(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(422), GOOD]
    with pytest.raises(RefusedError, match="was refused with 422"):
        source.head()
    assert len(misbehaving.asked(HEAD)) == 1


def test_an_answer_from_elsewhere_is_no_answer(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(302, GOOD.body, {"Location": "https://crm.example.com/"}), GOOD]
    with pytest.raises(
        RefusedError, match=r"was sent elsewhere \(302\)\. Set base_url to where the CRM answers itself"
    ):
        source.head()
    assert len(misbehaving.asked(HEAD)) == 1


def test_an_expired_token_is_renewed_once(misbehaving, source):
    misbehaving.answers["/oauth/token"] = [Reply(200, {"access_token": name, "expires_in": 3600}) for name in "ab"]
    misbehaving.answers[HEAD] = [Reply(401, {"error": "token_expired"}), GOOD]
    source.head()
    assert [call.headers["authorization"] for call in misbehaving.asked(HEAD)] == ["Bearer a", "Bearer b"]


def test_a_token_that_is_refused_again_is_an_error_of_the_login(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(401, {"error": "token_expired"})]
    told = r"the token has expired, or .* Renew CRM_SANDBOX_CLIENT_ID, CRM_SANDBOX_CLIENT_SECRET and run again"
    with pytest.raises(AuthError, match=told):
        source.head()
    assert len(misbehaving.asked(HEAD)) == 2


def test_one_token_serves_many_requests(misbehaving, source):
    misbehaving.answers[HEAD] = [GOOD]
    for _ in range(5):
        source.head()
    assert len(misbehaving.asked("/oauth/token")) == 1


def test_a_token_near_its_end_is_renewed_before_it_is_used(misbehaving, source):
    misbehaving.answers["/oauth/token"] = [Reply(200, {"access_token": "short", "expires_in": 0})]
    misbehaving.answers[HEAD] = [GOOD]
    source.head()
    source.head()
    assert len(misbehaving.asked("/oauth/token")) == 2


def test_credentials_that_are_unknown_are_told_with_the_variables_to_check(misbehaving, source):
    misbehaving.answers["/oauth/token"] = [Reply(401, {"error": "invalid_client"})]
    with pytest.raises(AuthError, match="CRM_SANDBOX_CLIENT_ID, CRM_SANDBOX_CLIENT_SECRET") as caught:
        source.head()
    assert "sandbox-secret" not in str(caught.value)


def test_an_answer_for_a_token_without_one_is_an_error(misbehaving, source):
    misbehaving.answers["/oauth/token"] = [Reply(200, {})]
    with pytest.raises(AnswerError, match="access_token"):
        source.head()


def test_a_quota_is_not_taken_for_a_wrong_login(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(403, {"error": "quota_exceeded"})]
    with pytest.raises(QuotaError, match="quota is used up"):
        source.head()
    assert len(misbehaving.asked(HEAD)) == 1
    misbehaving.answers[HEAD] = [Reply(403, {"error": "forbidden"})]
    with pytest.raises(AuthError, match="was refused with 403"):
        source.head()


def test_a_body_that_breaks_off_is_read_again(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(200, GOOD.body, cut=20), GOOD]
    assert source.head().offset == "00000000000000000007"


def test_a_body_that_always_breaks_off_is_told(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(200, GOOD.body, cut=20)]
    with pytest.raises(TruncatedError, match=r"attempt 4 of 4.*broke off before its end"):
        source.head()


def test_a_body_that_is_half_a_json_is_no_answer(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(200, b'{"offset": 7, "ti')]
    with pytest.raises(TruncatedError, match="no whole JSON"):
        source.head()


def test_a_time_without_a_zone_at_the_head_is_an_error(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(200, GOOD.body | {"time": "2026-03-01T00:00:00"})]
    with pytest.raises(
        AnswerError, match=r"'time' in the answer of /api/v1/changes/head is no ISO-8601 time with a zone"
    ):
        source.head()


def test_an_answer_without_what_the_manifest_promises_is_an_error(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(200, {"time": "2026-03-01T00:00:00Z"})]
    with pytest.raises(AnswerError, match="has no 'offset'"):
        source.head()


def test_a_range_that_is_gone_is_a_gap_with_the_place_to_resume(misbehaving, source):
    misbehaving.answers[CHANGES] = [Reply(410, {"error": "offset_expired", "earliest_offset": 500})]
    with pytest.raises(GapError, match=r"changes after offset 12 and before offset 500.*Take a snapshot") as caught:
        next(source.changes("00000000000000000012"))
    assert caught.value.after == "00000000000000000012"
    assert caught.value.resume == "00000000000000000499"


def test_an_offset_that_the_crm_never_gave_is_a_gap_and_no_silent_jump(misbehaving, source):
    misbehaving.answers[CHANGES] = [Reply(400, {"error": "offset_unknown"})]
    with pytest.raises(GapError, match="does not know offset 12"):
        next(source.changes("00000000000000000012"))


def test_every_request_carries_an_id_that_its_retries_share(misbehaving, source):
    misbehaving.answers[HEAD] = [Reply(503), GOOD]
    source.head()
    source.head()
    ids = [call.headers["x-request-id"] for call in misbehaving.asked(HEAD)]
    assert ids[0] == ids[1] != ids[2]


def test_connections_are_kept(misbehaving, source):
    misbehaving.answers[HEAD] = [GOOD]
    source.head()
    assert misbehaving.asked(HEAD)[0].headers["connection"] == "keep-alive"


def test_no_log_holds_a_secret_a_query_or_a_body(misbehaving, source, caplog, capsys):
    secret = {"token": "t0ken", "client": "sandbox-secret", "person": "ada@example.com"}
    event = {
        "offset": 1, "object": "lead", "id": "L1", "operation": "create", "event_time": "2026-03-01T00:00:00Z",
        "commit_time": "2026-03-01T00:00:00Z", "fields": {"email": secret["person"]},
    }  # fmt: skip
    page = {"events": [event], "next_offset": 1, "head_offset": 1, "watermark": "2026-03-01T00:00:00Z"}
    misbehaving.answers[CHANGES] = [Reply(503, b"ada@example.com"), Reply(200, page)]
    with caplog.at_level(logging.INFO):
        assert next(source.changes(None)).events.height == 1
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "Trying again in 0.0 s: GET /api/v1/changes of sandbox (attempt 1 of 4" in told
    assert capsys.readouterr().out == ""
    assert "GET /api/v1/changes: 200 in " in told
    assert "limit=" not in told
    for text in secret.values():
        assert text not in told


def test_missing_credentials_are_refused_before_anything_is_sent(misbehaving, manifest):
    with pytest.raises(CredentialsError, match=r"client_secret. Set CRM_SANDBOX_CLIENT_SECRET"):
        connect(manifest, base_url=misbehaving.base_url, credentials={"client_id": "x"})
    assert misbehaving.calls == []


def test_credentials_come_from_the_variables_that_the_manifest_names(manifest):
    told = {"CRM_SANDBOX_CLIENT_ID": "me", "CRM_SANDBOX_CLIENT_SECRET": "hush", "HOME": "/"}
    assert credentials_from(manifest, told) == {"client_id": "me", "client_secret": "hush"}
    assert credentials_from(manifest, {}) == {}


def test_a_base_url_that_is_none_is_refused(manifest):
    with pytest.raises(RefusedError, match="no http"):
        connect(manifest, base_url="crm.example.com", credentials=CREDENTIALS)


def test_a_recorded_source_has_no_http():
    with pytest.raises(UnsupportedError, match="recorded_log"):
        connect(load_manifest("bottlecrm"))


def test_a_static_token_goes_with_every_request_and_is_not_renewed(misbehaving, with_changes):
    manifest = with_changes(transport__auth={"kind": "bearer", "variables": {"token": "CRM_TOKEN"}})
    misbehaving.answers[HEAD] = [Reply(401, {"error": "token_expired"})]
    with (
        connect(manifest, base_url=misbehaving.base_url, credentials={"token": "fixed"}) as source,
        pytest.raises(AuthError),
    ):
        source.head()
    assert [call.headers["authorization"] for call in misbehaving.calls] == ["Bearer fixed"]


def test_the_form_for_a_token_is_that_of_client_credentials(misbehaving, source):
    misbehaving.answers[HEAD] = [GOOD]
    source.head()
    form = misbehaving.asked("/oauth/token")[0].body.decode()
    assert form == "grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret"


def test_the_head_names_the_first_offset_that_is_held(misbehaving, source):
    misbehaving.answers[HEAD] = [GOOD]
    head = source.head()
    assert head.earliest == "00000000000000000001"
    assert head.time == datetime(2026, 3, 1, tzinfo=UTC)
    assert json.loads(json.dumps(head.offset)) == "00000000000000000007"
