"""Rows that are set apart on disk, part by part."""

import resource
import tempfile

import numpy as np
import polars as pl
import pytest

from crm_platform.contracts import UTC_US
from crm_platform.features.spills import set_apart

PARTS = 3


def rows(count):
    number = pl.int_range(count, eager=True)
    return pl.DataFrame(
        {
            "number": number,
            "text": number.cast(pl.String).set(number % 7 == 0, None),
            "amount": number.cast(pl.Decimal(18, 2)),
            "at": number.cast(UTC_US),
            "kind": (number % 2).replace_strict({0: "call", 1: "web"}, return_dtype=pl.Enum(["web", "call"])),
            "changed": number.reshape((-1, 1)).arr.to_list().cast(pl.List(pl.String)),
        }
    )


def by_number(batch):
    """The rows divisible by two, those divisible by three, and none."""
    number = batch["number"].to_numpy()
    return [np.flatnonzero(number % 2 == 0), np.flatnonzero(number % 3 == 0), np.zeros(0, dtype=np.int64)]


def test_parts_hold_their_rows_in_order_and_in_every_type_as_often_as_they_are_read(monkeypatch):
    monkeypatch.setattr("crm_platform.features.spills.ROWS_AT_ONCE", 1_000)
    whole = rows(10_000)
    with set_apart(whole.lazy(), PARTS, by_number) as parts:
        for _ in range(2):
            even, third, none = (part.collect() for part in parts)
            assert even.equals(whole.filter(pl.col("number") % 2 == 0))
            assert third.equals(whole.filter(pl.col("number") % 3 == 0))
            assert none.equals(whole.clear())
        assert parts[0].select("text").filter(pl.col("text") == "8").collect()["text"].to_list() == ["8"]


def test_no_rows_are_parts_without_rows():
    with set_apart(rows(0).lazy(), PARTS, by_number) as parts:
        assert [part.collect().equals(rows(0)) for part in parts] == [True] * PARTS


def test_what_lies_on_disk_has_no_name_that_could_outlive_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with set_apart(rows(100).lazy(), PARTS, by_number) as parts:
        assert list(tmp_path.iterdir()) == []
        assert parts[0].collect().height == 50


def whole(batch):
    return [np.arange(batch.height)]


@pytest.mark.parametrize(
    ("parts", "rows_of"), [(PARTS, by_number), (1, whole)], ids=["later pieces", "one piece alone"]
)
def test_where_there_is_no_room_the_error_says_where_and_what_to_do(tmp_path, monkeypatch, parts, rows_of):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with (
            pytest.raises(OSError, match=rf"set apart in {tmp_path}.*TMPDIR"),
            set_apart(rows(9_999).lazy(), parts, rows_of),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
