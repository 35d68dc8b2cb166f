"""What logs tell without rows: which days changed, in which rows, what a commit said."""

import shutil
from datetime import date

import polars as pl
import pytest

from crm_platform.lake import Lake, changed_days, compact, differing, files_digest, note, told

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
TABLE = "history/account"
SCHEMA = pl.Schema({"entity_id": pl.String(), "stage": pl.String()})


def rows(day, *told):
    return pl.DataFrame(
        {"entity_id": [one for one, _ in told], "stage": [two for _, two in told], "processed_date": [day] * len(told)}
    )


@pytest.fixture
def lake(tmp_path):
    made = Lake(tmp_path)
    made.replace(
        TABLE,
        pl.concat([rows(FIRST, ("a", "x"), ("c", "y")), rows(SECOND, ("m", "x"), ("z", "y"))]),
        days=[FIRST, SECOND],
    )
    made.replace(TABLE, rows(SECOND, ("m", "x"), ("z", "new")), days=[SECOND], metadata={"claim": "one"})
    made.append(TABLE, rows(THIRD, ("n", "x")), token="third")
    return made


def test_the_days_that_changed_between_two_versions_are_those_whose_files_did(lake):
    assert changed_days(lake, TABLE, 0, 1) == [SECOND]
    assert changed_days(lake, TABLE, 0, 2) == [SECOND, THIRD]
    assert changed_days(lake, TABLE, None, 0) == [FIRST, SECOND]
    assert changed_days(lake, TABLE, 2, 2) == []
    assert changed_days(lake, TABLE, 7, 2) is None


def test_rows_differ_where_one_version_holds_them_more_often(lake):
    found = differing(lake, TABLE, (0, 1), [FIRST, SECOND], SCHEMA)
    assert found.sort("stage").rows() == [("z", "new"), ("z", "y")]
    assert differing(lake, TABLE, (None, 0), [FIRST], SCHEMA).height == 2
    lake.append(TABLE, rows(FIRST, ("a", "x")), token="again")
    assert differing(lake, TABLE, (2, 3), [FIRST], SCHEMA).rows() == [("a", "x")]
    assert differing(lake, TABLE, (0, 1), [SECOND], pl.Schema({"entity_id": pl.String()})).is_empty()


def test_a_compaction_changes_files_and_no_rows(lake):
    lake.append(TABLE, rows(FIRST, ("b", "x")), token="more")
    compact(lake, TABLE, before=THIRD)
    assert changed_days(lake, TABLE, 3, 4) == [FIRST]
    assert differing(lake, TABLE, (3, 4), [FIRST], SCHEMA).is_empty()


def test_versions_whose_files_are_gone_cannot_be_compared(lake):
    for path in set(lake.open(TABLE, 0).file_uris()) - set(lake.open(TABLE).file_uris()):
        lake.folder(TABLE).joinpath(path.removeprefix(lake.uri(TABLE) + "/")).unlink()
    assert differing(lake, TABLE, (0, 1), [SECOND], SCHEMA) is None


def test_the_digest_of_days_is_the_same_until_one_of_their_files_changes(lake):
    before = files_digest(lake, TABLE, 1, THIRD)
    assert files_digest(lake, TABLE, 2, THIRD) == before
    assert files_digest(lake, TABLE, 0, THIRD) != before
    assert files_digest(lake, TABLE, 0, SECOND) == files_digest(lake, TABLE, 1, SECOND)


def test_the_newest_commit_that_says_something_is_heard_past_others(lake):
    assert told(lake, TABLE, "claim") == ("one", 1)
    note(lake, TABLE, {"claim": "two"})
    assert told(lake, TABLE, "claim") == ("two", 3)
    assert changed_days(lake, TABLE, 2, 3) == []
    for number in range(25):
        lake.append(TABLE, rows(THIRD, ("n", "x")), token=f"{number}")
    assert told(lake, TABLE, "claim") == ("two", 3)
    assert told(lake, TABLE, "nothing") is None
    assert told(lake, "history/nobody", "claim") is None


def test_a_table_is_opened_once_for_all_who_look_until_somebody_writes(lake):
    first = lake.look(TABLE)
    assert lake.look(TABLE) is first
    assert lake.look(TABLE, first.version()) is first
    read = lake.scan(TABLE)
    Lake(lake.root).append(TABLE, rows(THIRD, ("o", "x")), token="others")
    assert lake.version(TABLE) == 3
    lake.append(TABLE, rows(THIRD, ("p", "x")), token="own")
    assert lake.look(TABLE).version() == 4
    assert first.version() == 2
    assert read.collect().height == 5
    assert lake.scan(TABLE).collect().height == 7


def test_a_table_that_was_made_anew_under_its_name_is_opened_anew(lake):
    lake.look(TABLE)
    shutil.rmtree(lake.uri(TABLE))
    assert lake.look(TABLE) is None
    for number in range(3):
        Lake(lake.root).append(TABLE, rows(FIRST, ("new", "x")), token=f"{number}")
    assert lake.scan(TABLE).collect()["entity_id"].to_list() == ["new", "new", "new"]
