"""The feature views this platform offers, declared against roles, and how they are bound to one CRM's own columns.

A view names roles (`stage`, `occurred_at`, `account_id`, …); a manifest says which column plays each. What the CRM does
not have is left out, and the bound view says so. How a view becomes a timeline is decided elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from crm_platform.contracts import Contract, PermanentError
from crm_platform.features.views import Attribute, Count, Distinct, Feature, FeatureView, First, Last, Recency, Sum
from crm_platform.sources import Manifest

ACTIVITY = "activity"
"""The canonical object whose rows are counted."""

OCCURRED_AT = "occurred_at"
"""The part of an activity's business time."""

WINDOWS = ("7d", "30d", "90d")

Source = tuple[str, str]
"""An object of the CRM, and one of its columns."""


class CatalogueError(PermanentError):
    """A declared view cannot be bound as it stands."""

    @classmethod
    def currency(cls, view: str, column: str) -> "CatalogueError":
        """Says that money would be summed across currencies."""
        return cls(
            f"View {view} sums the money column {column} without saying in which currency. "
            "Declare Sum(…, currency=…) with the part that its currency plays."
        )

    @classmethod
    def unknown_column(cls, view: str, object_name: str, column: str, known: list[str]) -> "CatalogueError":
        """Says that a manifest gives a part to a column that the contract does not have."""
        return cls(
            f"View {view} needs {object_name}.{column}, which the contract does not have. "
            f"Mend the manifest's roles; the contract's columns are: {', '.join(known)}."
        )


@dataclass(frozen=True)
class DeclaredView:
    """A view against roles: what is known of the entity itself, and of the activities whose `key` names it."""

    entity: str
    key: str
    attributes: tuple[Attribute, ...]
    activities: tuple[Feature, ...]


@dataclass(frozen=True)
class BoundView:
    """A view in one CRM's own names.

    `entity` and `activity` are the CRM's objects (no activity: attributes only); `lineage` says which (object, column)
    each timeline column reads; `left_out` what was declared and cannot be had here, by its name in roles, and why.
    """

    name: str
    view: FeatureView
    entity: str
    activity: str | None
    lineage: Mapping[str, tuple[Source, ...]]
    left_out: Mapping[str, str]

    @property
    def features(self) -> list[str]:
        """The timeline's feature columns, in the view's order."""
        return list(self.lineage)


def _over_windows(make: Any, *args: str, **rest: Any) -> tuple[Feature, ...]:
    return tuple(make(*args, window=window, **rest) for window in WINDOWS)


ACTIVITY_FEATURES: tuple[Feature, ...] = (
    *_over_windows(Count),
    *_over_windows(Sum, "duration_minutes"),
    *_over_windows(Sum, "amount", currency="currency"),
    *_over_windows(Distinct, "channel"),
    *_over_windows(Distinct, "owner_id"),
    *_over_windows(Distinct, "priority"),
    First("kind"),
    Last("kind"),
    Last("channel"),
    Last("outcome"),
    First("priority"),
    Last("priority"),
    Last("status"),
    Recency(),
)

CATALOGUE: tuple[DeclaredView, ...] = (
    DeclaredView(
        "account",
        "account_id",
        (
            Attribute("industry"),
            Attribute("tier"),
            Attribute("country"),
            Attribute("employees"),
            Attribute("owner_id", since=True),
        ),
        ACTIVITY_FEATURES,
    ),
    DeclaredView(
        "contact",
        "contact_id",
        (Attribute("account_id"), Attribute("title"), Attribute("country"), Attribute("owner_id", since=True)),
        ACTIVITY_FEATURES,
    ),
    DeclaredView(
        "lead",
        "lead_id",
        (
            Attribute("status", since=True),
            Attribute("source"),
            Attribute("rating"),
            Attribute("employees"),
            Attribute("country"),
            Attribute("amount"),
            Attribute("currency"),
            Attribute("owner_id", since=True),
        ),
        ACTIVITY_FEATURES,
    ),
    DeclaredView(
        "opportunity",
        "opportunity_id",
        (
            Attribute("stage", since=True),
            Attribute("amount"),
            Attribute("currency"),
            Attribute("probability"),
            Attribute("close_date"),
            Attribute("source"),
            Attribute("account_id"),
            Attribute("owner_id", since=True),
        ),
        ACTIVITY_FEATURES,
    ),
)
"""One view per canonical object, of its name."""


def views_for(manifest: Manifest, contracts: Mapping[str, Contract]) -> dict[str, BoundView]:
    """Binds every declared view to a CRM, by view name; a canonical object that the CRM lacks has no view.

    Args:
        manifest: Which object and which columns of the CRM play which part.
        contracts: The CRM's objects, for their columns' types.

    Raises:
        CatalogueError: A money column would be summed over currencies, or a part is given to a column that is not there.
    """
    bound = (bind(declared, manifest, contracts) for declared in CATALOGUE)
    return {view.name: view for view in bound if view is not None}


def bind(declared: DeclaredView, manifest: Manifest, contracts: Mapping[str, Contract]) -> BoundView | None:
    """Binds one declared view to a CRM; None where the CRM lacks the entity, or all that would be known of it.

    Raises:
        CatalogueError: A money column would be summed over currencies, or a part is given to a column that is not there.
    """
    entity = manifest.object_of(declared.entity)
    if entity is None:
        return None
    binder = _Binder(declared.entity, manifest, contracts)
    attributes = binder.bound(declared.entity, declared.attributes)
    activity = manifest.object_of(ACTIVITY)
    key = binder.column(ACTIVITY, declared.key)
    time = binder.column(ACTIVITY, OCCURRED_AT)
    if activity is None or key is None or time is None:
        binder.refuse(declared.activities, ACTIVITY, OCCURRED_AT if activity and key else declared.key)
        if not attributes:
            return None
        view = FeatureView(name=declared.entity, entity=entity, features=attributes)
        return BoundView(declared.entity, view, entity, None, binder.lineage, binder.left_out)
    always = ((activity, key), (activity, time))
    features = [*attributes, *binder.bound(ACTIVITY, declared.activities, always)]
    view = FeatureView(name=declared.entity, entity=entity, key=key, time=time, features=features)
    return BoundView(declared.entity, view, entity, activity, binder.lineage, binder.left_out)


@dataclass
class _Binder:
    """One view on its way from roles to columns, and what became of each feature."""

    name: str
    manifest: Manifest
    contracts: Mapping[str, Contract]
    lineage: dict[str, tuple[Source, ...]] = field(default_factory=dict[str, tuple[Source, ...]])
    left_out: dict[str, str] = field(default_factory=dict[str, str])

    def column(self, canonical: str, part: str) -> str | None:
        """The column that plays a part, once the contract is seen to have it."""
        column, object_name = self.manifest.column_of(canonical, part), self.manifest.object_of(canonical)
        if column is None or object_name is None:
            return None
        known = self.contracts[object_name].columns if object_name in self.contracts else []
        if column not in known:
            raise CatalogueError.unknown_column(self.name, object_name, column, known)
        return column

    def refuse(self, features: tuple[Feature, ...], canonical: str, part: str) -> None:
        """Leaves features out because the manifest gives a part to no column."""
        for feature in features:
            self.left_out[_name(feature)] = f"the manifest {self.manifest.name} gives {canonical}.{part} to no column"

    def bound(self, canonical: str, features: tuple[Feature, ...], always: tuple[Source, ...] = ()) -> list[Feature]:
        """The features in the CRM's columns; those it cannot have are noted, one that stands already is not repeated."""
        kept: list[Feature] = []
        for feature in features:
            in_columns = self._in_columns(canonical, feature)
            if in_columns is None or set(in_columns.columns) <= set(self.lineage):
                continue
            object_name = self.manifest.object_of(canonical)
            reads = tuple((str(object_name), column) for column in in_columns.reads)
            self.lineage |= dict.fromkeys(in_columns.columns, (*always, *reads))
            kept.append(in_columns)
        return kept

    def _in_columns(self, canonical: str, feature: Feature) -> Feature | None:
        names: dict[str, Any] = {}
        for part in feature.reads:
            column = self.column(canonical, part)
            if column is None:
                self.refuse((feature,), canonical, part)
                return None
            names[part] = column
        bound = replace(feature, column=names[feature.column]) if feature.column is not None else feature
        return self._in_currencies(canonical, bound, names) if isinstance(bound, Sum) else bound

    def _in_currencies(self, canonical: str, feature: Sum, names: Mapping[str, str]) -> Feature | None:
        object_name = str(self.manifest.object_of(canonical))
        money = isinstance(self.contracts[object_name].schema[str(feature.column)], pl.Decimal)
        if feature.currency is None:
            if money:
                raise CatalogueError.currency(self.name, f"{object_name}.{feature.column}")
            return feature
        declared = self.manifest.currencies_of(canonical)
        if not declared:
            self.left_out[_name(feature)] = f"the manifest {self.manifest.name} declares no currencies of {canonical}"
            return None
        return replace(feature, currency=names[feature.currency], currencies=tuple(declared))


def _name(feature: Feature) -> str:
    """What a feature is called where its currencies are not known yet."""
    return ", ".join(replace(feature, currency=None).columns if isinstance(feature, Sum) else feature.columns)
