"""How a feature view is declared: whose features, from which activities, over which windows.

Declarations only, checked as far as they can be without data. What the features come to stands in `timelines`; which
views the platform offers in `catalogue`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

from crm_platform.contracts import PermanentError

RESERVED = frozenset({"entity_id", "known_at", "changed_at", "is_deleted", "known_date", "as_of", "recency"})
"""Columns of a timeline, or of a join with it, that no feature may be called."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WINDOW = re.compile(r"([1-9][0-9]{0,6})([smhdw])")


class ViewError(PermanentError):
    """A view or a feature cannot be used as it is declared."""

    @classmethod
    def window(cls, window: object) -> "ViewError":
        """Says that a window is none."""
        return cls(
            f"The window {window!r} is no stretch of time. Give a whole number and a unit (s, m, h, d, w), like '30d', "
            "or None for all time."
        )

    @classmethod
    def currency(cls, column: str) -> "ViewError":
        """Says that a sum names a currency column without currencies, or the other way round."""
        return cls(
            f"Sum({column!r}) needs both `currency` (a column) and `currencies` (at least one code, each once), or "
            "neither. Name the currencies that shall have a feature each."
        )

    @classmethod
    def nameless(cls, what: str) -> "ViewError":
        """Says that a name is missing."""
        return cls(f"{what} needs a name that is not empty. Give one.")

    @classmethod
    def keyless(cls, view: str, features: Sequence[str]) -> "ViewError":
        """Says that features count activities and nobody said whose they are."""
        return cls(
            f"View {view} has no key, but {len(features)} features over activities: {', '.join(features)}. "
            "Give the column of the activities that names the entity as `key`, or leave these features out."
        )

    @classmethod
    def empty(cls, view: str) -> "ViewError":
        """Says that a view has no feature."""
        return cls(f"View {view} has no features. Declare at least one.")

    @classmethod
    def taken(cls, view: str, columns: Sequence[str]) -> "ViewError":
        """Names the columns that two features want, or that are kept."""
        return cls(
            f"View {view} names {len(columns)} columns twice or as the platform does: {', '.join(columns)}. "
            "Declare each feature once, and rename a field of that name."
        )


def span_of(window: str | None) -> timedelta | None:
    """How long a window is; None for all time.

    Raises:
        ViewError: It is no whole number and unit.
    """
    if window is None:
        return None
    found = _WINDOW.fullmatch(window) if isinstance(window, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if found is None:
        raise ViewError.window(window)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@dataclass(frozen=True)
class Feature(ABC):
    """One thing that is known of an entity; `column` is what it reads, if anything."""

    column: str | None = None

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The timeline's columns it becomes."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the entity's or the activities' history that it reads."""
        return () if self.column is None else (self.column,)


@dataclass(frozen=True)
class Attribute(Feature):
    """A field of the entity itself, as known; with `since`, also the moment from which its present value has held."""

    column: str = ""
    since: bool = False

    def __post_init__(self) -> None:
        """Refuses an attribute of nothing."""
        if not self.column:
            raise ViewError.nameless("Attribute")

    @property
    def columns(self) -> tuple[str, ...]:
        """The field's own name, and `{field}_since`."""
        return (self.column, f"{self.column}_since") if self.since else (self.column,)


@dataclass(frozen=True)
class Windowed(Feature):
    """A feature over the activities of a trailing window; None for all time."""

    op: ClassVar[str] = ""
    needs_column: ClassVar[bool] = True
    window: str | None = None

    def __post_init__(self) -> None:
        """Refuses a window that is none, and a missing column."""
        span_of(self.window)
        if self.needs_column and not self.column:
            raise ViewError.nameless(f"The column of {type(self).__name__}")

    @property
    def span(self) -> timedelta | None:
        """How long the window is; None for all time."""
        return span_of(self.window)

    @property
    def columns(self) -> tuple[str, ...]:
        """`{column}_{op}_{window}`, without what there is not."""
        return ("_".join(part for part in (self.column, self.op, self.window) if part),)


@dataclass(frozen=True)
class Count(Windowed):
    """How many activities."""

    op: ClassVar[str] = "count"
    needs_column: ClassVar[bool] = False
    column: None = field(default=None, init=False)  # pyright: ignore[reportIncompatibleVariableOverride]


@dataclass(frozen=True)
class Sum(Windowed):
    """The exact sum of a column's values; 0 over none. With a currency column, one feature per declared currency."""

    op: ClassVar[str] = "sum"
    currency: str | None = None
    currencies: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """`{column}_sum_{window}`, or `{column}_{currency}_sum_{window}` for each currency."""
        if self.currency is None:
            return super().columns
        ends = "_".join(part for part in (self.op, self.window) if part)
        return tuple(f"{self.column}_{code.lower()}_{ends}" for code in self.currencies)

    @property
    def reads(self) -> tuple[str, ...]:
        """The summed column and the currency's."""
        return super().reads if self.currency is None else (*super().reads, self.currency)


@dataclass(frozen=True)
class Mean(Windowed):
    """The mean of a column's values; null over none."""

    op: ClassVar[str] = "mean"


@dataclass(frozen=True)
class Std(Windowed):
    """The standard deviation of a column's values as a sample (n − 1); null over fewer than two."""

    op: ClassVar[str] = "std"


@dataclass(frozen=True)
class Min(Windowed):
    """The least of a column's values; null over none."""

    op: ClassVar[str] = "min"


@dataclass(frozen=True)
class Max(Windowed):
    """The greatest of a column's values; null over none."""

    op: ClassVar[str] = "max"


@dataclass(frozen=True)
class Distinct(Windowed):
    """How many different values a column has, nulls aside."""

    op: ClassVar[str] = "distinct"


@dataclass(frozen=True)
class First(Feature):
    """A column's value on the earliest activity of all time, null or not."""

    @property
    def columns(self) -> tuple[str, ...]:
        """`{column}_first`."""
        return (f"{self.column}_first",)

    def __post_init__(self) -> None:
        """Refuses the first of nothing."""
        if not self.column:
            raise ViewError.nameless("The column of First")


@dataclass(frozen=True)
class Last(Feature):
    """A column's value on the latest activity of all time, null or not."""

    @property
    def columns(self) -> tuple[str, ...]:
        """`{column}_last`."""
        return (f"{self.column}_last",)

    def __post_init__(self) -> None:
        """Refuses the last of nothing."""
        if not self.column:
            raise ViewError.nameless("The column of Last")


@dataclass(frozen=True)
class Recency(Feature):
    """When the latest activity took place, stored as `last_at`; a join adds `recency`, how long ago that is."""

    column: None = field(default=None, init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def columns(self) -> tuple[str, ...]:
        """`last_at`."""
        return ("last_at",)


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """The features of one kind of entity, from its own versions and from one kind of activity.

    Attributes:
        name: What the view is called.
        entity: The kind of entity.
        features: What is known of each, in the order of the timeline's columns.
        key: The activities' column that names the entity; None where there are attributes only.
        time: The activities' column with their business time.

    Raises:
        ViewError: Names what is declared wrong.
    """

    name: str
    entity: str
    features: Sequence[Feature]
    key: str | None = None
    time: str = "occurred_at"

    def __post_init__(self) -> None:
        """Checks all that needs no data; a view is a value, so its features are held as a tuple."""
        object.__setattr__(self, "features", tuple(self.features))
        for what, name in (("A view", self.name), (f"The entity of view {self.name}", self.entity)):
            if not name:
                raise ViewError.nameless(what)
        if not self.features:
            raise ViewError.empty(self.name)
        for feature in self.features:
            if isinstance(feature, Sum):
                codes = [code.lower() for code in feature.currencies]
                if (feature.currency is None) != (not codes) or len(set(codes)) < len(codes):
                    raise ViewError.currency(str(feature.column))
        if self.key is None and self.over_activities:
            raise ViewError.keyless(self.name, [name for one in self.over_activities for name in one.columns])
        names = self.columns
        taken = sorted({name for name in names if name in RESERVED or names.count(name) > 1})
        if taken:
            raise ViewError.taken(self.name, taken)

    @property
    def columns(self) -> list[str]:
        """The timeline's feature columns, in order."""
        return [name for feature in self.features for name in feature.columns]

    @property
    def attributes(self) -> list[Attribute]:
        """The features from the entity's own versions."""
        return [feature for feature in self.features if isinstance(feature, Attribute)]

    @property
    def over_activities(self) -> list[Feature]:
        """The features from activities."""
        return [feature for feature in self.features if not isinstance(feature, Attribute)]

    @property
    def reads(self) -> list[str]:
        """The activities' columns that the features read, each once."""
        return list(dict.fromkeys(name for feature in self.over_activities for name in feature.reads))

    @property
    def asks_for_order(self) -> bool:
        """Whether a feature asks which activity was the first or the last."""
        return any(isinstance(feature, First | Last | Recency) for feature in self.features)

    @property
    def longest(self) -> timedelta | None:
        """The longest window; None where one feature looks at all time, or none at activities."""
        spans = [feature.span if isinstance(feature, Windowed) else None for feature in self.over_activities]
        finite = [span for span in spans if span is not None]
        return max(finite) if finite and len(finite) == len(spans) else None
