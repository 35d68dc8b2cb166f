"""Where one fault is played: a small lake, the CRM beside it, the alerts' own sensor, and the commands people have.

What is done to it stands in `injections` and `remedies`, what must come of it in `matrix`.
"""

import datetime as dt
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from click.testing import CliRunner

from crm_platform import sources
from crm_platform.alerts import load_book, muted, mutes
from crm_platform.cli import main
from crm_platform.defs.alerting import tick
from crm_platform.defs.assembly import build_defs
from crm_platform.defs.days import range_tags
from crm_platform.defs.jobs import EVERYTHING
from crm_platform.defs.platform import Platform
from crm_platform.defs.rebuilding import late_data
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.defs.settings import Settings, load_settings
from crm_platform.features import training_set
from crm_platform.features.gated import GateError
from crm_platform.features.shelf import NEWEST, folder_of, pointed_at
from crm_platform.lake import Lake, red_partitions
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in

OF_AN_ID = 36
"""Letters of a run's id, which differs each time."""
ROOMS = ("landing/changes", "landing/snapshot", "history/", "current/", "features/")
"""What must be as if nothing had been; the gate, the books, the quarantine and the schemas rightly remember."""
TRAINING = "lead_conversion"
MENDED = ("repair", "inferred_delete")
"""What versions are that no change told of, only a snapshot."""
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Stage:
    """One lake to be spoiled and mended.

    Attributes:
        folder: Holds the settings, the lake and Dagster's home; perhaps a healthy lake's copy.
        days: How many days it covers.
        accounts: How large the sandbox is.
        logs: Where sandboxes find the logs they simulated before.
        ahead: How much later it is for the alerts than it is.
        met: When the fault was met, in seconds of the monotonic clock.
    """

    folder: Path
    days: int
    accounts: int
    logs: Path
    ahead: dt.timedelta = dt.timedelta()
    met: float = 0.0
    base_url: str = "http://127.0.0.1:9"
    left: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """What crm_platform.yaml says by now."""
        return load_settings(self.folder / "crm_platform.yaml")

    @property
    def lake(self) -> Lake:
        """The lake, opened anew."""
        return Lake(self.settings.lake_root)

    @property
    def last(self) -> dt.date:
        """The last day."""
        return FIRST + dt.timedelta(days=self.days - 1)

    def configure(self, *, more: str = "", source: str = "sandbox") -> None:
        """Writes crm_platform.yaml anew."""
        path = self.folder / "crm_platform.yaml"
        settings_in(self.folder, self.base_url, self.days)
        told = path.read_text(encoding="utf-8").replace("source: sandbox", f"source: {source}")
        path.write_text(told + more, encoding="utf-8")
        dagster_home(self.settings)

    def manifest(self, contracts: str = "", **changed: str) -> str:
        """A manifest of the sandbox by other contracts, or with other words; where it lies."""
        shipped = Path(sources.__file__).parent / "manifests" / "sandbox.yaml"
        told = shipped.read_text(encoding="utf-8")
        if contracts:
            told = told.replace("crm_platform.contracts.sandbox", f"crm_platform_tests.faults.contracts.{contracts}")
        for name, value in changed.items():
            told, count = re.subn(rf"(\b{name}: ).*", rf"\g<1>{value}", told)
            assert count, f"the manifest has no {name}"
        ours = self.folder / f"manifest{contracts}.yaml"
        ours.write_text(told, encoding="utf-8")
        return str(ours)

    @contextmanager
    def crm(self, *, source: str = "sandbox", like: dict[str, Any] | None = None, **faults: Any) -> Iterator[None]:
        """The CRM, with some faults; `like` says what else the sandbox is: its head, its retention."""
        told: dict[str, Any] = {"faults": faults, **(like or {})}
        with sandbox_at(self.logs, days=self.days, accounts=self.accounts, **told) as self.base_url:
            self.configure(source=source)
            if load_book(self.lake).read_to is None:
                self.tick()
            yield

    def meet(self) -> None:
        """From now on the fault is there."""
        self.met = time.monotonic()

    def run(self, first: dt.date = FIRST, last: dt.date | None = None, *, job: str = EVERYTHING) -> bool:
        """One run over some days; whether it succeeded."""
        return run_days(self.settings, first, last or self.last, job=job)

    def land(self, first: dt.date, last: dt.date) -> None:
        """Lands some days, and builds nothing from them."""
        dagster_home(self.settings)
        defs = build_defs(self.settings)
        landing = dg.AssetSelection.groups("landing").resolve(defs.resolve_asset_graph())
        job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=landing)
        with dg.DagsterInstance.get() as instance:
            done = job.execute_in_process(
                instance=instance, tags=range_tags(first, last), run_config=SILENT, raise_on_error=False
            )
        assert done.success

    def command(self, *words: str) -> tuple[int, str]:
        """What a command of ours answers."""
        done = CliRunner().invoke(main, [*words, "--config", str(self.folder / "crm_platform.yaml")])
        return done.exit_code, done.output

    def tick(self) -> str:
        """One tick of the sensor `alerts`."""
        defs = build_defs(self.settings)
        with dg.DagsterInstance.get() as instance:
            context = dg.build_sensor_context(instance=instance, definitions=defs)
            now = dt.datetime.now(dt.UTC) + self.ahead
            told = {"now": now, "environment": self.left.get("environment", {}), "runbook": self.settings.runbook}
            return tick(context, Platform.from_settings(self.settings), self.settings.alerts, **told)

    def told(self) -> list[str]:
        """What is open by the alerts and not muted: kind, subject, first place, and how many more places."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        book, now = load_book(self.lake), dt.datetime.now(dt.UTC)
        hidden = muted(book.open, mutes(self.lake, now))
        for problem in [one for one in book.problems if one.key not in hidden]:
            subject = " ".join(word for word in problem.subject.split() if len(word) != OF_AN_ID)
            found[problem.kind, subject].append(problem.place)
        return [_told(*key, sorted(places)) for key, places in sorted(found.items())]

    def waiting(self) -> list[str]:
        """The tables that lack days, by the first day they lack; and whether the newest training set is refused."""
        graph = build_defs(self.settings).resolve_asset_graph()
        every = [(FIRST + dt.timedelta(days=n)).isoformat() for n in range(self.days)]
        lacking: dict[str, list[str]] = defaultdict(list)
        with dg.DagsterInstance.get() as instance:
            for key in sorted(graph.materializable_asset_keys):
                name = key.to_user_string()
                if not name.startswith(("landing/changes", "history", "features")):
                    continue
                built = instance.get_materialized_partitions(key)
                missing = [day for day in every if day not in built]
                if missing:
                    lacking[missing[0]].append(name)
        told = [f"{day}: {', '.join(names)}" for day, names in sorted(lacking.items())]
        return told + (["the newest training set is refused"] if self.is_training_refused() else [])

    def is_stale(self) -> bool:
        """Whether the night would ask for days to be derived again."""
        return isinstance(late_data(platform=Platform.from_settings(self.settings)), dg.RunRequest)

    def is_training_refused(self) -> bool:
        """Whether the newest training set, if there is one, is refused to whoever asks for it."""
        newest = pointed_at(folder_of(self.lake, TRAINING), NEWEST)
        if newest is None:
            return False
        try:
            training_set(self.lake, TRAINING, newest)
        except GateError:
            return True
        return False

    def repaired(self) -> int:
        """How many versions history holds that no change told of, only a snapshot."""
        tables = [table for table in self.lake.tables() if table.startswith("history/") and table != "history/merges"]
        return sum(
            self.lake.scan(table).filter(pl.col("operation").is_in(MENDED)).select(pl.len()).collect().item()
            for table in tables
        )

    def red(self) -> list[str]:
        """The red partitions, as table, day and check."""
        return [f"{one.asset} {one.day} {one.check}" for one in red_partitions(self.lake)]

    def contents(self) -> dict[str, tuple[int, int, int]]:
        """What models read, whatever the order of rows and the cut of the feed into batches."""
        whole = contents(self.lake, without=("_batch_id", "_channel"))
        return {table: told for table, told in whole.items() if table.startswith(ROOMS)}


def _told(kind: str, subject: str, places: list[str]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{kind}: {subject}" + (f" on {places[0]}{more}" if places[0] else "")
