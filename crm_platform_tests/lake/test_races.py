"""Writers that start at the same instant: whoever is second sees what the first one did."""

import threading
from collections.abc import Callable
from datetime import date

import polars as pl
import pytest

from crm_platform.lake import Lake

DAY = date(2026, 3, 1)
WRITERS = 4


def rows(number: int, **more: int) -> pl.DataFrame:
    frame = pl.DataFrame({"entity_id": ["a", "b"], "number": [number, number], "processed_date": [DAY, DAY]})
    return frame.with_columns(pl.lit(value).alias(name) for name, value in more.items())


def at_once(root, write: Callable[[Lake, int], object]) -> None:
    """Runs a write in several threads that all wait for each other first."""
    ready, failed = threading.Barrier(WRITERS), []

    def run(number: int) -> None:
        ready.wait()
        try:
            write(Lake(root), number)
        except BaseException as broken:
            failed.append(broken)
            raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("exists", [False, True])
class TestWritersAtOnce:
    """Each with a table that exists, and with one that all of them want to make."""

    def test_one_token_lands_once(self, tmp_path, exists, attempt):
        if exists:
            Lake(tmp_path).append("landing/changes/account", rows(9), token=f"before-{attempt}")
        at_once(tmp_path, lambda lake, _: lake.append("landing/changes/account", rows(1), token="shared"))
        assert Lake(tmp_path).rows("landing/changes/account") == (4 if exists else 2)

    def test_tokens_of_their_own_all_land(self, tmp_path, exists, attempt):
        if exists:
            Lake(tmp_path).append("landing/changes/account", rows(9), token=f"before-{attempt}")
        at_once(tmp_path, lambda lake, n: lake.append("landing/changes/account", rows(n), token=f"own-{n}"))
        assert Lake(tmp_path).rows("landing/changes/account") == (10 if exists else 8)

    def test_a_partition_is_replaced_by_one_of_them(self, tmp_path, exists, attempt):
        if exists:
            Lake(tmp_path).replace("history/account", rows(9 + attempt), days=[DAY])
        at_once(tmp_path, lambda lake, n: lake.replace("history/account", rows(n), days=[DAY]))
        held = Lake(tmp_path).scan("history/account").collect()
        assert (held.height, held.get_column("number").n_unique()) == (2, 1)

    def test_a_whole_table_is_replaced_by_one_of_them(self, tmp_path, exists, attempt):
        if exists:
            Lake(tmp_path).overwrite("current/account", rows(9 + attempt))
        at_once(tmp_path, lambda lake, n: lake.overwrite("current/account", rows(n)))
        held = Lake(tmp_path).scan("current/account").collect()
        assert (held.height, held.get_column("number").n_unique()) == (2, 1)

    def test_columns_that_several_add_are_all_there(self, tmp_path, exists, attempt):
        if exists:
            Lake(tmp_path).append("landing/changes/account", rows(9), token=f"before-{attempt}")
        at_once(
            tmp_path,
            lambda lake, n: lake.append("landing/changes/account", rows(n, **{f"new_{n % 2}": n}), token=f"own-{n}"),
        )
        assert {"new_0", "new_1"} < set(Lake(tmp_path).schema("landing/changes/account"))
        assert Lake(tmp_path).rows("landing/changes/account") == (10 if exists else 8)
