"""Who did what to which data, in a log where every entry carries the hash of the one before.

Appending and proving the chain. What must be audited is decided by those who act.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from crm_platform.contracts.envelope import UTC_US
from crm_platform.lake.commit import Commit, until_committed
from crm_platform.lake.errors import AuditChainError
from crm_platform.lake.store import Lake

TABLE = "audit/log"
AUDIT = pl.Schema(
    {
        "sequence": pl.Int64(),
        "at": UTC_US,
        "date": pl.Date(),
        "actor": pl.String(),
        "action": pl.String(),
        "subject": pl.String(),
        "detail": pl.String(),
        "previous": pl.String(),
        "hash": pl.String(),
    }
)
"""The columns of audit/log."""

_START = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One line of the audit log."""

    sequence: int
    hash: str


def audit(
    lake: Lake,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> Entry:
    """Adds one entry to the audit log, after all others whoever writes them.

    Args:
        lake: Where the log lies.
        actor: Who acts: a person, a run.
        action: What is done, such as `snapshot.skip`.
        subject: To which data: a table, a partition, an entity's token. No person's data.
        detail: What else matters, as JSON can hold it.
        at: When; None for now.

    Raises:
        CommitConflictError: Other writers kept winning.
    """

    def attempt() -> Entry:
        opened = lake.open(TABLE)
        last = _last(lake) if opened is not None else Entry(0, _START)
        when = (at or datetime.now(UTC)).astimezone(UTC)
        line = {
            "sequence": last.sequence + 1,
            "at": when,
            "date": when.date(),
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": json.dumps(dict(detail or {}), sort_keys=True, ensure_ascii=False),
            "previous": last.hash,
        }
        line["hash"] = _hash(line)
        _commit(lake, opened, pl.DataFrame([line], schema=AUDIT), last.sequence + 1)
        return Entry(last.sequence + 1, str(line["hash"]))

    return until_committed(TABLE, attempt)


def audit_log(lake: Lake) -> pl.DataFrame:
    """The audit log in its order, once its chain is proven.

    Raises:
        AuditChainError: An entry was changed, removed or put in later; the first one is named.
    """
    log = lake.scan(TABLE, schema=AUDIT).sort("sequence").collect()
    before = _START
    for number, line in enumerate(log.iter_rows(named=True), 1):
        if line["sequence"] != number or line["previous"] != before or line["hash"] != _hash(line):
            raise AuditChainError.broken(number)
        before = line["hash"]
    return log


def _last(lake: Lake) -> Entry:
    newest = lake.scan(TABLE).select("sequence", "hash").sort("sequence").last().collect()
    return Entry(*newest.row(0))


def _hash(line: Mapping[str, Any]) -> str:
    told = {name: line[name] for name in AUDIT if name not in ("hash", "date", "at")}
    told["at"] = line["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _commit(lake: Lake, opened: Any, line: pl.DataFrame, sequence: int) -> Commit:
    """Two writers with one sequence number share a token's name: the later one conflicts, and reads anew."""
    days = line.get_column("date").to_list()
    return lake.commit(TABLE, opened, line, days=days, token=(TABLE, sequence))
