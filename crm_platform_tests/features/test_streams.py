import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crm_platform.features.streams import give_back, side_by_side, streamed


def numbers(stretch):
    return pl.DataFrame({"n": range(*stretch), "twice": [2 * n for n in range(*stretch)]})


def stretches(made):
    for low in range(0, 1_000, 10):
        made.append(low)
        yield low, low + 10


def test_stretches_come_in_order_and_few_are_begun_before_they_are_taken():
    begun, lock = [], threading.Lock()

    def work(stretch):
        with lock:
            begun.append(stretch)
        return numbers(stretch)

    frames = side_by_side(work, stretches([]))
    assert next(frames)["n"].to_list() == list(range(10))
    assert len(begun) <= pl.thread_pool_size() + 1
    assert pl.concat(frames)["n"].to_list() == list(range(10, 1_000))


def test_a_stretch_that_fails_ends_the_stream_with_its_own_error():
    def work(stretch):
        if stretch[0] == 50:
            message = "broken"
            raise ArithmeticError(message)
        return numbers(stretch)

    taken = []
    with pytest.raises(ArithmeticError, match="broken"):
        taken.extend(side_by_side(work, stretches([])))
    assert len(taken) == 5


def test_a_streamed_frame_is_made_anew_each_time_as_far_as_it_is_read():
    made = []
    schema = numbers((0, 1)).schema
    lazy = streamed(lambda: (numbers(stretch) for stretch in stretches(made)), schema)
    assert made == []
    assert lazy.collect().equals(numbers((0, 1_000)))
    assert lazy.filter(pl.col("n") % 100 == 7).select("twice").collect().to_series().to_list() == list(
        range(14, 2_000, 200)
    )
    made.clear()
    assert lazy.head(15).collect()["n"].to_list() == list(range(15))
    assert made == [0, 10]


def held_mib():
    """What the process holds of memory, in MiB; Linux tells it."""
    fields = (line.split() for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return next(int(field[1]) // 1024 for field in fields if field[0] == "RssAnon:")


def test_memory_that_is_free_between_what_is_held_goes_back():
    pieces = [np.ones(10_000) for _ in range(4_000)]
    del pieces[1::2]
    before = held_mib()
    give_back()
    assert before - held_mib() > 100
