"""Faults of a CRM over time, or against other contracts: what is late or lost, a backfill that meets a poisoned day.

Each takes a stage, as in `injections`.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.jobs import INCREMENT
from crm_platform_tests.faults.injections import RED, Injection
from crm_platform_tests.faults.stage import Stage
from crm_platform_tests.pipeline import FIRST
from crm_platform_tests.webserver import Webserver

DAY = dt.timedelta(days=1)
NARROW = {"limit": "10"}
"""A manifest that asks for pages of ten."""
FORGETS = {"retention_days": 2}
"""A CRM whose feed reaches two days back."""


def midnight(day: dt.date) -> dt.datetime:
    """The first moment of a day."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def held_to(contracts: str = "", *, manifest: dict[str, str] | None = None, **faults: Any) -> Injection:
    """A run over all days by other contracts, or by a manifest with other words."""

    def inject(stage: Stage) -> None:
        with stage.crm(source=stage.manifest(contracts, **(manifest or {})), **faults):
            stage.meet()
            stage.run()

    return inject


def in_parts(rows: int, **change: Any) -> Injection:
    """A run over all days of a CRM that exports few rows in a part, and changes its shape between two of them."""

    def inject(stage: Stage) -> None:
        shape = {"day": RED, "between_pages": True, **change}
        with stage.crm(like={"export_part_rows": rows}, schema_change=shape):
            stage.meet()
            stage.run()

    return inject


def late(stage: Stage) -> None:
    """Rows come after midnight and after their day was built; history is what they come to all the same."""
    faults = {"late_commits": {"share": 0.3, "lag_seconds": 20 * 3600}}
    with stage.crm(like={"head": midnight(FIRST + 2 * DAY)}, **faults):
        stage.meet()
        assert stage.run(FIRST, FIRST + DAY, job=INCREMENT)
    with stage.crm(**faults):
        assert stage.run(FIRST + 2 * DAY, job=INCREMENT)
    assert not stage.is_stale()


def away(stage: Stage) -> None:
    """Nobody reads for longer than the feed keeps its changes."""
    with stage.crm(like={"head": midnight(FIRST + 2 * DAY)}):
        assert stage.run(FIRST, FIRST + DAY)
    with stage.crm(like=FORGETS):
        stage.meet()
        stage.run(FIRST + 2 * DAY)


def poisoned(stage: Stage) -> None:
    """Days before and after have landed; one in the middle is exported in another shape, and a backfill goes over all."""
    with stage.crm():
        stage.land(FIRST, RED - DAY)
        stage.land(RED + DAY, stage.last)
    with stage.crm(schema_change={"object": "owner", "day": RED, "rename": {"region": "territory"}}):
        stage.meet()
        with Webserver(stage.settings) as server:
            stage.left["status"] = server.backfill(_by_day(stage), _days(stage))


def _by_day(stage: Stage) -> list[list[str]]:
    """The tables of landing, history and features that have days."""
    graph = build_defs(stage.settings).resolve_asset_graph()
    rooms = ("landing/", "history/", "features/")
    keys = [key for key in graph.materializable_asset_keys if key.to_user_string().startswith(rooms)]
    return sorted(list(key.path) for key in keys if graph.get(key).partitions_def is not None)


def _days(stage: Stage) -> Sequence[str]:
    return [(FIRST + n * DAY).isoformat() for n in range(stage.days)]
