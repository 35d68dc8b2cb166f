"""A recorded Debezium log becomes raw changes that replay to exactly the CRM's final tables."""

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import duckdb
import polars as pl
import pytest

from crm_platform.contracts import RAW_CHANGE, contracts_in
from crm_platform.sources import LogError, load_manifest, now, recorded_log
from crm_platform.sources.errors import UnsupportedError

SAMPLES = Path(__file__).parents[2] / "data" / "samples" / "bottlecrm"
LOG = SAMPLES / "events.jsonl.gz"
TABLES = {"account": "accounts", "contact": "contacts", "lead": "lead", "opportunity": "opportunity", "task": "task"}


@pytest.fixture(scope="module")
def manifest():
    return load_manifest("bottlecrm")


@pytest.fixture(scope="module")
def log(manifest):
    return recorded_log(LOG, manifest)


@pytest.fixture(scope="module")
def events(log):
    return pl.concat([batch.events for batch in log.changes(None)])


def final(table: str) -> list[dict]:
    """The CRM's own dump: an unquoted empty cell is null, a quoted one an empty text."""
    file = str(SAMPLES / "final" / f"{table}.csv")
    return duckdb.read_csv(file, all_varchar=True, na_values="", allow_quoted_nulls=False).pl().to_dicts()


def as_dumped(value, dtype: pl.DataType) -> str | None:
    """A field of a raw change as psql writes it."""
    if value is None:
        return None
    if isinstance(dtype, pl.Boolean):
        return "t" if value else "f"
    if isinstance(dtype, pl.Datetime):
        text = value.replace("T", " ").replace("Z", "")
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text}+00"
    return str(value)


@pytest.mark.parametrize("name", TABLES)
def test_replaying_the_log_gives_the_crms_final_table(events, name):
    schema = contracts_in("crm_platform.contracts.bottlecrm")[name].schema
    living: dict[str, dict] = {}
    for row in events.filter(pl.col("object") == name).sort("source_position").iter_rows(named=True):
        if row["operation"] in ("delete", "merge"):
            living.pop(row["entity_id"])
        else:
            living[row["entity_id"]] = json.loads(row["fields"])
    expected = {row["id"]: row for row in final(TABLES[name])}
    replayed = {
        key: {column: as_dumped(row[column], schema[column]) for column in schema} for key, row in living.items()
    }
    assert replayed == expected
    assert list(next(iter(expected.values()))) == list(schema)


def test_every_change_of_the_five_tables_is_read_once_and_without_fault(events):
    assert events.schema == RAW_CHANGE
    counts = Counter(zip(events["object"], events["operation"], strict=True))
    assert counts == {
        ("account", "create"): 220, ("account", "update"): 131, ("account", "delete"): 14, ("account", "merge"): 12,
        ("contact", "create"): 281, ("contact", "update"): 183, ("contact", "delete"): 16, ("contact", "merge"): 22,
        ("lead", "create"): 200, ("lead", "update"): 312, ("lead", "delete"): 19, ("lead", "merge"): 5,
        ("opportunity", "create"): 206, ("opportunity", "update"): 315, ("opportunity", "delete"): 21,
        ("task", "create"): 199, ("task", "update"): 183, ("task", "delete"): 29,
    }  # fmt: skip
    assert events["error"].null_count() == 2368


def test_the_39_merges_have_the_losers_and_winners_that_were_asked_for(events):
    with gzip.open(SAMPLES / "ops.jsonl.gz", "rt", encoding="utf-8") as lines:
        asked = [told for line in lines if (told := json.loads(line))["op"].endswith(".merge")]
    expected = {(told["body"]["merge_id"], told["path"].split("/")[3]) for told in asked}
    merges = events.filter(pl.col("operation") == "merge")
    assert len(expected) == 39
    assert merges.height == 39
    assert set(zip(merges["entity_id"], merges["merged_into"], strict=True)) == expected


def test_a_merge_becomes_true_when_it_was_committed(events):
    first = events.filter(pl.col("operation") == "merge").row(0, named=True)
    assert first["entity_id"] == "f5cb5e8d-a6cb-4aa3-9c18-7334e7621e35"
    assert first["merged_into"] == "4d1540e7-2f69-4844-b325-30a812ce3fd0"
    assert first["event_time"] == first["processed_time"] == datetime(2026, 1, 12, 8, 0, 2, 826958, UTC)


def test_positions_sort_bytewise_in_the_order_of_the_log(events):
    positions = events["source_position"].to_list()
    assert positions == sorted(positions)
    assert len(set(positions)) == 2368
    assert positions[0] == "00000000000039633944-0000000001"


def test_the_clock_of_a_log_is_its_last_commit(manifest, log):
    head = log.head()
    assert head.offset == "00000000000000010828-4babe74f"
    assert head.time < datetime(2026, 5, 5, tzinfo=UTC)
    assert now(manifest, log) == head.time


def test_batches_follow_one_another_and_leave_nothing_out(log, events):
    batches = list(log.changes(None, limit=500))
    assert len(batches) == 5
    assert [batch.from_offset for batch in batches[1:]] == [batch.to_offset for batch in batches[:-1]]
    assert batches[0].from_offset is None
    assert batches[-1].to_offset == log.head().offset
    assert pl.concat([batch.events for batch in batches]).equals(events)


def test_a_watermark_is_never_past_what_is_still_to_come(log):
    batches = list(log.changes(None, limit=100))
    for earlier, later in pairwise(batches):
        assert earlier.watermark < later.events["processed_time"].min()
    assert batches[-1].watermark == log.head().time


def test_reading_until_a_moment_leaves_the_rest_for_the_next_time(log, events):
    noon = datetime(2026, 2, 1, 12, tzinfo=UTC)
    early = list(log.changes(None, until=noon))
    late = list(log.changes(early[-1].to_offset))
    assert early[-1].events["processed_time"].max() < noon <= late[0].events["processed_time"].min()
    assert pl.concat([batch.events for batch in [*early, *late]]).equals(events)


def test_a_batch_can_be_read_again_with_exactly_its_bounds(log):
    second = list(log.changes(None, limit=300))[1]
    again = list(log.changes(second.from_offset, upto=second.to_offset))
    assert len(again) == 1
    assert (again[0].from_offset, again[0].to_offset) == (second.from_offset, second.to_offset)
    assert again[0].events.equals(second.events)
    assert again[0].watermark == second.watermark


def test_at_its_end_a_log_yields_one_batch_without_events(log):
    head = log.head()
    (batch,) = log.changes(head.offset)
    assert batch.events.height == 0
    assert (batch.from_offset, batch.to_offset, batch.watermark) == (head.offset, head.offset, head.time)


# Small logs, written for one question each.


class Recorder:
    """Writes a log by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.lsn = 100

    def change(self, op, key, *, table="accounts", before=None, after=None, tx=1, at=1_770_000_000_000_000, order=1):
        self.lsn += 8
        source = {"ts_us": at, "lsn": self.lsn, "txId": tx, "table": table}
        transaction = {"id": f"{tx}:{self.lsn}", "total_order": order}
        value = {"before": before, "after": after, "source": source, "op": op, "transaction": transaction}
        return self.line(table, {"id": key}, value)

    def line(self, table, key, value):
        self.lines.append(json.dumps({"topic": f"crm.public.{table}", "key": key, "value": value}))
        return self

    def events(self, manifest, name="log.jsonl") -> pl.DataFrame:
        file = self.folder / name
        file.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        return pl.concat([batch.events for batch in recorded_log(file, manifest).changes(None)])


@pytest.fixture
def recorder(tmp_path):
    return Recorder(tmp_path)


def row(key="a", **fields):
    return {"id": key, "name": "Acme", "created_at": "2026-02-02T02:40:00Z", **fields}


def test_a_value_that_was_not_logged_is_carried_on_and_never_stored(recorder, manifest):
    recorder.change("u", "a", after=row(description="__debezium_unavailable_value"))
    event = recorder.events(manifest).row(0, named=True)
    assert event["changed_fields"] == ["id", "name", "created_at"]
    assert "unavailable" not in event["fields"]


def test_a_change_with_every_value_is_a_full_image(recorder, manifest):
    recorder.change("u", "a", after=row(description="short"))
    assert recorder.events(manifest)["changed_fields"].to_list() == [None]


def test_a_tombstone_after_its_delete_says_nothing_new(recorder, manifest):
    recorder.change("d", "a", before=row()).line("accounts", {"id": "a"}, None)
    assert recorder.events(manifest)["operation"].to_list() == ["delete"]


def test_a_tombstone_whose_delete_was_lost_is_kept_and_says_so(recorder, manifest):
    recorder.change("c", "b", after=row("b")).line("accounts", {"id": "a"}, None)
    event = recorder.events(manifest).row(1, named=True)
    assert (event["entity_id"], event["operation"], event["processed_time"]) == ("a", "delete", None)
    assert event["error"].startswith("orphan_tombstone")


def test_a_delete_and_an_update_of_one_table_in_one_transaction_are_a_merge(recorder, manifest):
    recorder.change("u", "w", after=row("w"), tx=7).change("d", "l", before=row("l"), tx=7)
    assert recorder.events(manifest).select("entity_id", "operation", "merged_into").rows() == [
        ("w", "update", None),
        ("l", "merge", "w"),
    ]


def test_a_delete_and_an_update_in_two_transactions_are_no_merge(recorder, manifest):
    recorder.change("u", "w", after=row("w"), tx=7).change("d", "l", before=row("l"), tx=8)
    assert recorder.events(manifest)["operation"].to_list() == ["update", "delete"]


def test_a_delete_beside_an_update_of_another_table_is_no_merge(recorder, manifest):
    recorder.change("u", "t", table="task", after={"id": "t"}, tx=7).change("d", "l", before=row("l"), tx=7)
    assert recorder.events(manifest)["operation"].to_list() == ["update", "delete"]


def test_a_delete_beside_updates_of_two_rows_is_no_merge(recorder, manifest):
    recorder.change("u", "v", after=row("v"), tx=7).change("u", "w", after=row("w"), tx=7)
    recorder.change("d", "l", before=row("l"), tx=7)
    assert recorder.events(manifest)["operation"].to_list() == ["update", "update", "delete"]


def test_all_changes_of_a_transaction_carry_its_end(recorder, manifest):
    recorder.change("u", "v", after=row("v"), tx=7, at=1_770_000_000_000_000)
    recorder.change("u", "w", after=row("w"), tx=7, at=1_770_000_000_000_009)
    end = datetime(2026, 2, 2, 2, 40, 0, 9, UTC)
    events = recorder.events(manifest)
    assert events["processed_time"].to_list() == [end, end]
    assert events["event_time"].to_list() == [end, end]


def test_a_time_without_a_zone_is_an_error_of_its_row_alone(recorder, manifest):
    recorder.change("c", "a", after=row(updated_at="2026-02-02T02:40:00.5")).change("c", "b", after=row("b"))
    assert recorder.events(manifest)["error"].to_list() == ["naive_timestamp: updated_at", None]


def test_a_time_that_is_none_is_an_error_of_its_row(recorder, manifest):
    recorder.change("c", "a", after=row(updated_at="yesterday"))
    assert recorder.events(manifest)["error"].to_list() == ["bad_timestamp: updated_at"]


def test_an_operation_that_nobody_knows_is_kept_and_says_so(recorder, manifest):
    recorder.change("x", "a", after=row())
    assert recorder.events(manifest)["error"].to_list() == ["unknown_operation: x"]


def test_a_first_read_of_a_row_is_a_snapshot(recorder, manifest):
    recorder.change("r", "a", after=row())
    assert recorder.events(manifest)["operation"].to_list() == ["snapshot"]


def test_lines_that_repeat_give_equal_changes(recorder, manifest):
    recorder.change("u", "w", after=row("w"), tx=7).change("d", "l", before=row("l"), tx=7)
    recorder.lines.append(recorder.lines[1])
    events = recorder.events(manifest)
    assert events.row(1) == events.row(2)


def test_an_earlier_commit_that_is_still_to_come_holds_the_watermark_back(recorder, manifest, tmp_path):
    recorder.change("c", "a", after=row(), tx=1, at=1_770_000_000_000_002)
    recorder.change("c", "b", after=row("b"), tx=2, at=1_770_000_000_000_001)
    recorder.events(manifest)
    batches = list(recorded_log(tmp_path / "log.jsonl", manifest).changes(None, limit=1))
    assert [batch.watermark for batch in batches] == [
        datetime(2026, 2, 2, 2, 40, 0, 0, UTC),
        datetime(2026, 2, 2, 2, 40, 0, 2, UTC),
    ]


def test_events_with_a_schema_block_are_decoded_by_it(recorder, manifest):
    fields = [
        {"field": "id", "type": "string"},
        {"field": "annual_revenue", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
         "parameters": {"scale": "2"}},
        {"field": "created_at", "type": "string", "name": "io.debezium.time.ZonedTimestamp"},
    ]  # fmt: skip
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": fields}]}
    payload = {
        "before": None,
        "after": {"id": "a", "annual_revenue": "/zI=", "created_at": "2026-02-02T02:40:00Z"},
        "source": {"ts_us": 1_770_000_000_000_000, "lsn": 5, "txId": 1},
        "op": "c",
        "transaction": None,
    }
    key = {"schema": {"type": "struct"}, "payload": {"id": "a"}}
    recorder.line("accounts", key, {"schema": schema, "payload": payload})
    event = recorder.events(manifest).row(0, named=True)
    assert (event["entity_id"], event["error"]) == ("a", None)
    assert json.loads(event["fields"])["annual_revenue"] == "-2.06"


def test_values_that_are_not_what_their_schema_says_are_an_error_of_their_row_alone(recorder, manifest):
    fields = [
        {"field": "annual_revenue", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}}
    ]
    schema = {"fields": [{"field": "after", "fields": fields}]}
    source = {"ts_us": 1_770_000_000_000_000, "lsn": 5, "txId": 1}
    for revenue in ("/zI=", "not base64", 7):
        payload = {"after": row("a", annual_revenue=revenue), "source": source, "op": "c"}
        recorder.line("accounts", {"id": "a"}, {"schema": schema, "payload": payload})
    recorder.line("accounts", {"id": "a"}, {"after": "Acme", "source": source, "op": "c"})
    assert recorder.events(manifest)["error"].to_list() == [
        None,
        "undecodable: annual_revenue",
        "undecodable: annual_revenue",
        "no_image: the envelope has no after",
    ]


def test_a_local_time_of_the_schema_block_is_an_error(recorder, manifest):
    fields = [{"field": "created_at", "type": "int64", "name": "io.debezium.time.MicroTimestamp"}]
    schema = {"fields": [{"field": "after", "fields": fields}]}
    payload = {
        "after": {"id": "a", "created_at": 1_770_000_000_000_000},
        "source": {"ts_us": 1_770_000_000_000_000, "lsn": 5, "txId": 1},
        "op": "c",
    }
    recorder.line("accounts", {"id": "a"}, {"schema": schema, "payload": payload})
    assert recorder.events(manifest)["error"].to_list() == ["naive_timestamp: created_at"]


def test_days_since_1970_become_dates_and_json_stays_text(recorder, manifest):
    recorder.change("c", "t", table="task", after={"id": "t", "due_date": 20474, "custom_fields": {"a": [1]}})
    fields = json.loads(recorder.events(manifest)["fields"][0])
    assert fields["due_date"] == "2026-01-21"
    assert fields["custom_fields"] == '{"a": [1]}'


def test_columns_of_a_log_that_are_called_otherwise_are_read_under_the_contracts_names(recorder, manifest):
    told = manifest.model_dump(mode="json")
    told["objects"]["account"]["rename"] = {"uuid": "id", "title": "name"}
    made = {"op": "c", "after": {"uuid": "a", "title": "Acme"}, "source": {"lsn": 5, "ts_us": 1_770_000_000_000_000}}
    recorder.line("accounts", {"uuid": "a"}, made)
    recorder.line("accounts", None, {"op": "d", "before": {"uuid": "a"}, "source": made["source"] | {"lsn": 6}})
    events = recorder.events(type(manifest).model_validate(told))
    assert events["entity_id"].to_list() == ["a", "a"]
    assert json.loads(events["fields"][0]) == {"id": "a", "name": "Acme"}


def test_a_plain_log_reads_like_a_compressed_one(manifest, events, tmp_path):
    plain = tmp_path / "events.jsonl"
    plain.write_bytes(gzip.decompress(LOG.read_bytes()))
    (batch,) = recorded_log(plain, manifest).changes(None)
    assert batch.events.equals(events)


def test_a_compressed_log_may_have_any_name(manifest, log, tmp_path):
    renamed = tmp_path / "events.log"
    renamed.write_bytes(LOG.read_bytes())
    assert recorded_log(renamed, manifest).head() == log.head()


def test_a_crm_with_the_systems_clock_has_the_systems_time(manifest, log):
    before = datetime.now(UTC)
    moment = now(manifest.model_copy(update={"clock": "system"}), log)
    assert before <= moment <= datetime.now(UTC)


def test_a_compressed_log_that_is_cut_off_is_refused_with_its_place(manifest, tmp_path):
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(LOG.read_bytes()[:100_000])
    with pytest.raises(LogError, match=r"cut\.jsonl\.gz, line \d+: the compressed file is cut off"):
        list(recorded_log(cut, manifest).changes(None))


def lines_of_the_log() -> list[str]:
    return gzip.decompress(LOG.read_bytes()).decode().splitlines(keepends=True)


def rewritten(folder: Path, lines: list[str]) -> Path:
    file = folder / "log.jsonl"
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_lines_that_the_recorder_counted_and_the_log_lacks_are_named(manifest, tmp_path):
    lines = lines_of_the_log()
    told = r"log\.jsonl, line 501: the recorder counts 504 here, so its lines 501 to 503 are missing"
    with pytest.raises(LogError, match=told) as caught:
        recorded_log(rewritten(tmp_path, lines[:500] + lines[503:]), manifest).head()
    assert caught.value.line == 501
    with pytest.raises(LogError, match=r"line 1: the recorder counts 2 here, so its line 1 is missing"):
        recorded_log(rewritten(tmp_path, lines[1:]), manifest).head()


def test_a_transaction_that_lacks_a_change_is_named_by_the_line_that_announces_it(manifest, tmp_path):
    told = manifest.model_dump(mode="json")
    told["transport"]["number"] = None
    uncounted = type(manifest).model_validate(told)
    lines = lines_of_the_log()
    assert '"topic":"crm.public.contacts"' in lines[1]
    file = rewritten(tmp_path, lines[:1] + lines[2:])
    with pytest.raises(LogError, match=r"line 2: the transaction that ends here has 1 changes of contact.* holds 0"):
        recorded_log(file, uncounted).head()
    told["transport"]["markers"] = None
    assert recorded_log(file, type(manifest).model_validate(told)).head().offset.startswith("00000000000000010827-")


def test_a_log_may_grow_and_repeat_lines_and_is_followed_from_where_it_stood(manifest, events, tmp_path):
    lines = lines_of_the_log()
    (first,) = recorded_log(rewritten(tmp_path, lines[:2000]), manifest).changes(None)
    (rest,) = recorded_log(rewritten(tmp_path, lines), manifest).changes(first.to_offset)
    assert pl.concat([first.events, rest.events]).equals(events)
    again = recorded_log(rewritten(tmp_path, [*lines[:2000], *lines[1990:]]), manifest)
    (repeated,) = again.changes(first.to_offset)
    assert repeated.events.tail(rest.events.height).equals(rest.events)
    assert repeated.events.height > rest.events.height


@pytest.mark.parametrize(
    ("kept", "why"),
    [(slice(0, 1000), "it ends at line 1000"), (slice(4000, 8000), "its line 2000 is another one")],
    ids=["a shorter one", "another recording"],
)
def test_a_log_that_is_not_the_one_that_was_followed_is_refused(manifest, tmp_path, kept, why):
    lines = lines_of_the_log()
    (first,) = recorded_log(rewritten(tmp_path, lines[:2000]), manifest).changes(None)
    told = manifest.model_dump(mode="json")
    told["transport"] |= {"number": None, "markers": None}
    other = recorded_log(rewritten(tmp_path, lines[kept]), type(manifest).model_validate(told))
    with pytest.raises(LogError, match=f"does not continue the log that has landed up to line 2000: {why}"):
        list(other.changes(first.to_offset))


def test_a_line_that_is_no_json_is_named(manifest, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"topic": "t", "value": null}\n{"topic": \n', encoding="utf-8")
    with pytest.raises(LogError, match=r"bad\.jsonl, line 2: no JSON") as caught:
        recorded_log(file, manifest).head()
    assert caught.value.line == 2


def test_a_log_of_other_tables_has_no_clock(manifest, tmp_path):
    file = tmp_path / "other.jsonl"
    file.write_text('{"topic": "elsewhere", "value": null}\n', encoding="utf-8")
    with pytest.raises(LogError, match="holds no event of any table"):
        recorded_log(file, manifest).head()


def test_a_log_that_is_not_there_is_refused(manifest, tmp_path):
    with pytest.raises(LogError, match=r"There is no log .*nowhere\.jsonl"):
        recorded_log(tmp_path / "nowhere.jsonl", manifest)


def test_a_crm_behind_http_has_no_recorded_log(tmp_path):
    with pytest.raises(UnsupportedError, match="debezium_log"):
        recorded_log(tmp_path / "x.jsonl", load_manifest("sandbox"))


def test_a_log_has_no_exports(log, tmp_path):
    with pytest.raises(UnsupportedError, match="Follow its changes"):
        log.export("account", day=None, into=tmp_path)
