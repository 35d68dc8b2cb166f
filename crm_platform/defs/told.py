"""What the evaluation of a check carries for whoever is called: counts, examples, since when, what to do, what to run.

Examples and sentences pass the mask here, and nowhere is an evaluation made without it. When to tell is `checks`' business.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from crm_platform.defs.report import table
from crm_platform.lake import Lake, red_partitions
from crm_platform.quality.masking import masked, masked_text
from crm_platform.quality.result import CheckResult, Finding, Markdown

ENDED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
LOOKED_BACK = 200
"""How many evaluations of a check are looked at to say since when it fails, at most."""

MOST_SHOWN = 100
"""Rows of a table that stands beside a finding, such as an object's columns."""


@dataclass(frozen=True)
class Teller:
    """Tells what one check of one table found.

    Attributes:
        check: The check's key in Dagster.
        rule: What must hold, in a sentence.
        is_by_day: Whether the check looks at the days it is asked for.
        instance: Where earlier evaluations stand.
        lake: Where the gate stands.
        personal: The columns that hold personal data.
        runbook: Where the runbook is: a URL, or a path in the repository.
    """

    check: dg.AssetCheckKey
    rule: str
    is_by_day: bool
    instance: dg.DagsterInstance
    lake: Lake
    personal: frozenset[str]
    runbook: str

    def sentence(self, words: str) -> str:
        """Words that anybody may see."""
        return masked_text(words)

    def metadata(self, result: CheckResult, findings: Sequence[Finding]) -> dict[str, Any]:
        """What an evaluation of some findings carries."""
        told: dict[str, Any] = {
            "failing_rows": sum(f.failing for f in findings),
            "total_rows": sum(f.total for f in findings),
        }
        failed = [f for f in findings if not f.passed]
        if failed:
            days = sorted(f.day for f in failed if f.day is not None)
            told |= {
                "rule": self.rule,
                "first_seen": dg.MetadataValue.timestamp(self.first_seen(days[0] if days else None)),
                "what_to_do": masked_text(result.advice),
                "run_again": self.command(days),
                "runbook": self._runbook(),
            }
            if days:
                told["partition"] = days[0].isoformat()
        examples = [f.examples for f in findings if f.examples is not None and not f.examples.is_empty()]
        if examples:
            told["examples"] = dg.MetadataValue.md(table(masked(examples[0], self.personal)))
        return told | {name: fact for name, fact in result.facts.items() if isinstance(fact, int | float | str)}

    def beside(self, facts: Mapping[str, object]) -> dict[str, Any]:
        """What is shown beside the verdict, whatever it is: frames as tables, Markdown as such, numbers and words."""
        told: dict[str, Any] = {}
        for name, fact in facts.items():
            if isinstance(fact, pl.DataFrame):
                told[name] = dg.MetadataValue.md(table(masked(fact, self.personal), MOST_SHOWN))
            elif isinstance(fact, Markdown):
                told[name] = dg.MetadataValue.md(fact.text)
            elif isinstance(fact, int | float | str):
                told[name] = fact
        return told

    def command(self, days: Sequence[dt.date]) -> str:
        """The command that looks again at just what failed."""
        name = f"crm-platform check {'/'.join(self.check.asset_key.path)} {self.check.name}"
        if not self.is_by_day or not days:
            return name
        return f"{name} --from {days[0]}" + (f" --to {days[-1]}" if len(days) > 1 else "")

    def first_seen(self, day: dt.date | None) -> dt.datetime:
        """Since when the check has failed, for a day or as a whole: by the gate, or by its evaluations since it last held."""
        asset = "/".join(self.check.asset_key.path)
        held = [red.since for red in red_partitions(self.lake) if (red.asset, red.check) == (asset, self.check.name)]
        of_day = [
            red.since
            for red in red_partitions(self.lake)
            if (red.asset, red.check, red.day) == (asset, self.check.name, day)
        ]
        if day is not None and of_day:
            return min(of_day)
        if day is None and held:
            return min(held)
        return self._first_failure(day)

    def _first_failure(self, day: dt.date | None) -> dt.datetime:
        which = PartitionKeyFilter(key=None if day is None else day.isoformat())
        records = self.instance.event_log_storage.get_asset_check_execution_history(
            self.check, limit=LOOKED_BACK, status=ENDED, partition_filter=which
        )
        since = dt.datetime.now(dt.UTC)
        for record in records:
            if record.status != AssetCheckExecutionRecordStatus.FAILED:
                break
            since = dt.datetime.fromtimestamp(record.create_timestamp, dt.UTC)
        return since

    def _runbook(self) -> dg.MetadataValue[Any]:
        section = f"{self.runbook}#{self.check.name}"
        return dg.MetadataValue.url(section) if "://" in section else dg.MetadataValue.text(section)
