"""Whether what is here is new enough: how far the watermark stands behind the source's clock."""

from datetime import datetime, timedelta

import polars as pl

from crm_platform.lake import Lake
from crm_platform.landing import watermark
from crm_platform.quality.result import CheckResult, Finding

REMEDY = (
    "See whether the sensor that follows the head runs, and whether the CRM answers; then materialize landing/changes."
)
ALLOWED = timedelta(hours=26)
"""A day and the time that a nightly run may take."""


def freshness(lake: Lake, moment: datetime, allowed: timedelta = ALLOWED) -> CheckResult:
    """Whether the watermark is no further behind than allowed.

    Args:
        lake: Where to look.
        moment: Now, by the source's clock.
        allowed: How far behind it may stand.
    """
    reached = watermark(lake)
    if reached is None:
        finding = Finding(passed=False, what="Nothing has landed yet.", failing=1, total=1)
        return CheckResult("freshness", "landing/ranges", [finding], REMEDY, severity="warn")
    behind = max(moment - reached, timedelta(0))
    what = f"The watermark {reached:%Y-%m-%d %H:%M:%S} is {_plain(behind)} behind the source's clock"
    passed = behind <= allowed
    end = "." if passed else f", and {_plain(allowed)} are allowed."
    shown = None if passed else pl.DataFrame({"watermark": [reached], "clock": [moment]})
    finding = Finding(passed=passed, what=what + end, failing=int(not passed), total=1, examples=shown)
    facts: dict[str, object] = {"behind_seconds": behind.total_seconds()}
    return CheckResult("freshness", "landing/ranges", [finding], REMEDY, severity="warn", facts=facts)


def _plain(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours) + [f"{minutes % 60} min"] * bool(minutes % 60)
    return " ".join(parts) or "less than a minute"
