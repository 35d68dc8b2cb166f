import polars as pl
import pyarrow.parquet as pq
import pytest

from crm_platform_tests.benchmarks import made_files
from crm_platform_tests.benchmarks.made_files import GROUP, Size


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.setattr(made_files, "PIECE", 40_000)


@pytest.mark.usefixtures("pieces")
def test_files_made_in_pieces_are_sorted_and_in_whole_row_groups(tmp_path):
    size = Size(300_000)
    orders = {
        made_files.activities(tmp_path, size): ["entity_id", "event_time"],
        made_files.activities(tmp_path, size, is_corrected=True): ["entity_id", "event_time"],
        made_files.activities(tmp_path, size, layout="account"): ["account_id", "occurred_at"],
        made_files.timeline(tmp_path, size): ["entity_id", "known_at"],
        made_files.wide_timeline(tmp_path, size): ["entity_id", "known_at"],
        made_files.versions(tmp_path, size): ["entity_id", "event_time"],
    }
    for path, order in orders.items():
        found = pl.read_parquet(path, columns=order)
        assert found.equals(found.sort(order)), path.name
        assert abs(found.height - 300_000) < 10
        groups = pq.ParquetFile(path).metadata
        assert [groups.row_group(number).num_rows for number in range(2)] == [GROUP, GROUP]
        assert groups.num_row_groups == 3


@pytest.mark.usefixtures("pieces")
def test_no_two_steps_of_a_timeline_are_at_one_moment(tmp_path):
    steps = pl.read_parquet(made_files.timeline(tmp_path, Size(100_000)), columns=["entity_id", "known_at"])
    assert steps.n_unique() == 100_000


def test_a_file_is_made_once(tmp_path):
    first = made_files.activities(tmp_path, Size(1_000))
    stamp = first.stat().st_mtime_ns
    assert made_files.activities(tmp_path, Size(1_000)) == first
    assert first.stat().st_mtime_ns == stamp


def test_a_half_written_file_is_never_taken_for_a_whole_one(tmp_path):
    first = made_files.activities(tmp_path, Size(1_000))
    whole = first.read_bytes()
    first.unlink()
    first.with_suffix(".part").write_bytes(whole[:100])
    assert made_files.activities(tmp_path, Size(1_000)).read_bytes() == whole


def test_the_busiest_entity_of_a_skewed_history_holds_what_its_power_law_says(tmp_path):
    acted = pl.read_parquet(made_files.activities(tmp_path, Size(100_000), is_skewed=True))
    busiest = acted["account_id"].value_counts(sort=True)["count"][0]
    assert busiest == pytest.approx(5_000, rel=0.5)
    assert acted["account_id"].n_unique() > 1_900


def test_corrections_come_later_than_the_longest_window(tmp_path):
    acted = pl.read_parquet(made_files.activities(tmp_path, Size(11_000), is_corrected=True))
    again = acted.filter(
        pl.col("entity_id").is_duplicated() & (pl.col("processed_time") > pl.col("occurred_at").dt.offset_by("90d"))
    )
    assert again.height > 100
