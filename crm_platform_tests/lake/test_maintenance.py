"""Compaction keeps content and order, vacuum keeps what is pinned."""

from datetime import date, timedelta

import polars as pl
import pytest

from crm_platform.lake import Lake, compact, fingerprint, maintain, vacuum
from crm_platform.lake.errors import PinnedVersionError

FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
CHANGES = "landing/changes/account"


def rows(day: date, *entities: str) -> pl.DataFrame:
    return pl.DataFrame({"entity_id": list(entities), "processed_date": [day for _ in entities]})


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    for number, entities in enumerate([("c", "a"), ("d", "b"), ("e",)]):
        lake.append(CHANGES, rows(FIRST, *entities), token=f"first-{number}")
        lake.append(CHANGES, rows(SECOND, *entities), token=f"second-{number}")
    return lake


def test_closed_days_become_one_sorted_file_and_open_ones_stay(lake):
    content, kept = fingerprint(lake.scan(CHANGES)), lake.files(CHANGES, [SECOND])
    done = compact(lake, CHANGES, before=SECOND)
    assert (done.commit.days, done.commit.rows, done.files_before, done.files_after) == ((FIRST,), 5, 6, 4)
    (file,) = lake.files(CHANGES, [FIRST])
    assert pl.read_parquet(file, hive_partitioning=False).get_column("entity_id").to_list() == ["a", "b", "c", "d", "e"]
    assert lake.files(CHANGES, [SECOND]) == kept
    assert fingerprint(lake.scan(CHANGES)) == content
    assert lake.append(CHANGES, rows(FIRST, "c", "a"), token="first-0") is None


def test_a_compacted_table_is_left_alone(lake):
    compact(lake, CHANGES, before=date(2026, 3, 9))
    version = lake.version(CHANGES)
    report = maintain(lake, before=date(2026, 3, 9))
    assert (report.tables, report.removed, lake.version(CHANGES)) == ([], 0, version)


def test_a_table_of_many_tiny_commits_is_compacted_as_a_whole(tmp_path):
    lake = Lake(tmp_path)
    for number in range(17):
        lake.append("landing/ranges", pl.DataFrame({"batch_id": [f"{number:02d}"]}), token=f"{number}")
    report = maintain(lake, before=FIRST)
    assert (report.tables, report.files_before, report.files_after) == (["landing/ranges"], 17, 1)
    assert lake.rows("landing/ranges") == 17
    assert lake.append("landing/ranges", pl.DataFrame({"batch_id": ["x"]}), token="3") is None


def test_vacuum_removes_what_no_version_in_the_retention_needs(lake):
    compact(lake, CHANGES, before=date(2026, 3, 9))
    content = fingerprint(lake.scan(CHANGES))
    assert vacuum(lake, CHANGES) == []
    version = lake.version(CHANGES)
    assert lake.version(CHANGES) == version
    assert len(vacuum(lake, CHANGES, retention=timedelta(0))) == 6
    assert fingerprint(lake.scan(CHANGES)) == content


def test_vacuum_keeps_the_files_of_pinned_versions(lake):
    lake.replace("history/account", rows(FIRST, "a"), days=[FIRST])
    lake.replace("history/account", rows(FIRST, "b"), days=[FIRST])
    lake.replace("history/account", rows(FIRST, "c"), days=[FIRST])
    removed = vacuum(lake, "history/account", pinned=[1], retention=timedelta(0))
    assert len(removed) == 1
    assert lake.scan("history/account", version=1).collect().get_column("entity_id").to_list() == ["b"]
    with pytest.raises(OSError, match="No such file"):
        lake.scan("history/account", version=0).collect()


def test_vacuum_is_refused_where_a_pinned_version_is_gone(lake):
    lake.replace("history/account", rows(FIRST, "a"), days=[FIRST])
    lake.replace("history/account", rows(FIRST, "b"), days=[FIRST])
    files = lake.files("history/account")
    with pytest.raises(PinnedVersionError, match=r"history/account was refused: pinned versions 7 cannot be opened"):
        vacuum(lake, "history/account", pinned=[0, 7], retention=timedelta(0))
    assert lake.files("history/account") == files
    assert lake.scan("history/account", version=0).collect().height == 1
