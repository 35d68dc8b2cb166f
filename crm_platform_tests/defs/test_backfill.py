"""A backfill started as the UI starts it, in a real webserver with a real daemon."""

import socket
import subprocess
import sys
import time

import httpx
import pytest

from crm_platform.lake import Lake
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in

DAYS = 32
LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
  }
}
"""
STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status error { message } }
  }
}
"""
ENDED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}


class Webserver:
    """A real `dagster dev` over one folder of settings."""

    def __init__(self, settings) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = (settings.folder / "dev.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-m", "crm_platform.definitions", "-p", str(self.port)],
            cwd=settings.folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if self.ask("{ version }"):
                    return self
            except httpx.TransportError:
                time.sleep(0.5)
        self.__exit__()
        pytest.fail("dagster dev did not answer within 90 s")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def ask(self, query, **variables):
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/graphql", json={"query": query, "variables": variables}, timeout=30
        )
        told = answer.raise_for_status().json()
        assert "errors" not in told, told["errors"]
        return told["data"]

    def backfill(self, keys, partitions):
        params = {"assetSelection": [{"path": key} for key in keys], "partitionNames": partitions, "fromFailure": False}
        launched = self.ask(LAUNCH, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            told = self.ask(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
            if told["status"] in ENDED:
                return told["status"]
            time.sleep(1)
        return "STILL RUNNING"


def files(lake, tables, days):
    return {(table, day): lake.files(table, [day]) for table in tables for day in lake.days(table) if day not in days}


def test_rebuilding_days_20_to_30_gives_equal_content_and_leaves_the_files_of_all_other_days(tmp_path):
    with sandbox_at(tmp_path / "sandbox", days=DAYS, accounts=20) as base_url:
        settings = settings_in(tmp_path, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
        lake = Lake(settings.lake_root)
        whole = contents(lake)
        lost = [FIRST.replace(day=day) for day in range(20, 31)]
        tables = ["history/lead", "features/lead"]
        for table in tables:
            lake.replace(table, lake.scan(table).clear().collect(), days=lost)
        others = files(lake, tables, lost)
        assert contents(lake) != whole
        with Webserver(settings) as server:
            keys = [table.split("/") for table in tables]
            status = server.backfill(keys, [day.isoformat() for day in lost])
        assert status in {"COMPLETED", "COMPLETED_SUCCESS"}
        assert contents(lake) == whole
        assert files(lake, tables, lost) == others
