"""Ids as numbers: the same ones, whether many are looked up or few that lie close together."""

import polars as pl
import pytest

from crm_platform.history.codes import Codes

ALL = Codes(pl.Series([f"id{number:03d}" for number in range(100)] + ["ä"]))


@pytest.mark.parametrize(
    ("ids", "codes"),
    [
        (["id003", "id001", None, "id0015", "id004"], [3, 1, -1, -1, 4]),
        (["id099", "id000", "ä", "z"], [99, 0, 100, -1]),
        (["a", "b"], [-1, -1]),
        (["ö"], [-1]),
        (["id0505"], [-1]),
        ([None], [-1]),
        ([], []),
    ],
    ids=str,
)
def test_an_id_has_its_number_and_a_strange_one_none(ids, codes):
    assert ALL.encode(pl.Series(ids, dtype=pl.String)).tolist() == codes


def test_of_no_ids_nobody_is_known():
    assert Codes(pl.Series([], dtype=pl.String)).encode(pl.Series(["a", None])).tolist() == [-1, -1]
