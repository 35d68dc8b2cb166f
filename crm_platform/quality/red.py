"""Whether anything is red, over all partitions of all tables: what somebody on call looks at first."""

import polars as pl

from crm_platform.lake import Lake, red_partitions
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding

TABLE = "gate/red"
REMEDY = (
    "Begin with the earliest day: its check says what to do. Once it holds again the days that waited are built by "
    "themselves, or at once by `crm-platform rebuild --from DAY`."
)


def nothing_red(lake: Lake) -> CheckResult:
    """Whether no partition of any table is red; what is red is listed by table and check, the earliest day first."""
    red = red_partitions(lake)
    if not red:
        return CheckResult("nothing_red", TABLE, [Finding(passed=True, what="Nothing is red.")], REMEDY)
    by_check = (
        pl.DataFrame({"asset": [one.asset for one in red], "check": [one.check for one in red],
                      "day": [one.day for one in red], "since": [one.since for one in red]})
        .group_by("asset", "check")
        .agg(pl.col("day").min().alias("first_day"), pl.len().alias("days"), pl.col("since").min())
        .sort("first_day", "asset", "check")
    )  # fmt: skip
    first = by_check.row(0, named=True)
    what = (
        f"{len(red)} partitions are red by {by_check.height} checks, first {first['asset']} on {first['first_day']} "
        f"by {first['check']}."
    )
    finding = Finding(passed=False, what=what, failing=len(red), total=len(red), examples=by_check.head(MOST_EXAMPLES))
    remedy = REMEDY.replace("DAY", first["first_day"].isoformat())
    return CheckResult("nothing_red", TABLE, [finding], remedy)
