"""Bulk exports: jobs, parts, transfers that break off, files that are not whole."""

import io
from datetime import UTC, date, datetime

import polars as pl
import pytest

from crm_platform.sources import connect
from crm_platform.sources.errors import (
    BrokenExportError,
    ExportFailedError,
    ExportPendingError,
    TruncatedError,
    UnknownObjectError,
    UnsupportedError,
)
from crm_platform_tests.sources.loopback import CREDENTIALS, Call, Reply

JOBS, JOB, PART = "/api/v1/exports", "/api/v1/exports/e1", "/api/v1/exports/e1/parts/1"
TIMES = {"started_at": "2026-03-10T01:00:00.000000Z", "finished_at": "2026-03-10T02:00:00.000000Z"}


def parquet(rows: int) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"id": [f"A{n}" for n in range(rows)]}).write_parquet(buffer, compression="uncompressed")
    return buffer.getvalue()


def completed(rows: int) -> Reply:
    return Reply(200, {"id": "e1", "status": "completed", "rows": rows, **TIMES})


def last(body: bytes, **more) -> Reply:
    return Reply(200, body, {"X-Next-Part": "null", "ETag": '"v1"'}, **more)


@pytest.fixture
def crm(misbehaving):
    misbehaving.answers[JOBS] = [Reply(202, {"id": "e1", "status": "queued"})]
    misbehaving.answers[JOB] = [
        Reply(200, {"id": "e1", "status": "queued"}),
        Reply(200, {"id": "e1", "status": "running"}),
        completed(100),
    ]
    misbehaving.answers[PART] = [last(parquet(100))]
    return misbehaving


def ranged(body: bytes, *, cut: int, version: str = '"v1"'):
    """A part that honours Range, and breaks every first transfer of a stretch off after `cut` bytes."""

    def answer(call: Call) -> Reply:
        headers = {"X-Next-Part": "null", "ETag": version}
        asked = call.headers.get("range")
        if asked is None or call.headers.get("if-range") != version:
            return Reply(200, body, headers, cut=cut)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        span = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return Reply(206, body[start:], headers | span)

    return answer


def test_an_export_is_asked_for_awaited_and_fetched(crm, source, tmp_path):
    export = source.export("account", day=None, into=tmp_path)
    assert pl.read_parquet(export.paths).height == 100
    assert (export.object, export.format, export.complete, export.rows) == ("account", "parquet", True, 100)
    assert export.started_at == datetime(2026, 3, 10, 1, tzinfo=UTC)
    assert export.finished_at == datetime(2026, 3, 10, 2, tzinfo=UTC)
    assert crm.asked(JOBS)[0].body == b'{"object":"account","format":"parquet","as_of":null}'
    assert len(crm.asked(JOB)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["account-e1-00001.parquet"]


def test_a_dated_export_shows_the_last_moment_of_its_day(crm, source, tmp_path):
    source.export("account", day=date(2026, 3, 9), into=tmp_path)
    assert b'"as_of":"2026-03-09T23:59:59.999999Z"' in crm.asked(JOBS)[0].body


def test_a_past_day_is_refused_where_exports_cannot_be_dated(crm, with_changes, tmp_path):
    manifest = with_changes(transport__exports__dated=False)
    with (
        connect(manifest, base_url=crm.base_url, credentials=CREDENTIALS) as source,
        pytest.raises(UnsupportedError, match="no dated export"),
    ):
        source.export("account", day=date(2026, 3, 9), into=tmp_path)
    assert crm.calls == []


def test_a_transfer_that_breaks_off_is_resumed_where_it_broke(crm, source, tmp_path):
    body = parquet(100)
    crm.answers[PART] = ranged(body, cut=500)
    export = source.export("account", day=None, into=tmp_path)
    assert export.path.read_bytes() == body
    first, second = crm.asked(PART)
    assert "range" not in first.headers
    assert (second.headers["range"], second.headers["if-range"]) == ("bytes=500-", '"v1"')


def test_what_came_before_the_process_died_is_not_fetched_again(crm, source, tmp_path):
    body = parquet(100)
    crm.answers[PART] = [last(body, cut=500)]
    with pytest.raises(TruncatedError, match="broke off before its end"):
        source.export("account", day=None, into=tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".etag", ".part"]
    before = len(crm.asked(PART))
    crm.answers[PART] = ranged(body, cut=0)
    assert source.export("account", day=None, into=tmp_path).path.read_bytes() == body
    assert [call.headers["range"] for call in crm.asked(PART)[before:]] == ["bytes=500-"]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(crm, source, tmp_path):
    old, new = parquet(90), parquet(100)
    crm.answers[PART] = [last(old, cut=500), Reply(200, new, {"X-Next-Part": "null", "ETag": '"v2"'})]
    assert source.export("account", day=None, into=tmp_path).path.read_bytes() == new


def test_a_rest_of_another_version_is_not_glued_on(crm, source, tmp_path):
    body = parquet(100)
    other = Reply(206, body[500:], {"ETag": '"v2"', "Content-Range": f"bytes 500-{len(body) - 1}/{len(body)}"})
    crm.answers[PART] = [last(body, cut=500), other, last(body)]
    assert source.export("account", day=None, into=tmp_path).path.read_bytes() == body
    assert "range" not in crm.asked(PART)[2].headers


def test_a_range_beyond_the_end_means_that_all_came(crm, source, tmp_path):
    body = parquet(100)
    (tmp_path / "account-e1-00001.parquet.part").write_bytes(body)
    (tmp_path / "account-e1-00001.parquet.part.etag").write_text('"v1"')
    beyond = {"X-Next-Part": "null", "Content-Range": f"bytes */{len(body)}"}
    crm.answers[PART] = [Reply(416, b"", beyond)]
    assert source.export("account", day=None, into=tmp_path).path.read_bytes() == body


def test_a_transfer_that_never_comes_through_leaves_no_file(crm, source, tmp_path):
    crm.answers[PART] = [Reply(200, parquet(100), {"X-Next-Part": "null"}, cut=500)]
    with pytest.raises(TruncatedError, match=r"GET /api/v1/exports/e1/parts/1 of sandbox \(attempt 4 of 4"):
        source.export("account", day=None, into=tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


def test_a_parquet_without_its_end_is_fetched_again(crm, source, tmp_path):
    crm.answers[PART] = [last(parquet(100)[:-30]), last(parquet(100))]
    assert source.export("account", day=None, into=tmp_path).rows == 100


def test_a_parquet_that_is_never_whole_is_refused_and_removed(crm, source, tmp_path):
    crm.answers[PART] = [last(parquet(100)[:-30])]
    with pytest.raises(BrokenExportError, match=r"a part of the export of account, is no whole parquet file"):
        source.export("account", day=None, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_parts_that_hold_fewer_rows_than_counted_are_refused(crm, source, tmp_path):
    crm.answers[JOB] = [completed(101)]
    with pytest.raises(BrokenExportError, match="holds 100 rows, but the CRM counted 101"):
        source.export("account", day=None, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_parts_follow_the_locator_to_the_word_null(crm, source, tmp_path):
    crm.answers[JOB] = [completed(150)]
    crm.answers[PART] = [Reply(200, parquet(100), {"X-Next-Part": "2"})]
    crm.answers["/api/v1/exports/e1/parts/2"] = [Reply(200, parquet(50), {"X-Next-Part": "null"})]
    export = source.export("account", day=None, into=tmp_path)
    assert [path.name for path in export.paths] == ["account-e1-00001.parquet", "account-e1-00002.parquet"]
    assert pl.read_parquet(export.paths).height == 150


def test_a_locator_that_runs_in_a_circle_ends(crm, source, tmp_path):
    crm.answers[PART] = [Reply(200, parquet(100), {"X-Next-Part": "1"})]
    assert len(source.export("account", day=None, into=tmp_path).paths) == 1


def test_a_job_that_fails_is_made_anew(crm, source, tmp_path):
    crm.answers[JOB] = [Reply(200, {"id": "e1", "status": "failed", "error": "ada@example.com"}), completed(100)]
    assert source.export("account", day=None, into=tmp_path).rows == 100
    assert len(crm.asked(JOBS)) == 2


def test_a_finished_job_without_content_counts_as_failed(crm, source, tmp_path):
    crm.answers[PART] = [Reply(204), last(parquet(100))]
    assert source.export("account", day=None, into=tmp_path).rows == 100
    assert len(crm.asked(JOBS)) == 2


def test_jobs_that_always_fail_are_told_with_their_number(crm, source, tmp_path):
    crm.answers[JOB] = [Reply(200, {"id": "e1", "status": "failed", "error": "ada@example.com"})]
    with pytest.raises(ExportFailedError, match=r"failed to export account: 3 jobs in a row") as caught:
        source.export("account", day=None, into=tmp_path)
    assert "ada" not in str(caught.value)


def test_a_job_that_is_never_ready_is_not_waited_for_for_ever(crm, with_changes, tmp_path):
    crm.answers[JOB] = [Reply(200, {"id": "e1", "status": "running"})]
    manifest = with_changes(transport__exports__poll_total="20ms")
    with (
        connect(manifest, base_url=crm.base_url, credentials=CREDENTIALS) as source,
        pytest.raises(ExportPendingError, match="was not ready after"),
    ):
        source.export("account", day=None, into=tmp_path)


def test_an_empty_csv_has_no_rows(crm, source, tmp_path):
    crm.answers[JOB] = [completed(0)]
    crm.answers[PART] = [last(b"")]
    assert source.export("account", day=None, into=tmp_path, form="csv").rows == 0


def test_line_breaks_inside_a_csv_cell_make_no_rows(crm, source, tmp_path):
    crm.answers[JOB] = [completed(2)]
    crm.answers[PART] = [last(b'id,name\n1,"a\nb"\n2,c\n')]
    assert source.export("account", day=None, into=tmp_path, form="csv").rows == 2


def test_an_object_that_does_not_exist_is_refused_with_those_that_do(source, tmp_path):
    with pytest.raises(UnknownObjectError, match=r"no object 'deal'.*account, contact, lead"):
        source.export("deal", day=None, into=tmp_path)


def test_a_format_that_is_not_offered_is_refused(crm, with_changes, tmp_path):
    manifest = with_changes(transport__exports__formats=["csv"])
    with (
        connect(manifest, base_url=crm.base_url, credentials=CREDENTIALS) as source,
        pytest.raises(UnsupportedError, match="no export as parquet"),
    ):
        source.export("account", day=None, into=tmp_path, form="parquet")
