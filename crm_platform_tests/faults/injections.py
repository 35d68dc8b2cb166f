"""How each fault is brought about, with nothing but real parts: the CRM's answers, files, processes, contracts.

Each takes a stage and plays what happens until somebody could be told. What mends it stands in `remedies`.
"""

import datetime as dt
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.scheduler.instigation import TickStatus

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.jobs import INCREMENT, new_changes
from crm_platform.defs.platform import Platform
from crm_platform_tests.defs.ticking import sensor_in, tell_ticks
from crm_platform_tests.faults.stage import Stage

Injection = Callable[[Stage], None]
RED = dt.date(2026, 3, 4)


def answered(job: str | None = None, **faults: Any) -> Injection:
    """A run over all days of a CRM that answers so."""

    def inject(stage: Stage) -> None:
        with stage.crm(**faults):
            stage.meet()
            stage.run(**({} if job is None else {"job": job}))

    return inject


def changed(**change: Any) -> Injection:
    """A run over all days of a CRM whose objects look different from the fourth day on."""
    return answered(schema_change={"day": RED, **change})


def checked(stage: Stage, table: str, *check: str) -> None:
    """What the check finds, now that a table was spoiled."""
    stage.command("check", table, *check)


def spoiled(table: str, check: str, spoiling: Callable[[pl.DataFrame], pl.DataFrame], day: dt.date = RED) -> Injection:
    """A day of a table that holds something else, and the check that is asked about it."""

    def inject(stage: Stage) -> None:
        stage.tick()
        held = stage.lake.scan(table, days=[day]).collect()
        stage.meet()
        stage.lake.replace(table, spoiling(held), days=[day])
        checked(stage, table, check)

    return inject


def cut_behind_the_log(stage: Stage) -> None:
    """A file of a table loses its last row, and the log does not know."""
    stage.tick()
    (file,) = map(Path, stage.lake.files("history/lead", [RED]))
    whole, kept = file.stat().st_size, pl.read_parquet(file)
    stage.meet()
    kept.head(kept.height - 1).write_parquet(file, compression="zstd", statistics=False)
    short = file.read_bytes()
    footer = 8 + int.from_bytes(short[-8:-4], "little")
    file.write_bytes(short[:-footer] + bytes(whole - len(short)) + short[-footer:])
    checked(stage, "history/lead", "parity")


def process(stage: Stage, **how: Any) -> subprocess.Popen[str]:
    """A run over all days in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "crm_platform_tests.pipeline", str(stage.folder / "crm_platform.yaml")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True, **how,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "running\n"
    child.stdout.close()
    return child


def killed(stage: Stage) -> None:
    """The process of a run is killed once history began; an hour later the alerts look."""
    with stage.crm():
        stage.meet()
        child = process(stage)
        while not stage.lake.exists("history/account") and child.poll() is None:
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    stage.ahead = dt.timedelta(hours=2)


def full(stage: Stage) -> None:
    """No file of the process that runs can grow beyond 400 kB: what a full disk answers, for Dagster's files too."""
    with stage.crm():
        stage.meet()
        most = 400_000
        child = process(stage, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
        try:
            stage.left["code"] = child.wait(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    stage.ahead = dt.timedelta(hours=2)


def stuck(stage: Stage) -> None:
    """A run that was made and never ends."""
    stage.tick()
    stage.meet()
    job = build_defs(stage.settings).resolve_job_def(INCREMENT)
    with dg.DagsterInstance.get() as instance:
        stage.left["run"] = instance.create_run_for_job(job).run_id
    stage.ahead = dt.timedelta(hours=2)


def dead_source(stage: Stage) -> None:
    """The CRM answers nobody: three ticks of the sensor of the feed fail."""
    stage.tick()
    stage.meet()
    platform = Platform.from_settings(stage.settings)
    with dg.DagsterInstance.get() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
        failures = 0
        for _ in range(3):
            try:
                new_changes(context)
            except Exception:  # noqa: BLE001  Dagster records a tick of any error as failed
                failures += 1
        stage.left["sensor"] = sensor_in(instance, "new_changes")
        tell_ticks(instance, stage.left["sensor"], [TickStatus.FAILURE] * failures)


def dead_target(stage: Stage) -> None:
    """The alerts' target answers nobody while a check fails."""
    targets = "alerts: {targets: [{kind: webhook, name: on-call, url_env: HOOK}]}\n"
    stage.configure(more=targets)
    stage.left["environment"] = {"HOOK": "http://127.0.0.1:9/hook"}
    spoiled("history/lead", "duplicates", lambda rows: pl.concat([rows, rows]))(stage)
