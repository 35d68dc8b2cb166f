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
from crm_platform.lake import Lake, changed_days, differing

JUST_BEFORE = timedelta(microseconds=-1)

Frame = pl.DataFrame | pl.LazyFrame


def none_besides(_closing: pl.DataFrame, _since: pl.DataFrame, _day: date) -> pl.DataFrame | None:
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
        besides: Of a closing state, the rows since, and its day: what was left out of the former and is asked for now.
    """

    lake: Lake
    table: str
    version: int | None
    schema: pl.Schema
    state: str
    rules: str
    matters: Callable[[Frame, datetime], pl.DataFrame]
    besides: Callable[[pl.DataFrame, pl.DataFrame, date], pl.DataFrame | None] = none_besides

    def whole(self, until: date) -> pl.LazyFrame:
        """All rows that were recorded by a day."""
        return self._rows(pl.col("processed_date") <= until)

    def since(self, moment: datetime, until: date) -> pl.LazyFrame:
        """Rows that give every state from a moment on as all rows that were recorded by a day do."""
        month = moment.date().replace(day=1)
        if not self._begins_before(month):
            return self.whole(until)
        return self._from(month, self._closing(month), pl.col("processed_date") <= until)

    def prepare(self, day: date) -> None:
        """Makes the closing state that an increment of this day reads, so that none has to be made on an equal run."""
        month = day.replace(day=1)
        if self._begins_before(month):
            self._closing(month)

    def _begins_before(self, day: date) -> bool:
        days = [] if self.version is None else self.lake.days(self.table, self.version)
        return any(isinstance(one, date) and one < day for one in days)

    def _closing(self, day: date) -> pl.DataFrame:
        """The closing state at the start of a day, made if need be."""
        made = [held for held in self.lake.days(self.state) if isinstance(held, date) and held <= day]
        for held in reversed(made):
            if self._is_valid(held):
                if held == day:
                    return self._kept(held)
                before = self._from(held, self._kept(held), pl.col("processed_date") < day)
                break
        else:
            before = self._rows(pl.col("processed_date") < day)
        found = self.matters(before, midnight(day) + JUST_BEFORE).select(list(self.schema))
        facts = json.dumps({"rules": self.rules, "version": self.version})
        stored = found.with_columns(pl.lit(day).alias("state_date"), pl.lit(facts).alias("built_from"))
        self.lake.replace(self.state, stored, days=[day])
        return found

    def _from(self, day: date, closing: pl.DataFrame, recorded: pl.Expr) -> pl.LazyFrame:
        since = self._rows((pl.col("processed_date") >= day) & recorded)
        if self.besides is none_besides:
            return pl.concat([closing.lazy(), since])
        newer = since.collect()
        more = self.besides(closing, newer, day)
        return pl.concat([closing, newer, *([] if more is None else [more.select(list(self.schema))])]).lazy()

    def _is_valid(self, day: date) -> bool:
        """Whether a closing state was made by these rules, of days that are still what they were."""
        told = self.lake.scan(self.state, days=[day]).select("built_from").head(1).collect()
        facts = json.loads(told.item())
        if facts["rules"] != self.rules:
            return False
        days = changed_days(self.lake, self.table, facts["version"], self.version)
        earlier = None if days is None else [one for one in days if one < day]
        if not earlier:
            return earlier is not None
        found = differing(self.lake, self.table, (facts["version"], self.version), earlier, self.schema)
        return found is not None and found.is_empty()

    def _kept(self, day: date) -> pl.DataFrame:
        return self.lake.scan(self.state, days=[day], schema=self.schema).collect()

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
