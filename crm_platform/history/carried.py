"""What an increment carries in: at the start of every month the rows of a table that still matter, and those since.

A closing state is made when a build first needs it, from the one before and the month between; it says which version of
the table it came from and by which rules. One that came from days that are not what they were is passed over, so that
nothing here is ever trusted more than history itself. What still matters is decided by the pure functions handed in.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from crm_platform.contracts import MERGES, Contract
from crm_platform.history.living import living, living_links
from crm_platform.history.versions import IDENTITY
from crm_platform.lake import Lake, changed_days, differing, files_digest, lost_files

JUST_BEFORE = timedelta(microseconds=-1)

Frame = pl.DataFrame | pl.LazyFrame


def none_besides(_closing: pl.DataFrame, _since: pl.DataFrame, _day: date, _moment: datetime) -> pl.DataFrame | None:
    """Nothing that was left out of a closing state is asked for later."""
    return None


@dataclass(frozen=True)
class Carried:
    """One table's rows as increments need them.

    Attributes:
        lake: Where they lie.
        table: The history table, partitioned by processed_date.
        version: Which version of it; None where there is none.
        schema: The columns to read.
        state: Where closing states are kept.
        rules: What decides what a closing state holds; one made by others is passed over.
        matters: Which rows still matter after a moment.
        besides: Of a closing state, the rows since, its day, and the moment from which on states are asked for: what was
            left out of the first and is asked for now.
    """

    lake: Lake
    table: str
    version: int | None
    schema: pl.Schema
    state: str
    rules: str
    matters: Callable[[Frame, datetime], pl.DataFrame]
    besides: Callable[[pl.DataFrame, pl.DataFrame, date, datetime], pl.DataFrame | None] = none_besides

    def whole(self, until: date) -> pl.LazyFrame:
        """All rows that were recorded by a day."""
        return self._rows(pl.col("processed_date") <= until)

    def since(self, moment: datetime, until: date) -> pl.LazyFrame:
        """Rows that give every state from a moment on as all rows that were recorded by a day do."""
        month = moment.date().replace(day=1)
        if not self._begins_before(month):
            return self.whole(until)
        return self._from(month, pl.col("processed_date") <= until, moment)

    def prepare(self, day: date) -> None:
        """Makes the closing state that an increment of this day reads, so that none has to be made on an equal run."""
        month = day.replace(day=1)
        if self._begins_before(month):
            self.closing(month)

    def closing(self, day: date) -> pl.LazyFrame:
        """The closing state at the start of a day, made if need be: sorted by entity, so that few are found quickly."""
        made = [held for held in self.lake.days(self.state) if isinstance(held, date) and held <= day]
        valid = next((held for held in reversed(made) if self._is_valid(held)), None)
        if valid != day:
            earlier = pl.col("processed_date") < day
            rows = self._rows(earlier) if valid is None else self._from(valid, earlier, midnight(day))
            found = self.matters(rows, midnight(day) + JUST_BEFORE).select(list(self.schema))
            files = files_digest(self.lake, self.table, self.version, day)
            facts = json.dumps({"rules": self.rules, "version": self.version, "files": files})
            stored = found.with_columns(pl.lit(day).alias("state_date"), pl.lit(facts).alias("built_from"))
            self.lake.replace(self.state, stored, days=[day])
        return self.lake.scan(self.state, days=[day], schema=self.schema)

    def _begins_before(self, day: date) -> bool:
        days = [] if self.version is None else self.lake.days(self.table, self.version)
        return any(isinstance(one, date) and one < day for one in days)

    def _from(self, day: date, recorded: pl.Expr, moment: datetime) -> pl.LazyFrame:
        """The closing state of a day, the rows recorded since, and what is asked for besides."""
        closing = self.closing(day)
        since = self._rows((pl.col("processed_date") >= day) & recorded)
        if self.besides is none_besides:
            return pl.concat([closing, since])
        kept, newer = pl.collect_all([closing, since])
        more = self.besides(kept, newer, day, moment)
        return pl.concat([kept, newer, *([] if more is None else [more.select(list(self.schema))])]).lazy()

    def _is_valid(self, day: date) -> bool:
        """Whether a closing state can be read, and was made by these rules, of days that are still what they were."""
        if lost_files(self.lake, self.state, [day]):
            return False
        told = self.lake.scan(self.state, days=[day]).select("built_from").head(1).collect()
        facts = json.loads(told.item())
        if facts["rules"] != self.rules:
            return False
        if facts.get("files") == files_digest(self.lake, self.table, self.version, day):
            return True
        days = changed_days(self.lake, self.table, facts["version"], self.version)
        earlier = None if days is None else [one for one in days if one < day]
        if not earlier:
            return earlier is not None
        found = differing(self.lake, self.table, (facts["version"], self.version), earlier, self.schema)
        return found is not None and found.is_empty()

    def _rows(self, recorded: pl.Expr) -> pl.LazyFrame:
        if self.version is None:
            return pl.LazyFrame(schema=self.schema)
        read = pl.Schema({**self.schema, "processed_date": pl.Date()})
        rows = self.lake.scan(self.table, schema=read, version=self.version)
        return rows.filter(recorded).select(list(self.schema))


def carried_versions(lake: Lake, contract: Contract, version: int | None) -> Carried:
    """What increments need of an object's versions: the columns that decide what an entity is."""
    names = list(dict.fromkeys([*IDENTITY, "is_tombstone", "changed_fields", *contract.columns]))
    return Carried(
        lake=lake,
        table=f"history/{contract.object}",
        version=version,
        schema=pl.Schema({name: contract.history_schema[name] for name in names}),
        state=f"state/history/{contract.object}",
        rules=",".join(names),
        matters=lambda rows, as_of: living(rows, as_of, contract.columns),
    )


def carried_merges(lake: Lake, version: int | None) -> Carried:
    """What increments need of the merge facts; of all objects, since they lie in one table."""
    return Carried(
        lake=lake,
        table="history/merges",
        version=version,
        schema=MERGES,
        state="state/history/merges",
        rules=",".join(MERGES),
        matters=living_links,
    )


def midnight(day: date) -> datetime:
    """The moment at which a UTC day begins."""
    return datetime.combine(day, time(), UTC)
