"""The feed of a real CRM's log, landed by ranges: once, whole, and again after every kind of interruption."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from crm_platform.contracts import RANGES, RAW_CHANGE
from crm_platform.lake import Lake, fingerprint
from crm_platform.landing import batches, gaps_in, land_changes, landed_facts, landed_offset, watermark
from crm_platform.landing.errors import BatchTakenError, FeedBoundsError
from crm_platform.sources import FeedBatch, Head
from crm_platform_tests.landing.conftest import LOG, REAL

END = datetime(2026, 5, 4, 16, 2, 53, 62051, tzinfo=UTC)
ROWS = {"account": 377, "contact": 502, "lead": 536, "opportunity": 542, "task": 411}


class CutOffError(Exception):
    """Stands for a kill between two commits."""


class BrittleLake(Lake):
    """A lake whose process dies right before its n-th append."""

    def __init__(self, root, appends: int) -> None:
        super().__init__(root)
        self.left = appends

    def append(self, table, frame, *, token, metadata=None):
        self.left -= 1
        if self.left < 0:
            raise CutOffError
        return super().append(table, frame, token=token, metadata=metadata)


@dataclass
class Pieces:
    """A source that hands over what it was given, and remembers what it was asked."""

    pieces: list[FeedBatch]
    asked: list[tuple]

    def head(self) -> Head:
        last = self.pieces[-1]
        return Head(last.to_offset, last.watermark, None)

    def changes(self, after, until=None, upto=None):
        self.asked.append((after, until, upto))
        for piece in self.pieces:
            if (after is None or piece.to_offset > after) and (upto is None or piece.to_offset <= upto):
                yield piece


@pytest.fixture(scope="module")
def short(bottlecrm):
    """The first two batches of some sixty changes each."""
    feed = bottlecrm[2].changes(None, limit=60)
    return [next(feed), next(feed)]


def land(lake, bottlecrm, source=None, **more):
    manifest, contracts, log = bottlecrm
    return land_changes(lake, source or log, manifest, contracts, ingested_at=lambda: REAL, **more)


def contents(lake) -> dict:
    """Every landed row, by table, its batch aside."""
    tables = [table for table in lake.tables() if table.startswith(("landing/changes", "quarantine"))]
    return {table: fingerprint(lake.scan(table).drop("_batch_id")) for table in tables}


@pytest.fixture(scope="module")
def whole(bottlecrm, tmp_path_factory):
    """What the log gives when nothing interrupts."""
    lake = Lake(tmp_path_factory.mktemp("whole"))
    report = land(lake, bottlecrm)
    return lake, report


def test_a_whole_log_lands_every_row_and_says_how_far_it_came(whole):
    lake, report = whole
    assert report.rows == ROWS
    assert report.refused == dict.fromkeys(ROWS, 0)
    assert (report.watermark, report.offset, report.batches) == (END, "00000000000000010828-4babe74f", 1)
    assert (watermark(lake), landed_offset(lake)) == (END, "00000000000000010828-4babe74f")
    assert {name: lake.rows(f"landing/changes/{name}") for name in ROWS} == ROWS
    assert report.unknown == {}
    assert report.first_day.isoformat() == "2026-01-05"
    ranges = lake.scan("landing/ranges").select("batch_id", "from_offset", "to_offset", "status", "events").collect()
    assert ranges.schema == {name: RANGES[name] for name in ranges.columns}
    assert sorted(ranges.rows()) == [
        ("log-0000000001", None, "00000000000000010828-4babe74f", "done", 2368),
        ("log-0000000001", None, "00000000000000010828-4babe74f", "open", 2368),
    ]


def test_landed_rows_carry_their_provenance(whole):
    lake, _ = whole
    told = lake.scan("landing/changes/account").select("_channel", "_batch_id", "_ingested_at").unique().collect()
    assert told.rows() == [("log", "log-0000000001", REAL)]
    merged = lake.scan("landing/changes/account").filter(pl.col("operation") == "merge").collect()
    assert merged.get_column("merged_into").null_count() == 0
    assert merged.get_column("is_tombstone").all()


def test_landing_twice_writes_no_version(whole, bottlecrm):
    lake, _ = whole
    before = {table: lake.version(table) for table in lake.tables()}
    report = land(lake, bottlecrm)
    assert {table: lake.version(table) for table in lake.tables()} == before
    assert (report.batches, report.watermark, report.first_day) == (0, END, None)


@pytest.mark.parametrize("limit", [900])
def test_however_the_feed_is_cut_the_same_rows_land(whole, bottlecrm, lake, limit):
    pieces = list(bottlecrm[2].changes(None, limit=limit))
    report = land(lake, bottlecrm, Pieces(pieces, []))
    assert report.batches == len(pieces)
    assert contents(lake) == contents(whole[0])
    assert gaps_in(batches(lake)) == []


def test_a_run_that_dies_before_any_commit_is_taken_up_where_it_stood(short, bottlecrm, tmp_path):
    undisturbed = Lake(tmp_path / "undisturbed")
    land(undisturbed, bottlecrm, Pieces(short, []))
    died = 0
    for appends in (0, 2, 7, 11):
        root = tmp_path / str(appends)
        try:
            land(BrittleLake(root, appends), bottlecrm, Pieces(short, []))
        except CutOffError:
            died += 1
        again = land(Lake(root), bottlecrm, Pieces(short, []))
        assert contents(Lake(root)) == contents(undisturbed)
        assert [batch.is_done for batch in batches(Lake(root))] == [True, True]
        assert again.watermark == short[1].watermark
    assert died == 4


def test_an_open_batch_is_repeated_with_exactly_its_bounds(short, bottlecrm, lake):
    with pytest.raises(CutOffError):
        land(BrittleLake(lake.root, 2), bottlecrm, Pieces(short, []))
    source = Pieces(short, [])
    land(lake, bottlecrm, source)
    assert source.asked == [(None, None, short[0].to_offset), (short[0].to_offset, None, None)]


def test_an_open_batch_that_the_feed_cannot_repeat_is_an_error(short, bottlecrm, lake):
    with pytest.raises(CutOffError):
        land(BrittleLake(lake.root, 2), bottlecrm, Pieces(short, []))
    other = [replace(short[0], to_offset="00000000000000000007")]
    with pytest.raises(
        FeedBoundsError,
        match=r"Open batch log-0000000001 must be repeated up to offset \S+, but the feed ends at 00000000000000000007",
    ):
        land(lake, bottlecrm, Pieces(other, []))
    assert watermark(lake) is None


def test_a_feed_that_skips_a_stretch_is_refused(short, bottlecrm, lake):
    first, second = short
    torn = replace(second, from_offset="00000000000000009999")
    with pytest.raises(FeedBoundsError, match="begins after offset 00000000000000009999"):
        land(lake, bottlecrm, Pieces([first, torn], []))
    assert landed_offset(lake) == first.to_offset


class Overtaken(Pieces):
    """A source that cuts the feed in another place, while another run opens the stretch and dies."""

    def __init__(self, pieces, other, times=1):
        super().__init__(pieces, [])
        self.other, self.left = other, times

    def changes(self, after, until=None, upto=None):
        if upto is None and self.left:
            self.left -= 1
            with pytest.raises(CutOffError):
                self.other()
            yield replace(self.pieces[0], from_offset=after, to_offset=f"{after or '0' * 20}1")
        else:
            yield from super().changes(after, until, upto)


def test_a_stretch_that_another_run_opened_is_landed_as_that_run_cut_it_and_gone_on_after(
    short, bottlecrm, lake, tmp_path
):
    told = []
    other = lambda: land(BrittleLake(lake.root, 2), bottlecrm, Pieces(list(short), []))  # noqa: E731
    report = land(lake, bottlecrm, Overtaken(list(short), other), progress=told.append)
    assert told[0].startswith("Batch log-0000000001 was opened by another run with other bounds.")
    assert report.offset == short[1].to_offset
    alone = Lake(tmp_path / "alone")
    land(alone, bottlecrm, Pieces(list(short), []))
    assert contents(lake) == contents(alone)
    assert [batch.to_offset for batch in batches(lake)] == [piece.to_offset for piece in short]


def test_a_run_that_leads_over_a_gap_leaves_a_stretch_that_another_has_opened_to_it(short, bottlecrm, lake):
    other = lambda: land(BrittleLake(lake.root, 2), bottlecrm, Pieces(list(short), []))  # noqa: E731
    with pytest.raises(BatchTakenError, match="log-0000000001 was opened by another run"):
        land(lake, bottlecrm, Overtaken(list(short), other), resume_after="0" * 20)
    assert lake.exists("landing/changes/account") is False


def test_runs_that_follow_the_feed_at_once_and_cut_it_differently_land_every_row_once(whole, bottlecrm, lake):
    log = bottlecrm[2]

    def follow(size):
        class Cut:
            def head(self):
                return log.head()

            def changes(self, after, until=None, upto=None):
                return log.changes(after, until, upto, limit=size)

        land(Lake(lake.root), bottlecrm, Cut())

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(follow, size) for size in (300, 350, 400, 450, 500, 550)]:
            done.result()
    assert gaps_in(batches(lake)) == []
    assert all(batch.is_done for batch in batches(lake))
    assert contents(lake) == contents(whole[0])


def test_days_can_be_landed_one_after_the_other(whole, bottlecrm, lake):
    middle = datetime(2026, 3, 1, tzinfo=UTC)
    land(lake, bottlecrm, until=middle)
    assert watermark(lake) == datetime(2026, 3, 2, 9, 45, 16, 307752, tzinfo=UTC)  # just before the next commit
    assert lake.scan("landing/changes/task").filter(pl.col("processed_time") >= middle).collect().height == 0
    land(lake, bottlecrm)
    assert contents(lake) == contents(whole[0])


def test_a_quiet_feed_whose_watermark_moves_lands_one_line_and_no_rows(bottlecrm, lake):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    nothing = pl.DataFrame(schema=RAW_CHANGE)
    quiet = [FeedBatch(None, "1", noon, nothing)]
    land(lake, bottlecrm, Pieces(quiet, []))
    assert (watermark(lake), lake.version("landing/ranges")) == (noon, 0)
    land(lake, bottlecrm, Pieces([FeedBatch("1", "1", noon, nothing)], []))
    assert lake.version("landing/ranges") == 0
    still = Still([FeedBatch("1", "1", noon + timedelta(hours=1), nothing)], [])
    land(lake, bottlecrm, still)
    assert (watermark(lake), lake.version("landing/ranges")) == (noon + timedelta(hours=1), 1)
    land(lake, bottlecrm, Still([FeedBatch("1", "1", noon, nothing)], []))
    assert (watermark(lake), lake.version("landing/ranges")) == (noon + timedelta(hours=1), 1)


class Still(Pieces):
    """A source that has nothing new but the time."""

    def changes(self, *_, **__):
        yield from self.pieces


def test_the_settling_lag_is_taken_off_the_watermark(short, bottlecrm, lake):
    manifest, contracts, _ = bottlecrm
    slow = manifest.model_copy(update={"settling_lag": timedelta(minutes=15)})
    land_changes(lake, Pieces(short, []), slow, contracts)
    assert watermark(lake) == short[1].watermark - timedelta(minutes=15)


def test_rows_that_break_their_contract_wait_in_quarantine_and_the_others_go_on(short, bottlecrm, lake):
    piece = short[0]
    spoiled = piece.events.with_columns(
        pl.when((pl.col("object") == "account") & (pl.col("source_position").rank("dense") % 2 == 0))
        .then(pl.col("fields").str.replace('"name": "', '"name": 5, "was": "'))
        .otherwise("fields")
        .alias("fields")
    )
    report = land(lake, bottlecrm, Pieces([replace(piece, events=spoiled)], []))
    assert (report.rows["account"], report.refused["account"]) == (7, 11)
    refused = lake.scan("quarantine/account").select("rule", "column", "_channel", "resolved_by").unique().collect()
    assert refused.rows() == [("type: name", "name", "log", None)]
    assert report.unknown == {"account.was": 11}
    assert sum(report.rows.values()) == piece.events.height - 11


def test_changes_of_an_object_without_contract_are_kept(short, bottlecrm, lake):
    piece = short[0]
    strange = piece.events.head(3).with_columns(object=pl.lit("ticket"))
    land(lake, bottlecrm, Pieces([replace(piece, events=strange)], []))
    assert lake.scan("quarantine/ticket").select("rule").collect().rows() == [("unknown_object: object",)] * 3


def test_a_contract_that_changes_while_a_batch_is_open_loses_no_row(short, bottlecrm, lake):
    manifest, contracts, _ = bottlecrm
    piece = short[0]
    fewer = {name: contract for name, contract in contracts.items() if name != "lead"}
    with pytest.raises(CutOffError):
        land_changes(BrittleLake(lake.root, 8), Pieces([piece], []), manifest, fewer, ingested_at=lambda: REAL)
    land(lake, bottlecrm, Pieces([piece], []))
    positions = set(piece.events.filter(pl.col("object") == "lead").get_column("source_position"))
    landed = lake.scan("landing/changes/lead", schema=contracts["lead"].change_schema).collect()
    refused = lake.scan("quarantine/lead", schema=pl.Schema({"source_position": pl.String()})).collect()
    assert positions == set(landed.get_column("source_position")) | set(refused.get_column("source_position"))


def test_a_gap_that_is_jumped_on_purpose_shows(short, bottlecrm, lake):
    first, second = short
    land(lake, bottlecrm, Pieces([first], []))
    later = replace(second, from_offset="00000000000000000334")
    land(lake, bottlecrm, Pieces([later], []), resume_after="00000000000000000334")
    (gap,) = gaps_in(batches(lake))
    assert (gap.batch_id, gap.expected, gap.found, gap.overlaps) == (
        "log-0000000002",
        first.to_offset,
        "00000000000000000334",
        False,
    )


def test_facts_of_a_day_count_rows_quarantine_and_the_lag(whole):
    lake, _ = whole
    days = [datetime(2026, 1, 5).date(), datetime(2026, 1, 4).date()]  # noqa: DTZ001  only their dates
    facts = landed_facts(lake, "account", days)
    assert list(facts) == [days[1], days[0]]
    assert (facts[days[1]]["rows"], facts[days[1]]["lag_p99"]) == (0, None)
    assert facts[days[0]]["rows"] == lake.rows_by_day("landing/changes/account")[days[0]]
    assert facts[days[0]]["quarantined"] == 0
    assert timedelta(days=300) < facts[days[0]]["lag_p50"] < timedelta(days=302)


def test_progress_is_told_batch_by_batch(short, bottlecrm, lake):
    told = []
    land(lake, bottlecrm, Pieces(short, []), progress=told.append)
    assert len(told) == 2
    assert told[1].startswith("landed ")
    assert LOG.name not in told[1]
