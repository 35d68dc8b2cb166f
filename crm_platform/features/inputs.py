"""What a stored timeline is built from: each history table at one version, whole or as an increment needs it.

Reads the lake, decides nothing about days; what is built of it stands in `build`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from crm_platform.contracts import MERGES, UTC_US, Contract
from crm_platform.features.carrying import activities_that_matter, keys_at_risk, left_out, still_open
from crm_platform.features.catalogue import BoundView
from crm_platform.features.recipes import code_of
from crm_platform.features.timelines import build_timeline
from crm_platform.history.carried import Carried, carried_merges, carried_versions, midnight
from crm_platform.history.claims import Claim, first_change
from crm_platform.history.registers import TIMES
from crm_platform.history.windows import JUST_AFTER, ONE_DAY
from crm_platform.lake import Lake

VERSION = ("entity_id", "event_time", "processed_time", "source_position", "is_tombstone", "changed_fields")
"""What the kernel needs of a version beside the fields it carries."""

KNOWN_AT = pl.max_horizontal(TIMES)


@dataclass(frozen=True)
class Inputs:
    """The history a view reads, each table at one version.

    Attributes:
        lake: Where it lies.
        contracts: The CRM's contracts, by object.
        view: The view.
        versions: The version of every table; None for one that does not exist.
    """

    lake: Lake
    contracts: Mapping[str, Contract]
    view: BoundView
    versions: Mapping[str, int | None]

    @classmethod
    def pinned(cls, lake: Lake, contracts: Mapping[str, Contract], view: BoundView) -> "Inputs":
        """As they are now."""
        objects = [view.entity, *([view.activity] if view.activity else [])]
        tables = [*(f"history/{name}" for name in objects), "history/merges"]
        return cls(lake, contracts, view, {table: lake.version(table) for table in tables})

    @property
    def rules(self) -> str:
        """What stands for all but the rows that steps depend on: the view, the columns' types, the code."""
        types = {name: str(self._schema(name)) for name in self._objects()}
        told = json.dumps({"view": repr(self.view.view), "types": types, "code": code_of()}, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def steps(self, since: datetime, until: datetime, closing: pl.DataFrame | None = None) -> pl.LazyFrame:
        """The view's steps of a window; from closing rows and what is carried in, or from the whole past."""
        last = until.date()
        activity = self.view.activity

        def read(carried: Carried) -> pl.LazyFrame:
            return carried.whole(last) if closing is None else carried.since(since, last)

        merges = read(carried_merges(self.lake, self.versions["history/merges"]))
        versions = read(carried_versions(self.lake, self.contracts[self.view.entity], self._version(self.view.entity)))
        return build_timeline(
            self.view.view,
            None if activity is None else read(self._carried_activities(activity)).select(self._columns(activity)),
            merges.filter(self._mine()).select("loser_id", "winner_id", *TIMES),
            versions=versions.select(self._columns(self.view.entity)),
            since=since,
            until=until,
            closing=closing,
        )

    def prepare(self, day: date) -> None:
        """Makes what an increment of a day carries in, where it is not there yet."""
        activity = self.view.activity
        carried_merges(self.lake, self.versions["history/merges"]).prepare(day)
        carried_versions(self.lake, self.contracts[self.view.entity], self._version(self.view.entity)).prepare(day)
        if activity is not None:
            carried_versions(self.lake, self.contracts[activity], self._version(activity)).prepare(day)
            self._carried_activities(activity).prepare(day)

    def first_day(self) -> date | None:
        """The first day with a version of the entity or its activities, or a merge."""
        found = {day for table in self.versions for day in self.lake.days(table)}
        return min((day for day in found if isinstance(day, date)), default=None)

    def days_before(self, day: date) -> list[date]:
        """All days from the first to the one before the given one; none where history begins later."""
        start = self.first_day() or day
        return [start + n * ONE_DAY for n in range((day - start).days)]

    def first_change(self, claim: Claim) -> datetime | None:
        """The least moment before the claim's at which something is known otherwise than it was then; None if nothing."""
        everything = pl.lit(value=True)
        read = [(f"history/{name}", self._schema(name), everything) for name in self._objects()]
        found = [
            first_change(
                self.lake,
                table,
                (claim.inputs.get(table), self.versions[table]),
                until=claim.until,
                schema=schema,
                known=KNOWN_AT,
                only=only,
            )
            for table, schema, only in [*read, ("history/merges", MERGES, self._mine())]
        ]
        return min((moment for moment in found if moment is not None), default=None)

    def _carried_activities(self, name: str) -> Carried:
        contract, version, view = self.contracts[name], self._version(name), self.view.view
        plain = carried_versions(self.lake, contract, version)

        def besides(closing: pl.DataFrame, since: pl.DataFrame, day: date, moment: datetime) -> pl.DataFrame | None:
            asked = left_out(closing, still_open(since, midnight(day), moment))
            keys = keys_at_risk(view, closing, since["entity_id"].unique(), midnight(day) - JUST_AFTER)
            if asked.is_empty() and keys.is_empty():
                return None
            everything = plain.closing(day)
            named = pl.Series("entity_id", [], asked.dtype)
            if len(keys):
                of_keys = everything.filter(pl.col(str(view.key)).is_in(keys.implode()))
                named = left_out(closing, of_keys.select("entity_id").collect()["entity_id"].unique())
            wanted = pl.concat([asked, named]).unique()
            return everything.filter(pl.col("entity_id").is_in(wanted.implode())).collect()

        return Carried(
            lake=self.lake,
            table=plain.table,
            version=version,
            schema=plain.schema,
            state=f"state/features/{self.view.name}",
            rules=f"{view!r} {plain.rules}",
            matters=lambda rows, as_of: activities_that_matter(view, rows, as_of),
            besides=besides,
        )

    def _objects(self) -> list[str]:
        return list(dict.fromkeys([self.view.entity, *([self.view.activity] if self.view.activity else [])]))

    def _version(self, name: str) -> int | None:
        return self.versions[f"history/{name}"]

    def _columns(self, name: str) -> list[str]:
        wanted = [column for reads in self.view.lineage.values() for owner, column in reads if owner == name]
        return list(dict.fromkeys([*VERSION, *wanted]))

    def _schema(self, name: str) -> pl.Schema:
        held = self.contracts[name].history_schema
        return pl.Schema({column: held[column] for column in self._columns(name)})

    def _mine(self) -> pl.Expr:
        return pl.col("object") == self.view.entity


def closing_rows(lake: Lake, table: str, since: datetime) -> pl.DataFrame | None:
    """The last step before a moment of every entity that has one, from a stored timeline; None if there is no timeline.

    The keyframe of the month bounds how far back this reads.
    """
    version = lake.version(table)
    if version is None:
        return None
    last = (since - JUST_AFTER).date()
    days = [day for day in lake.days(table, version) if isinstance(day, date) and last.replace(day=1) <= day <= last]
    before = lake.scan(table, days=days, version=version).filter(pl.col("known_at") < pl.lit(since, UTC_US))
    ordered = before.drop("known_date").sort("entity_id", "known_at")
    return ordered.group_by("entity_id", maintain_order=True).last().collect()
