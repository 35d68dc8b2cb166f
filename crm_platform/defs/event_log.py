"""The event log of a laptop's instance: Dagster's own files, written without starting over at every event.

For every event Dagster makes new database engines, so that each statement is put together again: most of what a run costs
over a year of days (ADR 16). Files and rows are the same; an instance may go back to Dagster's class at any time.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

ENGINES = 8
"""How many files' engines are kept: the index, and the runs that go on."""


class SqliteEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite, whose engines are kept from event to event."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Opens the log below a folder."""
        self._engine_of = lru_cache(ENGINES)(self._engine)
        self._tables: set[str] = set()
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

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine_of(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def has_table(self, table_name: str) -> bool:
        """Whether the log has a table; asked of the file until it has."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables
