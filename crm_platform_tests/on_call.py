"""A night on call: a real `dg dev`, an export that renames a column, and three receivers that its daemon tells of it."""

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from crm_platform.defs.sandboxed import dagster_home
from crm_platform.defs.settings import Settings, load_settings
from crm_platform_tests.alerts.receivers import Received, http_receiver, smtp_receiver
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in
from crm_platform_tests.webserver import Project

HOOKS = ("CRM_TESTS_WEBHOOK_URL", "CRM_TESTS_SLACK_URL")
TARGETS = """alerts:
  targets:
    - {{kind: webhook, name: hook, url_env: {0}}}
    - {{kind: slack, name: on-call, url_env: {1}}}
    - {{kind: email, name: team, host: 127.0.0.1, port: {port}, starttls: false,
       sender: crm-platform@example.org, recipients: [data-team@example.org]}}
"""
PATIENCE = 180
SNAPSHOT = ["landing", "snapshot", "lead"]


@dataclass
class Night:
    """What whoever is on call has: the UI, the red day, and what receivers got."""

    server: Project
    settings: Settings
    red: str
    webhook: Received
    slack: Received
    mails: list


def day(number: int) -> str:
    """The key of a day, the first of which is 1."""
    return (FIRST + dt.timedelta(days=number - 1)).isoformat()


@contextmanager
def night(folder: Path, sandbox: Path, *, days: int, accounts: int) -> Iterator[Night]:
    """All days but the last are built; then the sensor is switched on, and the last day's snapshot of leads backfilled.

    Given once every receiver has been told.
    """
    folder.mkdir()
    renamed = {"schema_change": {"object": "lead", "day": day(days), "rename": {"source": "origin"}}}
    with ExitStack() as held:
        base_url = held.enter_context(sandbox_at(sandbox, days=days, accounts=accounts, faults=renamed))
        webhook, slack = (held.enter_context(http_receiver()) for _ in HOOKS)
        port, mails = held.enter_context(smtp_receiver())
        os.environ.update(zip(HOOKS, (webhook.url, slack.url), strict=True))
        settings = _told(settings_in(folder, base_url, days), port)
        dagster_home(settings)
        assert run_days(settings, FIRST, FIRST + dt.timedelta(days=days - 2))
        server = held.enter_context(Project(settings))
        server.start_sensor("alerts")
        _until(lambda: [tick for tick in server.ticks("alerts") if tick["status"] == "SKIPPED"], server)
        assert server.backfill([SNAPSHOT], [day(days)]) == "COMPLETED_FAILED"  # nothing of it could land
        _until(lambda: webhook and slack and mails, server)
        yield Night(server, settings, day(days), webhook, slack, mails)


def _told(settings: Settings, port: int) -> Settings:
    path = settings.folder / "crm_platform.yaml"
    told = path.read_text(encoding="utf-8") + TARGETS.format(*HOOKS, port=port)
    path.write_text(told, encoding="utf-8")
    return load_settings(path)


def _until(seen: Callable[[], object], server: Project) -> None:
    deadline = time.monotonic() + PATIENCE
    while not seen():
        if time.monotonic() > deadline:
            raise TimeoutError(server.ticks("alerts"), server.runs())
        time.sleep(1)
