"""What a commit is, and how it is tried again when another writer was faster.

Here stand the result of a commit, the properties every commit carries, and the loop around conflicts. What is written
is decided in `store`.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from deltalake import ColumnProperties, CommitProperties, Transaction, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from crm_platform.lake.errors import CommitConflictError
from crm_platform.lake.tables import ROW_GROUP

logger = logging.getLogger(__name__)

ATTEMPTS = 30
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0

CONFIGURATION: dict[str, str | None] = {
    "delta.checkpointInterval": "20",
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
    "delta.dataSkippingNumIndexedCols": "4",
}
"""A training manifest pins versions: their log stays until somebody decides otherwise. The log keeps bounds of the columns
that are looked up and ordered by, which stand first; bounds of all would make opening a table twice as dear."""

WRITER = WriterProperties(
    max_row_group_size=ROW_GROUP,
    compression="ZSTD",
    statistics_truncate_length=64,
    default_column_properties=ColumnProperties(dictionary_enabled=False),
)
"""No dictionaries: most columns of a history are ids and times, of which the writer makes one in vain. Without, a day of
100,000 versions takes half the time to write and a quarter less room."""

T = TypeVar("T")


@dataclass(frozen=True)
class Commit:
    """One new version of a table.

    `rows` were written, into the partitions `days` (empty for an unpartitioned table); partitions emptied by the
    commit are among the days.
    """

    table: str
    version: int
    rows: int
    days: tuple[date | int | str, ...]


def properties(
    metadata: Mapping[str, str], token: tuple[str, int] | None = None, *, first: bool = False
) -> CommitProperties:
    """What is written beside a commit: who made it, and the token that tells a replay.

    The first commit of a table is never rebased on another first one: delta-rs would do that without looking at tokens
    or partitions (measured with 1.6.6: two creators with one token landed their rows twice).
    """
    transactions = None if token is None else [Transaction(*token)]
    retries = 0 if first else None
    return CommitProperties(
        custom_metadata=dict(metadata) or None, app_transactions=transactions, max_commit_retries=retries
    )


def until_committed(table: str, attempt: Callable[[], T]) -> T:
    """Runs an attempt until no other writer is in its way; every attempt must read the table anew.

    Raises:
        CommitConflictError: Too many attempts lost.
    """
    pause = _FIRST_PAUSE
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except DeltaError as lost:
            if not _is_conflict(lost):
                raise
            logger.info("commit %d of %s lost against another writer", number, table)
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise CommitConflictError.gave_up(table, ATTEMPTS)


def _is_conflict(failure: DeltaError) -> bool:
    return isinstance(failure, CommitFailedError) or "already exists" in str(failure)
