"""Bulk exports of a sandbox CRM and files of every format: landed once, kept when they drift, refused when it is too late."""

import json
import threading
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from crm_platform.contracts import Contract, Moment, Money, ObjectModel, Text, TextList, field
from crm_platform.lake import Lake, fingerprint, forget_lost
from crm_platform.landing import (
    DriftError,
    ExportUnreadableError,
    SnapshotRefusedError,
    kept_days,
    land_snapshot,
    release_quarantined,
    skip_snapshot,
)
from crm_platform.landing.exports import parts_of, snapshot_rows
from crm_platform.landing.quarantine import Arrival
from crm_platform.quality.differences import drift_of
from crm_platform.sources import ExportFile, load_manifest
from crm_platform.sources.exports import row_count
from crm_platform_tests.landing.conftest import REAL, small_sandbox

DAY = date(2026, 3, 4)
START, END = datetime(2026, 3, 4, 10, tzinfo=UTC), datetime(2026, 3, 4, 10, 5, tzinfo=UTC)
TABLE = "landing/snapshot/deal"


class Deal(ObjectModel):
    """A small object with one column of every awkward type."""

    id: Text = field("Key.", key=True)
    name: Text = field("Name.")
    amount: Money = field("Amount.", nullable=True, ge=Decimal(0))
    seats: int = field("Seats.", nullable=True)
    edited_at: Moment = field("Edited.", nullable=True)
    closes: pl.Date = field("Closes.", nullable=True)
    old_ids: TextList = field("Old ids.", nullable=True)


DEAL = Contract("test", "deal", Deal)
GOOD = pl.DataFrame(
    {
        "id": ["d1", "d2"],
        "name": ["One", "Tw\"o,\n'"],
        "amount": pl.Series([Decimal("10.10"), None], dtype=pl.Decimal(18, 2)),
        "seats": [3, None],
        "edited_at": pl.Series([START, None], dtype=pl.Datetime("us", "UTC")),
        "closes": [date(2026, 4, 1), None],
        "old_ids": pl.Series([["a", "b"], None], dtype=pl.List(pl.String)),
    }
)


@dataclass
class Exporting:
    """A CRM without a feed that exports frames to files, as often as it is asked."""

    frames: list[pl.DataFrame]
    started_at: datetime = START
    finished_at: datetime = END
    asked: int = 0

    def export(self, object_name, *, day, into):  # noqa: ARG002  a source's signature
        self.asked += 1
        paths = [into / f"{object_name}-{n}.parquet" for n in range(len(self.frames))]
        for frame, path in zip(self.frames, paths, strict=True):
            frame.write_parquet(path)
        rows = sum(frame.height for frame in self.frames)
        return ExportFile(paths, "parquet", object_name, self.started_at, self.finished_at, complete=True, rows=rows)


def manifest_with_deals(*, dated=True, **rename):
    """The sandbox's manifest with one more object, perhaps without exports of past days."""
    manifest = load_manifest("sandbox")
    told = manifest.model_dump(mode="json")
    told["transport"]["exports"]["dated"] = dated
    told["objects"]["deal"] = {"table": "deal", "kind": "other", "key": "id", "rename": rename}
    return type(manifest).model_validate(told)


@pytest.fixture
def undated():
    """A manifest whose exports show the present only."""
    return manifest_with_deals(dated=False)


@pytest.fixture
def dated():
    """A manifest whose exports can show a past day."""
    return manifest_with_deals()


def take(lake, source, manifest, *, day=DAY, now=END, contract=DEAL):
    return land_snapshot(
        lake, source, manifest, contract, day, drift=drift_of(contract), clock=lambda: now, ingested_at=lambda: REAL
    )


def split(frame: pl.DataFrame, tmp_path, form="parquet", **rename):
    path = tmp_path / f"part.{form}"
    if form == "parquet":
        frame.write_parquet(path)
    export = ExportFile([path], form, "deal", START, END, complete=True, rows=None)
    return snapshot_rows(
        parts_of(export, manifest_with_deals(**rename)), DEAL, export, Arrival("b", "snapshot", END, REAL)
    )


def test_a_live_export_lands_under_the_day_on_which_it_ends(lake, undated):
    source = Exporting([GOOD], finished_at=datetime(2026, 3, 5, 0, 1, tzinfo=UTC))
    report = take(lake, source, undated)
    assert (report.day, report.status, report.rows, report.refused) == (date(2026, 3, 5), "landed", 2, 0)
    assert lake.days(TABLE) == [date(2026, 3, 5)]
    rows = lake.scan(TABLE, schema=DEAL.snapshot_schema).sort("id").collect()
    assert rows.select(GOOD.columns).equals(GOOD)
    assert rows.row(0, named=True) | dict.fromkeys(GOOD.columns) == dict.fromkeys(GOOD.columns) | {
        "entity_id": "d1",
        "_extra": None,
        "started_at": START,
        "finished_at": datetime(2026, 3, 5, 0, 1, tzinfo=UTC),
        "snapshot_date": date(2026, 3, 5),
        "_complete": True,
        "_batch_id": "snapshot-deal-2026-03-05",
        "_ingested_at": REAL,
    }


def test_a_landed_day_is_found_again_and_nothing_is_asked_of_the_crm(lake, undated):
    source = Exporting([GOOD])
    take(lake, source, undated)
    again = take(lake, source, undated)
    assert (again.status, again.landed, again.rows, again.started_at) == ("present", True, 2, START)
    assert (source.asked, lake.version(TABLE)) == (1, 0)
    late = take(lake, source, undated, now=END + timedelta(days=9))
    assert late.status == "present"


def test_a_past_day_that_was_never_taken_is_refused_unless_exports_can_be_dated(lake, undated, dated):
    source = Exporting([GOOD])
    with pytest.raises(SnapshotRefusedError, match=r"No snapshot of deal was taken on 2026-03-04"):
        take(lake, source, undated, now=END + timedelta(days=1))
    assert source.asked == 0
    take(lake, source, dated, now=END + timedelta(days=1))
    assert lake.days(TABLE) == [DAY]


def test_a_dated_export_of_another_day_is_refused(lake, dated):
    with pytest.raises(SnapshotRefusedError, match="2026-03-02 says that it shows 2026-03-04 10:05 UTC"):
        take(lake, Exporting([GOOD]), dated, day=date(2026, 3, 2))
    assert lake.exists(TABLE) is False


def test_a_day_beyond_the_sources_clock_is_no_snapshot_yet(lake, undated):
    report = take(lake, Exporting([GOOD]), undated, day=date(2026, 3, 9))
    assert (report.status, report.landed) == ("beyond", False)


def test_a_live_export_that_ends_on_a_landed_day_changes_nothing(lake, undated):
    take(lake, Exporting([GOOD]), undated)
    slow = Exporting([GOOD.head(1)])
    report = take(lake, slow, undated, day=date(2026, 3, 3), now=datetime(2026, 3, 3, 23, 59, tzinfo=UTC))
    assert (report.day, report.status, report.rows, slow.asked) == (DAY, "present", 2, 1)
    assert lake.version(TABLE) == 0


def test_compatible_drift_lands_and_keeps_what_the_contract_does_not_know(lake, undated):
    report = take(lake, Exporting([GOOD.with_columns(region=pl.lit("north"))]), undated)
    assert [str(difference) for difference in report.differences] == [
        "region added: expected no such column, found String"
    ]
    assert report.unknown == {"region": 2}
    assert lake.scan(TABLE).select("_extra").unique().collect().item() == '{"region":"north"}'


def test_an_incompatible_export_lands_nothing_and_its_file_is_kept_with_its_times(lake, undated):
    source = Exporting([GOOD.rename({"amount": "value"})])
    with pytest.raises(
        DriftError, match=r"The export of deal for 2026-03-04 does not fit its contract: amount"
    ) as drifted:
        take(lake, source, undated)
    assert (drifted.value.object, drifted.value.day) == ("deal", DAY)
    assert lake.tables() == []
    assert kept_days(lake, "deal") == [DAY]
    told = json.loads((drifted.value.kept / "export.json").read_text())
    assert (told["started_at"], told["finished_at"]) == (START.isoformat(), END.isoformat())
    with pytest.raises(DriftError):
        take(lake, source, undated, now=END + timedelta(days=3))
    assert source.asked == 1


def test_a_kept_file_lands_with_its_own_times_once_the_contract_fits_it(lake, undated):
    with pytest.raises(DriftError):
        take(lake, Exporting([GOOD.drop("amount")]), undated)
    source = Exporting([])
    fewer = Contract("test", "deal", _without_amount())
    report = take(lake, source, undated, now=END + timedelta(days=30), contract=fewer)
    assert (report.status, report.rows, report.finished_at, source.asked) == ("landed", 2, END, 0)
    assert kept_days(lake, "deal") == []


def test_a_dated_re_export_replaces_a_kept_file(lake, dated):
    with pytest.raises(DriftError):
        take(lake, Exporting([GOOD.drop("amount")]), dated)
    mended = Exporting([GOOD], finished_at=END + timedelta(hours=1))
    report = take(lake, mended, dated, now=END + timedelta(days=2))
    assert (report.status, report.finished_at) == ("landed", END + timedelta(hours=1))
    assert kept_days(lake, "deal") == []


def test_a_skipped_day_goes_without_a_snapshot(lake, undated):
    source = Exporting([GOOD.drop("amount")])
    with pytest.raises(DriftError):
        take(lake, source, undated)
    skip_snapshot(lake, "deal", DAY)
    report = take(lake, source, undated)
    assert (report.status, report.landed, source.asked, kept_days(lake, "deal")) == ("skipped", False, 1, [])


def test_a_schema_that_changes_between_two_parts_is_drift(lake, undated):
    second = GOOD.with_columns(id=pl.Series(["d3", "d4"])).rename({"amount": "value"})
    with pytest.raises(DriftError, match="amount"):
        take(lake, Exporting([GOOD, second]), undated)


def test_a_truncated_file_lands_nothing_and_is_named(lake, undated):
    class Truncating(Exporting):
        def export(self, object_name, *, day, into):
            export = super().export(object_name, day=day, into=into)
            export.path.write_bytes(export.path.read_bytes()[:-200])
            return export

    with pytest.raises(ExportUnreadableError, match=r"export of deal in deal-0.parquet cannot be read: ComputeError"):
        take(lake, Truncating([GOOD]), undated)
    assert lake.tables() == []


@pytest.mark.parametrize(
    ("column", "values", "rule"),
    [
        ("amount", pl.Series(["10.10", "1.005"]), "type: amount"),
        ("amount", pl.Series([Decimal("10.100"), Decimal("1.005")], dtype=pl.Decimal(18, 3)), "type: amount"),
        ("amount", pl.Series([10.1, 1.5]), "type: amount"),
        (
            "amount",
            pl.Series([Decimal("10.10"), Decimal("-1.00")], dtype=pl.Decimal(18, 2)),
            "greater_than_or_equal_to(0): amount",
        ),
        ("seats", pl.Series(["3", "many"]), "type: seats"),
        ("seats", pl.Series([3, 2**63], dtype=pl.UInt64), "type: seats"),
        (
            "edited_at",
            pl.Series([None, START.replace(tzinfo=None)], dtype=pl.Datetime("us")),
            "naive_timestamp: edited_at",
        ),
        ("edited_at", pl.Series(["2026-03-04T10:00:00Z", "2026-03-04T10:00:00"]), "naive_timestamp: edited_at"),
        ("old_ids", pl.Series(['["a"]', '["a", 5]']), "type: old_ids"),
        ("name", pl.Series(["One", None]), "not_nullable: name"),
        ("id", pl.Series(["d1", "d1"]), "duplicate_key: id"),
    ],
)
def test_a_row_that_cannot_be_taken_exactly_is_quarantined_and_the_rest_lands(tmp_path, column, values, rule):
    landed = split(GOOD.with_columns(values.alias(column)), tmp_path)
    refused = landed.refused.select("rule", "operation", "processed_time", "processed_date", "_channel").rows()
    expected = [(rule, "snapshot", END, DAY, "snapshot")]
    both = column == "amount" and values.dtype == pl.Float64()
    assert refused == expected * (2 if both else 1)
    assert landed.good.height == (0 if both else 1)
    assert json.loads(landed.refused.item(0, "payload"))["closes"] in (None, "2026-04-01")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("seats", pl.Series([3, None], dtype=pl.Int16), [3, None]),
        ("seats", pl.Series([3, None], dtype=pl.UInt64), [3, None]),
        ("amount", pl.Series([7, None], dtype=pl.Int64), [Decimal("7.00"), None]),
        ("amount", pl.Series([Decimal("7.5"), None], dtype=pl.Decimal(10, 1)), [Decimal("7.50"), None]),
        ("edited_at", pl.Series([START, None], dtype=pl.Datetime("ns", "Europe/Paris")), [START, None]),
        ("closes", pl.Series(["2026-04-01", None]), [date(2026, 4, 1), None]),
        ("name", pl.Series(["a", "b"], dtype=pl.Categorical()), ["a", "b"]),
    ],
)
def test_another_type_that_loses_nothing_is_taken(tmp_path, column, values, expected):
    landed = split(GOOD.with_columns(values.alias(column)), tmp_path)
    assert landed.refused.height == 0
    assert landed.good.get_column(column).to_list() == expected


def test_parquet_csv_and_json_lines_land_the_same_rows(tmp_path):
    TEXTS.write_ndjson(tmp_path / "part.jsonl")
    TEXTS.with_columns(old_ids=pl.Series(['["a","b"]', None])).write_csv(tmp_path / "part.csv")
    whole = [split(GOOD, tmp_path, form) for form in ("parquet", "csv", "jsonl")]
    assert [landed.refused.height for landed in whole] == [0, 0, 0]
    assert whole[0].good.sort("id").equals(whole[1].good.sort("id"))
    assert whole[0].good.sort("id").equals(whole[2].good.sort("id"))


TEXTS = GOOD.with_columns(
    pl.col("amount", "closes").cast(pl.String), pl.col("edited_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
)
CALLED = {"id": "Id", "amount": "Betrag", "edited_at": "LastModified", "old_ids": "Merged"}
RENAME = {delivered: column for column, delivered in CALLED.items()}


def write_as(form: str, frame: pl.DataFrame, path) -> None:
    """A part of an export in any format, with the columns' own names."""
    if form == "parquet":
        frame.write_parquet(path)
    elif form == "csv":
        lists = pl.format('["{}"]', pl.col("Merged").list.join('","'))
        frame.with_columns(pl.when(pl.col("Merged").is_not_null()).then(lists).alias("Merged")).write_csv(path)
    else:
        frame.write_ndjson(path)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_columns_that_the_crm_calls_otherwise_land_under_the_contracts_names(tmp_path, form):
    delivered = (GOOD if form == "parquet" else TEXTS).rename(CALLED)
    write_as(form, delivered, tmp_path / "part")
    export = ExportFile([tmp_path / "part"], form, "deal", START, END, complete=True, rows=None)
    parts = parts_of(export, manifest_with_deals(**RENAME))
    landed = snapshot_rows(parts, DEAL, export, Arrival("b", "snapshot", END, REAL))
    assert drift_of(DEAL)(parts[0].delivered) == []
    assert (landed.refused.height, landed.unknown) == (0, {})
    assert landed.good.equals(split(GOOD, tmp_path).good)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_refused_row_keeps_the_crms_names_in_its_payload_and_is_released_under_ours(lake, tmp_path, form):
    bad = (GOOD if form == "parquet" else TEXTS).with_columns(name=pl.Series(["One", None])).rename(CALLED)
    write_as(form, bad, tmp_path / "part")
    export = ExportFile([tmp_path / "part"], form, "deal", START, END, complete=True, rows=None)
    manifest = manifest_with_deals(**RENAME)
    landed = snapshot_rows(parts_of(export, manifest), DEAL, export, Arrival("b", "snapshot", END, REAL))
    assert landed.refused.select("entity_id", "rule").rows() == [("d2", "not_nullable: name")]
    assert json.loads(landed.refused.item(0, "payload"))["Id"] == "d2"
    lake.append("quarantine/deal", landed.refused, token="b")

    class Patient(Deal):
        """A deal that may go without a name."""

        name: Text = field("Name.", nullable=True)

    done = release_quarantined(lake, manifest, {"deal": Contract("test", "deal", Patient)}, "deal", released_by="ana")
    assert (done.released, done.refused) == (1, 0)
    assert lake.scan("landing/changes/deal").select("entity_id", "id", "name").collect().rows() == [("d2", "d2", None)]


def test_a_column_whose_name_is_given_to_another_one_is_kept_beside_the_contract(tmp_path):
    both = GOOD.rename({"amount": "Betrag"}).with_columns(amount=pl.Series(["old", "older"]))
    landed = split(both, tmp_path, Betrag="amount")
    assert landed.good.get_column("amount").to_list() == [Decimal("10.10"), None]
    assert [json.loads(extra) for extra in landed.good.get_column("_extra")] == [{"amount": "old"}, {"amount": "older"}]
    assert landed.unknown == {"amount (delivered)": 2}


def test_a_day_that_a_renamed_column_stopped_lands_once_the_manifest_names_it(lake, undated):
    with pytest.raises(DriftError, match=r"amount removed.*`objects\.deal\.rename` in the manifest"):
        take(lake, Exporting([GOOD.rename({"amount": "value"})]), undated)
    report = take(lake, Exporting([]), manifest_with_deals(dated=False, value="amount"), now=END + timedelta(days=1))
    assert (report.status, report.rows, report.finished_at) == ("landed", 2, END)
    assert lake.scan(TABLE).select("amount").collect().to_series().to_list() == [Decimal("10.10"), None]


def test_blank_lines_are_no_rows(tmp_path):
    (tmp_path / "part.jsonl").write_text(
        '{"id": "d1", "name": "x", "more": 1}\n\n  \n{"id": "d2", "name": "y", "more": 2}\n'
    )
    landed = split(GOOD, tmp_path, "jsonl")
    assert landed.refused.height == 0
    assert landed.good.select("id", "_extra").rows() == [("d1", '{"more":1}'), ("d2", '{"more":2}')]
    assert row_count(tmp_path / "part.jsonl", "jsonl") == 2


def test_a_json_file_that_is_cut_off_lands_nothing_and_is_named(tmp_path):
    (tmp_path / "part.jsonl").write_text('{"id": "d1", "name": "x"}\n{"id": "d2", "na')
    with pytest.raises(ExportUnreadableError, match=r"deal in part\.jsonl cannot be read"):
        split(GOOD, tmp_path, "jsonl")


def test_a_broken_line_is_quarantined(tmp_path):
    (tmp_path / "part.jsonl").write_text(
        '{"id": "d1", "name": "x"}\n{"id": "d2", "name": 5}\n{"id": null, "name": "z"}\n'
    )
    landed = split(GOOD, tmp_path, "jsonl")
    assert landed.good.get_column("id").to_list() == ["d1"]
    assert landed.refused.select("entity_id", "rule").rows() == [
        ("d2", "type: name"),
        (None, "not_nullable: entity_id; not_nullable: id"),
    ]


def test_an_export_of_nothing_lands_nothing(lake, undated):
    report = take(lake, Exporting([GOOD.clear()]), undated)
    assert (report.status, report.rows, lake.tables()) == ("landed", 0, [])


def overtaken(lake, manifest):
    """A run whose export is at hand when another run lands the day from beginning to end."""
    found = []

    def other(*_):
        found.append(take(Lake(lake.root), Exporting([GOOD]), manifest))

    mine = land_snapshot(
        lake, Exporting([GOOD]), manifest, DEAL, DAY, drift=drift_of(DEAL), record=other, clock=lambda: END
    )
    return mine, *found


def test_a_run_that_another_overtakes_lands_nothing(lake, undated):
    mine, other = overtaken(lake, undated)
    assert (mine.status, mine.rows, other.status, other.rows) == ("present", 2, "landed", 2)
    assert (lake.rows(TABLE), lake.version(TABLE)) == (2, 0)


def test_a_snapshot_whose_file_was_lost_and_forgotten_lands_again_and_only_once(lake, undated):
    take(lake, Exporting([GOOD]), undated)
    for _ in range(2):
        for file in lake.files(TABLE):
            Path(file).unlink()
        forget_lost(lake, TABLE)
        assert lake.rows(TABLE) == 0
        mine, other = overtaken(lake, undated)
        assert (mine.status, other.status, lake.rows(TABLE)) == ("present", "landed", 2)


@pytest.mark.parametrize("was_lost", [False, True])
def test_two_runs_that_export_at_once_land_one_snapshot(lake, undated, was_lost):
    if was_lost:
        take(lake, Exporting([GOOD]), undated)
        for file in lake.files(TABLE):
            Path(file).unlink()
        forget_lost(lake, TABLE)
    meeting = threading.Barrier(2)

    class Meeting(Exporting):
        def export(self, object_name, *, day, into):
            found = super().export(object_name, day=day, into=into)
            meeting.wait(10)
            return found

    runs = [threading.Thread(target=take, args=(Lake(lake.root), Meeting([GOOD]), undated)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert lake.rows(TABLE) == 2


def test_a_real_export_of_every_object_lands_and_agrees_with_the_crm(
    lake, sandbox, sandbox_manifest, sandbox_contracts
):
    for name, contract in sandbox_contracts.items():
        report = take(lake, sandbox, sandbox_manifest, contract=contract, now=sandbox.head().time)
        told = lake.scan(f"landing/snapshot/{name}", schema=contract.snapshot_schema).collect()
        assert (report.rows, report.refused, told.height) == (told.height, 0, told.get_column("entity_id").n_unique())
        assert report.finished_at == datetime(2026, 3, 4, 23, 59, 59, 999999, tzinfo=UTC)
    assert lake.rows("landing/snapshot/lead") > 0
    content = fingerprint(lake.scan("landing/snapshot/account"))
    take(lake, sandbox, sandbox_manifest, contract=sandbox_contracts["account"], now=sandbox.head().time)
    assert fingerprint(lake.scan("landing/snapshot/account")) == content


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_real_export_of_text_lands_what_its_parquet_lands(lake, sandbox_manifest, sandbox_contracts, tmp_path, form):
    told = sandbox_manifest.model_dump(mode="json")
    told["transport"]["exports"]["formats"] = [form]
    manifests = {lake: sandbox_manifest, Lake(tmp_path / "other"): type(sandbox_manifest).model_validate(told)}
    day = date(2026, 3, 15)
    now = datetime(2026, 3, 16, 1, tzinfo=UTC)
    for into, manifest in manifests.items():
        with small_sandbox(manifest, tmp_path / "sandbox", accounts=60, days=20) as source:
            for contract in sandbox_contracts.values():
                report = take(into, source, manifest, contract=contract, now=now, day=day)
                assert (report.status, report.refused, list(report.differences)) == ("landed", 0, [])
    for name in sandbox_contracts:
        table = f"landing/snapshot/{name}"
        typed, texts = (fingerprint(one.scan(table).drop("_ingested_at")) for one in manifests)
        assert lake.rows(table) >= 5
        assert texts == typed


def test_a_renamed_column_of_a_real_export_stops_its_day_and_names_the_column(
    lake, sandbox_manifest, sandbox_contracts, tmp_path
):
    faults = {"schema_change": {"object": "lead", "day": "2026-03-05", "rename": {"status": "phase"}}}
    with small_sandbox(sandbox_manifest, tmp_path / "sandbox", faults=faults) as source:
        contract, now = sandbox_contracts["lead"], source.head().time
        assert take(lake, source, sandbox_manifest, contract=contract, now=now).status == "landed"
        with pytest.raises(DriftError, match="status"):
            take(lake, source, sandbox_manifest, contract=contract, now=now, day=date(2026, 3, 5))
    assert lake.days("landing/snapshot/lead") == [DAY]


def _without_amount() -> type[ObjectModel]:
    class Fewer(ObjectModel):
        """The deal without its amount."""

        id: Text = field("Key.", key=True)
        name: Text = field("Name.")
        seats: int = field("Seats.", nullable=True)
        edited_at: Moment = field("Edited.", nullable=True)
        closes: pl.Date = field("Closes.", nullable=True)
        old_ids: TextList = field("Old ids.", nullable=True)

    return Fewer


def test_the_times_of_an_export_are_those_it_says(tmp_path):
    export = ExportFile([tmp_path / "none.jsonl"], "jsonl", "deal", START, END, complete=False, rows=0)
    (tmp_path / "none.jsonl").write_text("")
    assert parts_of(export, manifest_with_deals())[0].delivered.height == 0
    partial = split(GOOD, tmp_path).good.with_columns(_complete=pl.lit(value=False))
    whole = snapshot_rows(
        parts_of(replace(export, paths=[tmp_path / "part.parquet"], format="parquet"), manifest_with_deals()),
        DEAL,
        export,
        Arrival("b", "snapshot", END, REAL),
    )
    assert whole.good.equals(partial)


def test_an_object_may_call_its_columns_as_we_call_our_own(lake, undated):
    class Odd(ObjectModel):
        """Names that landing uses for itself while it works."""

        id: Text = field("Key.", key=True)
        payload: Text = field("A payload.")
        faults: int = field("Faults.", ge=0)

    frame = pl.DataFrame({"id": ["a", "b"], "payload": ["x", "y"], "faults": [1, -1]})
    report = take(lake, Exporting([frame]), undated, contract=Contract("test", "deal", Odd))
    assert (report.rows, report.refused) == (1, 1)
    assert lake.scan(TABLE).select("entity_id", "id", "payload", "faults").collect().rows() == [("a", "a", "x", 1)]
    assert lake.scan("quarantine/deal").select("payload").collect().item() == '{"id":"b","payload":"y","faults":-1}'
