"""Which checks guard which tables: one line each; what they find is decided in `quality`, how it is told in `checks`."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence

from crm_platform.contracts import Contract
from crm_platform.defs.checks import Declared
from crm_platform.defs.platform import Platform
from crm_platform.features.catalogue import BoundView, views_for
from crm_platform.history.windows import upstream_of
from crm_platform.lake import Lake
from crm_platform.quality.contracts import living_keep_contract, quarantined, versions_keep_contract
from crm_platform.quality.derived import merges_keep_rules, steps_keep_rules
from crm_platform.quality.drift import landed_drift
from crm_platform.quality.duplicates import duplicates
from crm_platform.quality.freshness import freshness
from crm_platform.quality.gaps import missing_days, offset_gaps
from crm_platform.quality.leakage import recomputed, truncated, whole_past
from crm_platform.quality.losses import landing_losses
from crm_platform.quality.parity import parity
from crm_platform.quality.planted import planted_leak
from crm_platform.quality.reconciliation import reconciliation
from crm_platform.quality.red import nothing_red
from crm_platform.quality.result import CheckResult
from crm_platform.quality.training_gate import judged
from crm_platform.quality.values import value_drift
from crm_platform.quality.volume import volume
from crm_platform.sources import Manifest, now

WHOLE_PAST = "leakage_whole_past"
"""The check that no build waits for: it reads everything, and has a job of its own."""

OfObject = Callable[[Lake, Contract, Sequence[dt.date]], CheckResult]


def checklist(manifest: Manifest, contracts: Mapping[str, Contract]) -> list[Declared]:
    """Every check of one CRM's tables."""
    wanted = [contracts[name] for name in manifest.objects]
    return [
        *_of_feed(wanted),
        *(check for contract in wanted for check in _of_object(manifest, contract)),
        _of_merges(manifest),
        *(check for bound in views_for(manifest, contracts).values() for check in _of_view(manifest, bound)),
        *(check for name in manifest.training for check in _of_training(name)),
        *(_of_parity(table) for table in _read_by_others(manifest, contracts)),
        Declared(
            "nothing_red",
            "gate/red",
            "No partition of any table is red.",
            lambda _platform, lake, _days: nothing_red(lake),
            gates=False,
            by_day=False,
        ),
    ]


def _of_feed(contracts: Sequence[Contract]) -> list[Declared]:
    table = f"landing/changes/{contracts[0].object}"
    rooms = ("landing/changes", "landing/snapshot", "quarantine")
    landed = [f"{room}/{contract.object}" for room in rooms for contract in contracts]

    def fresh(platform: Platform, lake: Lake, _: Sequence[dt.date]) -> CheckResult:
        with platform.connected() as source:
            return freshness(lake, now(platform.manifest, source))

    return [
        Declared(
            "offset_gaps",
            table,
            "The batches of the feed tile: each begins where the one before ended, none is left open.",
            lambda _platform, lake, _days: offset_gaps(lake),
            by_day=False,
        ),
        Declared(
            "freshness",
            table,
            "The watermark is not far behind the source's clock.",
            fresh,
            gates=False,
            by_day=False,
        ),
        Declared(
            "lost_files",
            table,
            "Every file of what landed, of all objects, is there and whole: it could be derived from nothing else.",
            lambda _platform, lake, _days: landing_losses(lake, landed),
            gates=False,
            by_day=False,
        ),
    ]


def _of_object(manifest: Manifest, contract: Contract) -> list[Declared]:
    name = contract.object
    landed = (f"landing/changes/{name}", f"landing/snapshot/{name}")

    def over(check: OfObject) -> Callable[[Platform, Lake, Sequence[dt.date]], CheckResult]:
        return lambda _platform, lake, days: check(lake, contract, days)

    found = [
        Declared(
            "quarantine",
            f"landing/changes/{name}",
            "No row waits in quarantine because it broke its contract; the good ones have gone on.",
            over(quarantined),
            gates=False,
            by_day=False,
        ),
        Declared(
            "volume",
            f"landing/changes/{name}",
            "A day brings about as many changes as the same weekday of the weeks before.",
            over(volume),
            gates=False,
        ),
        _of_values(manifest, contract),
        Declared(
            "contract",
            f"history/{name}",
            "Every version keeps the object's contract and the rules of operations and times.",
            over(versions_keep_contract),
            waits_for=landed,
        ),
        Declared(
            "duplicates",
            f"history/{name}",
            "Every version stands in history once.",
            over(duplicates),
            waits_for=landed,
        ),
        Declared(
            "missing_days",
            f"history/{name}",
            "Every covered day that landed has its versions, over all days.",
            over(missing_days),
            gates=False,  # a build refuses to go over a gap by itself
            by_day=False,
            waits_for=landed,
        ),
        Declared(
            "living_rows",
            f"current/{name}",
            "Every living entity keeps the contract: no partial update left a hole.",
            lambda _platform, lake, _days: living_keep_contract(lake, contract),
            gates=False,
            by_day=False,
        ),
    ]
    if manifest.has_snapshots:
        found += [
            Declared(
                "schema_drift",
                f"landing/snapshot/{name}",
                "The export has the contract's columns, types and values; incompatible ones stop the day.",
                lambda platform, lake, days: landed_drift(lake, platform.manifest, contract, days),
            ),
            Declared(
                "reconciliation",
                f"history/{name}",
                "After each snapshot, history equals it; what the stream had lost is counted.",
                lambda platform, lake, days: reconciliation(lake, platform.manifest, contract, days),
                waits_for=landed,
            ),
        ]
    return found


def _of_values(manifest: Manifest, contract: Contract) -> Declared:
    """The check of values: of exports where the CRM can be exported, else of the versions that history gained."""
    table, what = ("landing/snapshot", "export") if manifest.has_snapshots else ("history", "day")
    references = manifest.references_of(contract.object)
    return Declared(
        "value_drift",
        f"{table}/{contract.object}",
        f"Values, nulls and lateness of each {what} are like those of at least one of the seven before it.",
        lambda _platform, lake, days: value_drift(
            lake, contract, days, has_exports=manifest.has_snapshots, references=references
        ),
        gates=False,
    )


def _of_merges(manifest: Manifest) -> Declared:
    objects = list(manifest.objects)
    return Declared(
        "contract",
        "history/merges",
        "Every merge fact names two entities of one object, once.",
        lambda _platform, lake, days: merges_keep_rules(lake, objects, days),
        waits_for=upstream_of(objects),
    )


def _of_view(manifest: Manifest, bound: BoundView) -> list[Declared]:
    table = f"features/{bound.name}"
    upstream = (*upstream_of(manifest.objects), "history/merges")
    return [
        Declared(
            "contract",
            table,
            "Every step keeps the rules of timelines: types, one step per moment, news no later, windows that fit.",
            lambda platform, lake, days: steps_keep_rules(lake, platform.contracts, bound, days),
            waits_for=upstream,
        ),
        Declared(
            "leakage_truncation",
            table,
            "Dropping everything known after a moment and building again leaves the past as it is.",
            lambda platform, lake, days: truncated(lake, platform.contracts, bound, days),
            waits_for=upstream,
        ),
        Declared(
            "leakage_recomputed",
            table,
            "DuckDB, from the definitions alone and without our kernel, gives the same values on a sample.",
            lambda platform, lake, days: recomputed(lake, platform.contracts, bound, days),
            waits_for=upstream,
        ),
        Declared(
            WHOLE_PAST,
            table,
            "Cut at every start of a month, all of the past is what was known then. A job of its own asks it, once a month.",
            lambda platform, lake, days: whole_past(lake, platform.contracts, bound, days),
            waits_for=upstream,
        ),
        Declared(
            "leakage_planted",
            table,
            "A leak planted on purpose is caught by leakage_truncation and leakage_recomputed: both are awake.",
            lambda platform, lake, days: planted_leak(lake, platform.contracts, bound, days),
            waits_for=upstream,
        ),
    ]


def _read_by_others(manifest: Manifest, contracts: Mapping[str, Contract]) -> list[str]:
    """The tables that people and other engines read without us."""
    objects = [*manifest.objects, "merges"]
    views = views_for(manifest, contracts).values()
    return [
        *(f"history/{name}" for name in objects),
        *(f"current/{name}" for name in manifest.objects),
        *(f"features/{bound.name}" for bound in views),
    ]


def _of_parity(table: str) -> Declared:
    return Declared(
        "parity",
        table,
        "Polars and DuckDB count the same rows in all of the table, and read the same in its newest day.",
        lambda _platform, lake, _days: parity(lake, table),
        gates=False,
        by_day=False,
    )


def _of_training(name: str) -> list[Declared]:
    table = f"training/{name}"

    def ask(check: str) -> Callable[[Platform, Lake, Sequence[dt.date]], CheckResult]:
        return lambda platform, lake, _days: judged(lake, name, check, platform.limits)

    return [
        Declared(
            "leakage",
            table,
            "No feature was known after its row's as_of, less the embargo; no label before it, none beyond the horizon.",
            ask("leakage"),
            by_day=False,
        ),
        Declared(
            "label_windows",
            table,
            "DuckDB reads the same outcomes from history, within horizon and grace; windows that overlap are counted.",
            ask("label_windows"),
            by_day=False,
        ),
        Declared(
            "perfect_predictors",
            table,
            "No single feature foresees the label almost perfectly: by its order, its category, or being null.",
            ask("perfect_predictors"),
            by_day=False,
        ),
    ]
