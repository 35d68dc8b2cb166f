"""A real `dagster dev` or `dg dev` over one folder of settings, asked through GraphQL as the UI asks it."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from crm_platform.defs.settings import Settings

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
START_SENSOR = """
mutation ($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) { __typename ... on PythonError { message } }
}
"""
TICKS = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks { status skipReason runIds error { message } } } }
  }
}
"""
RUNS = "{ runsOrError { ... on Runs { results { jobName status } } } }"
SCHEDULE = """
mutation ($selector: ScheduleSelector!, $at: Float) {
  scheduleDryRun(selectorData: $selector, timestamp: $at) {
    __typename
    ... on PythonError { message }
    ... on DryRunInstigationTick {
      evaluationResult { skipReason error { message } runRequests { runKey tags { key value } } }
    }
  }
}
"""
BACKFILLS = "{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id } } } }"
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

    command = (sys.executable, "-m", "dagster", "dev", "-m", "crm_platform.definitions")
    location = "crm_platform.definitions"

    def __init__(self, settings: Settings) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = (settings.folder / "dev.log").open("w")
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background: dagster dev ends by interrupts
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [*self.command, "-h", "127.0.0.1", "-p", str(self.port)],
            cwd=settings.folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.ask("{ version }"):
                    return self
            except httpx.TransportError:
                time.sleep(0.5)
        self.__exit__()
        raise TimeoutError(f"{self.command[1:]} did not answer within 90 s; see {self.log.name}")

    @property
    def url(self):
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def ask(self, query, **variables):
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=30)
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

    def newest_backfill(self):
        """The id of the backfill that was launched last."""
        return self.ask(BACKFILLS)["partitionBackfillsOrError"]["results"][0]["id"]

    def named(self, **name):
        """A sensor or a schedule of the code location, as GraphQL selects it."""
        return {"repositoryName": "__repository__", "repositoryLocationName": self.location, **name}

    def start_sensor(self, name):
        """Turns a sensor on."""
        told = self.ask(START_SENSOR, selector=self.named(sensorName=name))["startSensor"]
        assert told["__typename"] == "Sensor", told

    def ticks(self, name):
        """What a sensor's ticks came to, the oldest first."""
        told = self.ask(TICKS, selector=self.named(sensorName=name))
        return told["sensorOrError"]["sensorState"]["ticks"][::-1]

    def runs(self):
        """The job and the status of every run."""
        return [(run["jobName"], run["status"]) for run in self.ask(RUNS)["runsOrError"]["results"]]

    def tick_of_schedule(self, name, moment):
        """What a schedule would ask for at a moment."""
        told = self.ask(SCHEDULE, selector=self.named(scheduleName=name), at=moment.timestamp())["scheduleDryRun"]
        assert told["__typename"] == "DryRunInstigationTick", told
        return told["evaluationResult"]


class Project(Webserver):
    """A real `dg dev` in a project's folder: it finds the package and its declaration there, as for somebody who types it."""

    command = (str(Path(sys.executable).parent / "dg"), "dev")
    location = "crm_platform"

    def __init__(self, settings: Settings) -> None:
        for name in ("pyproject.toml", "crm_platform"):
            (settings.folder / name).symlink_to(Path(__file__).parents[1] / name)
        super().__init__(settings)
