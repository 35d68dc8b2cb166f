"""Files that are gone, cut or broken behind the log: found, never taken for equal, and written anew alone."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from crm_platform.lake import Lake, fingerprint, forget_lost, lost_files

FIRST, SECOND, THIRD = (date(2026, 3, day) for day in (1, 2, 3))
HISTORY, CHANGES = "history/account", "landing/changes/account"


def rows(*days: date, name: str = "a") -> pl.DataFrame:
    """Two hundred rows per day, enough for a broken middle to be read."""
    names = [f"{name}{number}" for number in range(200)]
    one = [pl.DataFrame({"entity_id": names, "processed_date": day}) for day in days]
    return pl.concat(one).with_columns((pl.col("entity_id").hash(7) // 2).cast(pl.Int64).alias("amount"))


@pytest.fixture
def lake(tmp_path):
    made = Lake(tmp_path / "lake")
    made.replace(HISTORY, rows(FIRST, SECOND, THIRD), days=[FIRST, SECOND, THIRD])
    made.overwrite("current/account", rows(FIRST).drop("processed_date"))
    return made


def only_file(lake: Lake, table: str, *days: date) -> Path:
    (file,) = map(Path, lake.files(table, days or None))
    return file


def remove(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def zero(file: Path) -> None:
    """What a file system may leave of a file after a power cut: its length."""
    file.write_bytes(bytes(file.stat().st_size))


def spoil(file: Path) -> None:
    """Both ends as they should be, the rows between them not."""
    whole = file.read_bytes()
    footer = 8 + int.from_bytes(whole[-8:-4], "little")
    file.write_bytes(whole[:4] + b"\xff" * (len(whole) - footer - 4) + whole[-footer:])


HARM = pytest.mark.parametrize(
    ("harm", "why"),
    [
        (remove, "is missing"),
        (cut, "has 100 of "),
        (zero, "is no Parquet file"),
        (spoil, "is broken inside"),
    ],
    ids=lambda given: given.__name__ if callable(given) else "",
)


def test_a_sound_table_and_one_that_is_not_there_have_lost_nothing(lake):
    assert lost_files(lake, HISTORY, decode=True) == []
    assert lost_files(lake, "history/nobody") == []
    assert lost_files(lake, "training/conversion") == []


@HARM
def test_a_lost_file_is_named_with_its_day_what_is_wrong_and_how_many_rows_are_gone(lake, harm, why):
    file = only_file(lake, HISTORY, SECOND)
    harm(file)
    (found,) = lost_files(lake, HISTORY, decode=True)
    assert (found.part, found.rows) == (SECOND, 200)
    assert str(found).startswith(f"{HISTORY}/processed_date=2026-03-02/{file.name} {why}")
    assert str(found).endswith("(200 rows)")
    assert lost_files(lake, HISTORY, [FIRST, THIRD], decode=True) == []
    assert len(lost_files(lake, HISTORY)) == (harm is not spoil)


@HARM
def test_a_partition_that_cannot_be_read_is_written_anew_and_the_others_keep_their_files(lake, harm, why, caplog):
    content, sound = fingerprint(lake.scan(HISTORY)), lake.files(HISTORY, [FIRST, THIRD])
    harm(only_file(lake, HISTORY, SECOND))
    commit = lake.replace(HISTORY, rows(FIRST, SECOND, THIRD), days=[FIRST, SECOND, THIRD])
    assert (commit.days, commit.rows) == ((SECOND,), 200)
    assert fingerprint(Lake(lake.root).scan(HISTORY)) == content
    assert lake.files(HISTORY, [FIRST, THIRD]) == sound
    assert why in caplog.text
    assert lake.replace(HISTORY, rows(FIRST, SECOND, THIRD), days=[FIRST, SECOND, THIRD]) is None


@HARM
def test_a_partition_that_cannot_be_read_becomes_empty_where_it_has_no_rows_any_more(lake, harm, why):
    harm(only_file(lake, HISTORY, SECOND))
    assert lake.replace(HISTORY, rows(FIRST).clear(), days=[SECOND]).days == (SECOND,), why
    assert lake.days(HISTORY) == [FIRST, THIRD]
    assert lake.scan(HISTORY).collect().height == 400


@HARM
def test_a_whole_table_that_cannot_be_read_is_written_anew(lake, harm, why, caplog):
    content = rows(FIRST).drop("processed_date")
    harm(only_file(lake, "current/account"))
    assert lake.overwrite("current/account", content).version == 1
    assert why in caplog.text
    assert fingerprint(lake.scan("current/account")) == fingerprint(content)


def test_a_storage_that_fails_for_a_moment_is_no_loss(lake, monkeypatch):
    def failing(*_args, **_more):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("crm_platform.lake.store.fingerprints_by", failing)
    with pytest.raises(OSError, match="Input/output error"):
        lake.replace(HISTORY, rows(SECOND), days=[SECOND])
    assert lake.version(HISTORY) == 0


def test_rows_of_some_partitions_can_be_read_past_a_lost_one(lake):
    remove(only_file(lake, HISTORY, SECOND))
    assert lake.scan(HISTORY, without=[SECOND]).collect().height == 400
    with pytest.raises(FileNotFoundError):
        lake.scan(HISTORY).collect()


@HARM
def test_a_log_that_forgets_keeps_the_other_files_of_the_day_and_puts_broken_ones_aside(lake, harm, why):
    for number in range(2):
        lake.append(CHANGES, rows(FIRST, name=f"n{number}-"), token=f"b{number}")
    gone, kept = map(Path, lake.files(CHANGES))
    harm(gone)
    (found,) = forget_lost(lake, CHANGES)
    assert why in found.why
    assert lake.files(CHANGES) == [str(kept)]
    assert lake.scan(CHANGES).collect().height == 200
    assert lake.append(CHANGES, rows(FIRST, name="n0-"), token="b0") is None
    assert (Path(lake.root, "aside", CHANGES, gone.name).exists(), gone.exists()) == (harm is not remove, False)
    assert forget_lost(lake, CHANGES) == []


def test_of_a_thousand_whole_files_none_is_lost(lake):
    days = [date.fromordinal(FIRST.toordinal() + n) for n in range(1000)]
    lake.replace("history/lead", pl.DataFrame({"entity_id": "a", "processed_date": days}), days=days)
    assert lost_files(lake, "history/lead") == []
