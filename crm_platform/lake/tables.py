"""Where every table's layout is decided: what it is partitioned by, how its files are sorted, whether rows may be replaced.

Only layouts stand here. Columns and their types come from `contracts`; reading and writing is `store`'s.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from crm_platform.lake.errors import TableNameError

ROW_GROUP = 131_072
"""Rows per row group: small enough that a range of entities is found by its statistics."""

VERSION_ORDER = ("entity_id", "event_time", "processed_time", "source_position")


@dataclass(frozen=True)
class Layout:
    """How the tables of one name pattern lie on disk.

    `partition` is None for a table that is replaced as a whole; `sort` names the columns that order the rows of a file,
    as far as a table has them; `append_only` tables never lose a row to a replacement.
    """

    pattern: str
    partition: str | None
    sort: tuple[str, ...] = ()
    append_only: bool = False


LAYOUTS = (
    Layout("landing/snapshot/*", "snapshot_date", ("entity_id",), append_only=True),
    Layout("landing/changes/*", "processed_date", VERSION_ORDER, append_only=True),
    Layout("landing/ranges", None, ("recorded_at",), append_only=True),
    Layout("quarantine/*", "processed_date", VERSION_ORDER),
    Layout("history/merges", "processed_date", ("object", "loser_id", "event_time", "processed_time", "winner_id")),
    Layout("history/*", "processed_date", VERSION_ORDER),
    Layout("current/*", None),
    Layout("features/*", "known_date", ("entity_id", "known_at")),
    Layout("state/history/*", "state_date", VERSION_ORDER),
    Layout("state/features/*", "state_date", VERSION_ORDER),
    Layout("state/*", "entity_range", ("entity_id",)),
    Layout("quality/schemas", None, ("object", "from_day", "recorded_at", "column"), append_only=True),
    Layout("gate/red", None, ("asset", "day", "check", "since"), append_only=True),
    Layout("alerts/book", None),
    Layout("alerts/mutes", None, ("at",), append_only=True),
    Layout("audit/log", "date", ("sequence",), append_only=True),
)
"""The first pattern that fits a name decides."""

_NAME = re.compile(r"[a-z0-9_]+(/[A-Za-z0-9_.=-]+)+")


def layout_of(table: str) -> Layout:
    """The layout of a table, such as `history/opportunity`.

    Raises:
        TableNameError: No pattern fits, or the name would leave the lake's root.
    """
    found = _layout(table)
    if found is not None:
        return found
    raise TableNameError.unknown(table, [layout.pattern for layout in LAYOUTS])


def is_table(name: str) -> bool:
    """Whether there is a layout for this name; training sets, for one, are kept as plain files."""
    return _layout(name) is not None


def _layout(table: str) -> Layout | None:
    if not _NAME.fullmatch(table) or ".." in table:
        return None
    return next((layout for layout in LAYOUTS if fnmatchcase(table, layout.pattern)), None)
