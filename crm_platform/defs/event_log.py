"""The event log of a laptop's instance: Dagster's own files, written a step's events at a time.

For every event Dagster makes new database engines, so that each statement is put together again, and three or four commits:
most of what a run costs over a year of days (ADR 16). What is written is Dagster's own code's; an instance may go back to its
class at any time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

ENGINES = 8
"""How many files' engines are kept: the index, and the runs that go on."""
AT_ONCE = 1000
"""How many events may wait, at most."""
WAITING = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        dg.DagsterEventType.STEP_OUTPUT,
        dg.DagsterEventType.HANDLED_OUTPUT,
    }
)
"""What comes once per day of a table: it waits for the next event of another kind, at the latest for the end of its step."""


class SqliteEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite: engines are kept, and events that come in crowds are written in one transaction per file.

    An event that waits is kept once what follows it is: any event of another kind, and any question that this process
    asks the log, writes it first. Whoever kills a process loses what the step at hand has told, and the step is done again.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Opens the log below a folder."""
        self._engine_of = lru_cache(ENGINES)(self._engine)
        self._tables: set[str] = set()
        self._mine = RLock()
        self._waiting: list[dg.EventLogEntry] = []
        self._open: dict[str, Connection] = {}
        super().__init__(base_dir, inst_data=inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "SqliteEventLog":
        """Opens the log of an instance, given its DAGSTER_HOME as `base_dir`; it lies where Dagster keeps it."""
        return cls(str(Path(config_value["base_dir"]) / "history" / "runs"), inst_data)

    def _engine(self, shard: str) -> Engine:
        place = self.conn_string_for_shard(shard)
        return create_engine(place, poolclass=NullPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Lets an event wait, or writes it after all that wait."""
        with self._mine:
            if self._waiting and self._waiting[0].run_id != event.run_id:
                self._keep()
            if _may_wait(event) and len(self._waiting) < AT_ONCE:
                self._waiting.append(event)
            else:
                self._keep(event)

    def _keep(self, *after: dg.EventLogEntry) -> None:
        """Writes what waits, and what comes after it; where SQLite cannot (locked, full), it waits on."""
        events = [*self._waiting, *after]
        if not events or self._open:
            return
        try:
            with self._together(events[0].run_id):
                for event in events:
                    super().store_event(event)
        except OperationalError:
            raise
        except (SQLAlchemyError, dg.DagsterError) as refused:
            self._waiting.clear()
            self._keep_singly(events, refused)
        self._waiting.clear()

    def _keep_singly(self, events: Sequence[dg.EventLogEntry], refused: Exception) -> None:
        """Writes those of some events that can be written, then tells why they could not be all at once."""
        for event in events:
            try:
                super().store_event(event)
            except (SQLAlchemyError, dg.DagsterError) as why:
                refused = why
        raise refused

    @contextmanager
    def _together(self, run_id: str) -> Iterator[None]:
        """One transaction in the file of a run, and one in the index, for whoever connects meanwhile."""
        with ExitStack() as files:
            files.callback(self._open.clear)
            for shard in (INDEX_SHARD_NAME, run_id):  # left the other way round: the run's is committed first, as ever
                self._open[shard] = files.enter_context(self._transaction(shard))
            yield

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._mine:
            self._keep()
            if shard in self._open:
                yield self._open[shard]
            else:
                with self._transaction(shard) as connection:
                    yield connection

    @contextmanager
    def _transaction(self, shard: str) -> Iterator[Connection]:
        engine = self._engine_of(shard)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        with engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Writes what waits, and lets go of the files."""
        with self._mine:
            self._keep()
        super().dispose()

    def has_table(self, table_name: str) -> bool:
        """Whether the log has a table; asked of the file until it has."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables


def _may_wait(event: dg.EventLogEntry) -> bool:
    return bool(event.run_id) and event.dagster_event is not None and event.dagster_event.event_type in WAITING
