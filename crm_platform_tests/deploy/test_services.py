"""Every service of deploy/compose.yaml, as a process on a real PostgreSQL: it starts, and a run asked for in the UI succeeds."""

import time

import httpx
import pytest

from crm_platform.lake import Lake
from crm_platform_tests.deploy.postgres import PASSWORD, postgres_running
from crm_platform_tests.deploy.services import PATIENCE, services_in

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
STATUS = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }
"""
DAEMONS = """
{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }
"""
CHANGES = ["landing", "changes"]
FEED = {"repositoryName": "__repository__", "repositoryLocationName": "crm_platform", "jobName": "__ASSET_JOB"}
OBJECTS = ("account", "activity", "contact", "lead", "opportunity", "owner")


def asked(services, query, **variables):
    answer = httpx.post(f"{services.url('3000')}/graphql", json={"query": query, "variables": variables}, timeout=60)
    told = answer.raise_for_status().json()
    assert "errors" not in told, told["errors"]
    return told["data"]


def until(services, found):
    """What is found, once something is."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if (there := found()) is not None:
                return there
        except httpx.TransportError:
            assert services.running["webserver"].poll() is None, services.log
        assert time.monotonic() < deadline, services.log
        time.sleep(0.5)


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    with postgres_running() as database, services_in(tmp_path_factory.mktemp("srv"), database) as found:
        yield found


def test_the_webserver_answers_and_the_code_server_has_given_it_the_definitions(services):
    told = until(
        services, lambda: httpx.get(f"{services.url('3000')}/server_info", timeout=60).raise_for_status().json()
    )
    assert told["dagster_webserver_version"]
    schedules = asked(
        services,
        '{ schedulesOrError(repositorySelector: {repositoryName: "__repository__", '
        'repositoryLocationName: "crm_platform"}) { ... on Schedules { results { name } } } }',
    )
    assert "late_data" in {one["name"] for one in schedules["schedulesOrError"]["results"]}


def test_a_run_asked_for_in_the_ui_lands_the_feed_of_the_crm(services):
    selector = {**FEED, "assetSelection": [{"path": [*CHANGES, name]} for name in OBJECTS], "assetCheckSelection": []}
    tags = [{"key": "dagster/partition", "value": "2026-03-01"}]
    params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": {"tags": tags}}
    launched = until(services, lambda: asked(services, LAUNCH, params=params))["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched

    def ended():
        status = asked(services, STATUS, id=launched["run"]["runId"])["runOrError"]["status"]
        return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else None

    assert until(services, ended) == "SUCCESS", services.log
    assert Lake(services.folder / "data" / "lake").rows("landing/changes/lead") > 0


def test_every_daemon_that_the_instance_needs_runs(services):
    def beating():
        told = asked(services, DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        needed = {one["daemonType"]: one["healthy"] for one in told if one["required"]}
        return needed if needed and all(needed.values()) else None

    needed = until(services, beating)
    assert {"SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING", "BACKFILL"} <= needed.keys()


def test_no_service_writes_the_password_of_the_database(services):
    assert "Serving dagster-webserver" in services.log
    assert PASSWORD not in services.log
