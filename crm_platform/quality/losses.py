"""Whether files are gone that a table's log names: of what landed, which nothing here can be derived from again.

Only what is lost is looked for, by a look at each file; whether the rows read the same is asked in `parity`.
"""

from collections.abc import Sequence

import polars as pl

from crm_platform.lake import Lake, LostFile, lost_files
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding

REMEDY = (
    "Put the files back from a backup of the lake, or run `crm-platform landing restore TABLE`, which reads them from the CRM "
    "once more, while it still has them. Derive nothing of these days again before: a rebuild refuses to."
)


def landing_losses(lake: Lake, tables: Sequence[str]) -> CheckResult:
    """Whether every file of what landed can be read: one finding over all tables.

    Args:
        lake: The lake.
        tables: What landed; a table that is not there yet has lost nothing.
    """
    lost = [file for table in tables for file in lost_files(lake, table)]
    held = sum(lake.rows(table) for table in tables if lake.exists(table))
    if not lost:
        whole = Finding(passed=True, what=f"Every file of {held:,} rows that landed is there.", total=held)
        return CheckResult("lost_files", "landing/ranges", [whole], REMEDY)
    names = ", ".join(dict.fromkeys(file.table for file in lost))
    remedy = REMEDY.replace("TABLE", lost[0].table)
    return CheckResult("lost_files", lost[0].table, [finding_of(lost, f" of {names}", held)], remedy)


def finding_of(lost: Sequence[LostFile], where: str, held: int) -> Finding:
    """What a table is found to be of which files cannot be read.

    Args:
        lost: The files, at least one.
        where: Of which tables, where one sentence must say it.
        held: How many rows there were.
    """
    shown = [(file.table, str(file.part), file.path, file.why, file.rows) for file in lost]
    schema = {"table": pl.String, "day": pl.String, "file": pl.String, "why": pl.String, "rows": pl.Int64}
    return Finding(
        passed=False,
        what=f"{len(lost)} files{where} that the log names cannot be read; the first {lost[0].why}.",
        failing=sum(file.rows for file in lost),
        total=held,
        examples=pl.DataFrame(shown, schema=schema, orient="row").head(MOST_EXAMPLES),
    )
