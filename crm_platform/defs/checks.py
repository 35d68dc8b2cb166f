"""The one factory of asset checks: what a check found becomes evaluations per partition, a summary, and the gate.

Which checks there are stands in `checklist`; what they find is decided in `quality`.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from crm_platform.defs.days import days_of
from crm_platform.defs.materialized import newest
from crm_platform.defs.platform import Platform
from crm_platform.defs.told import Teller
from crm_platform.history.windows import before_red
from crm_platform.lake import Lake, hold, release
from crm_platform.landing import covered_days, explained, watermark
from crm_platform.quality.masking import personal_columns
from crm_platform.quality.result import CheckResult, Finding

QUIET = "Looked at, and nothing of this day to judge by itself."
"""What is said of a day without a finding: left out, the UI would call the check of that day skipped."""

Ask = Callable[[Platform, Lake, Sequence[dt.date]], CheckResult]
"""What a check asks: the platform, the lake, and the days to look at."""


@dataclass(frozen=True)
class Declared:
    """One check of one table.

    A check that `gates` writes failing days to gate/red: they and what carries their state wait. One that is not
    `by_day` looks at all covered days and answers once, whatever days a run was asked for. From the first red day of a
    table it `waits_for`, nothing is built, so nothing is looked at.
    """

    name: str
    table: str
    description: str
    ask: Ask
    gates: bool = True
    by_day: bool = True
    waits_for: Sequence[str] = ()


def check_of(declared: Declared, days: dg.PartitionsDefinition, runbook: str) -> dg.AssetChecksDefinition:
    """The Dagster check that asks a declared one; what the UI says about it ends with its section of the runbook."""
    asset_key = dg.AssetKey(declared.table.split("/"))

    @dg.asset_check(  # pyright: ignore[reportArgumentType]  Dagster takes generators and does not type them
        asset=asset_key,
        name=declared.name,
        description=f"{declared.description} Runbook: {runbook}#{declared.name}",
        blocking=declared.gates,
        partitions_def=days if declared.by_day else None,
    )
    def check(context: dg.AssetCheckExecutionContext, platform: Platform) -> Iterator[Any]:
        lake = platform.lake(context.run.run_id)
        reached = watermark(lake)
        asked = days_of(context) if declared.by_day else platform.days_until(reached)
        looked_at = before_red(lake, covered_days(asked, reached), declared.waits_for)
        with explained(lake, [declared.table, *declared.waits_for]):
            result = declared.ask(platform, lake, looked_at)
        looked_at = [day for day in looked_at if day not in result.waiting]
        if declared.gates and declared.by_day:
            _keep_gate(lake, declared, result, looked_at)
        teller = Teller(
            check=dg.AssetCheckKey(asset_key, declared.name),
            rule=declared.description,
            is_by_day=declared.by_day,
            instance=context.instance,
            lake=lake,
            personal=personal_columns(platform.contracts.values()),
            runbook=platform.runbook,
        )
        quiet = set(looked_at if declared.by_day else []) - {finding.day for finding in result.findings}
        findings = [*result.findings, *(Finding(passed=True, what=QUIET, day=day) for day in sorted(quiet))]
        written = newest(context.instance, asset_key, [f.day for f in findings if f.day is not None])
        for finding in findings:
            if finding.day is not None:
                yield dg.AssetCheckEvaluation(
                    asset_key=asset_key,
                    check_name=declared.name,
                    passed=finding.passed,
                    partition=finding.day.isoformat(),
                    severity=_severity(result),
                    target_materialization_data=_target(written.get(finding.day)),
                    description=teller.sentence(finding.what),
                    metadata=teller.metadata(result, [finding]) | teller.beside(finding.facts),
                )
        yield dg.AssetCheckResult(
            passed=result.passed,
            severity=_summary_severity(declared, result),
            description=teller.sentence(result.summary()),
            metadata=teller.metadata(result, [f for f in result.findings if not f.passed])
            | teller.beside(result.facts)
            | _held_back(declared, result)
            | {"total_rows": result.total},
        )

    return check


def _target(record: dg.EventLogRecord | None) -> AssetCheckEvaluationTargetMaterializationData | None:
    """What a day's evaluation is about: without it, a day that has been written is shown as one never looked at."""
    if record is None:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )


def _severity(result: CheckResult) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if result.severity == "error" else dg.AssetCheckSeverity.WARN


def _summary_severity(declared: Declared, result: CheckResult) -> dg.AssetCheckSeverity:
    """A warning where the gate holds the red days back: the run goes on, and what follows finds for itself how far it may go.

    An error would end the run in the check, and tell of the same red day a second time, as a failed run.
    """
    return dg.AssetCheckSeverity.WARN if declared.gates and declared.by_day else _severity(result)


def _held_back(declared: Declared, result: CheckResult) -> dict[str, str]:
    """Since which day what follows waits, in words: the colour of a summary that is a warning does not say it."""
    if not (declared.gates and declared.by_day and _is_error(result) and result.failed_days):
        return {}
    return {"held_back": f"what is built from it waits from {result.failed_days[0]} on, until that day is well"}


def _keep_gate(lake: Lake, declared: Declared, result: CheckResult, looked_at: Sequence[dt.date]) -> None:
    """Writes failing days to gate/red, and takes out those that this check has now seen to be well."""
    failed = {f.day: f for f in result.findings if f.day is not None and not f.passed} if _is_error(result) else {}
    for day, finding in failed.items():
        hold(lake, declared.table, day, declared.name, finding.what)
    release(lake, declared.table, [day for day in looked_at if day not in {*failed, *result.unjudged}], declared.name)


def _is_error(result: CheckResult) -> bool:
    return result.severity == "error"
