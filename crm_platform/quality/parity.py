"""Whether two engines read the same from a table: Polars through the Delta log, and DuckDB from the files it names."""

import polars as pl

from crm_platform.lake import Lake, layout_of, lost_files, query, rows_in_files
from crm_platform.quality.losses import finding_of
from crm_platform.quality.result import CheckResult, Finding

REMEDY = (
    "Read the table with DuckDB from its files and compare: a file that the log does not name, or one that is gone, shows in "
    "the counts. Then derive the day again: `crm-platform rebuild --from DAY`."
)


def parity(lake: Lake, table: str) -> CheckResult:
    """Whether Polars and DuckDB count the same rows in all of a table, and read the same in its newest day.

    Both read one version, whatever is written meanwhile.

    Args:
        lake: Where the table lies.
        table: The table; one that is not there yet passes.
    """
    if not lake.exists(table):
        return CheckResult("parity", table, [Finding(passed=True, what="Nothing is written yet.")], REMEDY)
    lost = lost_files(lake, table)
    if lost:
        found = finding_of(lost, "", lake.rows(table))
        return CheckResult("parity", table, [found], REMEDY.replace("DAY", str(lost[0].part or "DAY")))
    version, partition = lake.version(table), layout_of(table).partition
    newest = max(lake.days(table, version), default=None) if partition else None
    days = None if newest is None else [newest]
    rows = lake.scan(table, version=version, days=days)
    ours = rows.collect().lazy()
    read = query("SELECT * FROM told", lake=lake, version=version, days=days, told=table)
    younger = [pl.lit(None, dtype).alias(name) for name, dtype in ours.collect_schema().items() if name not in read]
    theirs = read.lazy().with_columns(younger)
    counted = {
        "Polars": lake.scan(table, version=version).select(pl.len()).collect().item(),
        "DuckDB": rows_in_files(lake, table, version),
    }
    logged = lake.rows(table, version)
    differing = unlike(ours, theirs)
    if set(counted.values()) == {logged} and not differing:
        shown = "the table" if newest is None else f"{newest}"
        found = Finding(
            passed=True, what=f"{logged:,} rows by the log and both engines; {shown} reads the same.", total=logged
        )
        return CheckResult("parity", table, [found], REMEDY)
    what = f"The log counts {logged:,} rows, Polars {counted['Polars']:,} and DuckDB {counted['DuckDB']:,}"
    what += f"; read otherwise: {', '.join(differing)}." if differing else "."
    shown = pl.DataFrame({"reader": ["log", *counted], "rows": [logged, *counted.values()]})
    shown = shown.with_columns(pl.lit(", ".join(differing)).alias("columns_read_otherwise"))
    missed = max(abs(logged - n) for n in counted.values()) or rows.select(pl.len()).collect().item()
    wrong = Finding(passed=False, what=what, day=None, failing=missed, total=logged, examples=shown)
    return CheckResult("parity", table, [wrong], REMEDY.replace("DAY", str(newest)))


def unlike(ours: pl.LazyFrame, theirs: pl.LazyFrame) -> list[str]:
    """The columns whose values differ between two frames of the same columns, whatever the order of rows."""
    names = list(ours.collect_schema())
    found = [frame.select(_sum_of(name, frame) for name in names).collect() for frame in (ours, theirs)]
    return [name for name in names if found[0][name].item() != found[1][name].item()]


def _sum_of(name: str, frame: pl.LazyFrame) -> pl.Expr:
    """The sum of hashes of a column's values, whatever their order and however an engine types them."""
    dtype = frame.collect_schema()[name]
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        column = column.dt.epoch("us")
    elif isinstance(dtype, pl.Decimal):
        column = column.cast(pl.Decimal(38, dtype.scale))
    elif isinstance(dtype, pl.List):
        column = column.list.join("\0")
    return column.cast(pl.String).hash(seed=7).cast(pl.UInt128).sum().alias(name)
