"""Rows to train on and rows to test on, apart in time: no outcome that was trained on is seen in the test.

Pure. What a row is stands in `labels`; what is done with the halves, in `baseline` or a notebook.
"""

from datetime import datetime, timedelta

import polars as pl


def purged_split(
    frame: pl.DataFrame, split_at: datetime, *, horizon: timedelta, embargo: timedelta = timedelta(0)
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows whose outcome window had ended, with the embargo, when the test begins; and those asked from then on.

    What lies between, `as_of` in `(split_at − horizon − embargo, split_at)`, is in neither.

    Args:
        frame: A training set: as_of (UTC, µs), anything else.
        split_at: The first moment that is tested on.
        horizon: How far an outcome lies ahead.
        embargo: How much older than as_of the features are.
    """
    trained = pl.col("as_of") + horizon + embargo <= split_at
    return frame.filter(trained), frame.filter(pl.col("as_of") >= split_at)
