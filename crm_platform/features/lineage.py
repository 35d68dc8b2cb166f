"""Which column is made of which: from what the CRM delivers, through history and timelines, to training sets.

Derived from manifest, contracts and bound views alone, before anything is built. How it is shown is the shell's business.
"""

from collections.abc import Iterable, Mapping

from crm_platform.contracts import MERGES, Contract
from crm_platform.contracts.envelope import PROVENANCE_COLUMNS, SNAPSHOT_COLUMNS, VERSION_COLUMNS
from crm_platform.features.catalogue import BoundView, views_for
from crm_platform.features.shapes import QUESTION, STEP, read_by_join, training_schema
from crm_platform.sources import Manifest

Column = tuple[str, str]
"""A table, and one of its columns."""

Sources = Mapping[str, tuple[Column, ...]]
"""By column of one table, the columns of other tables that it is made of."""

CHANGES, SNAPSHOT, MERGE_FACTS = "landing/changes", "landing/snapshot", "history/merges"
FROM_EXPORTS = ("_batch_id", "_ingested_at")
"""What a version made from an export takes over beside the object's own columns."""
TIMES_OF_EXPORTS = {"processed_time": "finished_at", "event_time": "started_at"}
TIMES = ("event_time", "processed_time")
OF_MERGES = {"loser_id": "entity_id", "winner_id": "merged_into"}
"""What the columns of merge facts are called in the histories that they are read from."""
OF_OUTCOME = ("label", "label_event_time", "label_known_at")


def column_sources(manifest: Manifest, contracts: Mapping[str, Contract]) -> dict[str, Sources]:
    """By table that is made of others, in the direction that data walks, the sources of its columns.

    A column that is made of no other (a question's `as_of`, the name of an object) has no entry. What joins, filters or
    orders rows counts as a source of a value only where the value itself depends on it: an activity's key and business
    time do for every feature over activities.
    """
    views = views_for(manifest, contracts)
    found: dict[str, Sources] = {}
    for name in manifest.objects:
        found[f"history/{name}"] = _of_history(manifest, contracts[name])
    found[MERGE_FACTS] = _of_merges(manifest.objects)
    for name in manifest.objects:
        found[f"current/{name}"] = {column: ((f"history/{name}", column),) for column in contracts[name].columns}
    for bound in views.values():
        found[f"features/{bound.name}"] = _of_timeline(bound)
    for name, spec in manifest.training.items():
        if spec.object in views:
            found[f"training/{name}"] = _of_training(views[spec.object], spec.column, contracts)
    return found


def origins(sources: Mapping[str, Sources], table: str, column: str) -> list[Column]:
    """The landed columns that a column goes back to, over all tables between; sorted, each once.

    Args:
        sources: As of `column_sources`.
        table: Where the column stands.
        column: Its name; one that is made of no other has no origins.
    """
    found: set[Column] = set()
    seen: set[Column] = set()
    ahead: list[Column] = [(table, column)]
    while ahead:
        here = ahead.pop()
        if here in seen:
            continue
        seen.add(here)
        if here[0].startswith("landing/"):
            found.add(here)
        ahead += sources.get(here[0], {}).get(here[1], ())
    return sorted(found)


def fields(manifest: Manifest, sources: Mapping[str, Sources], table: str, column: str) -> list[str]:
    """The CRM's own fields that a column goes back to, as `object.field`; none where the platform alone says it.

    Args:
        manifest: What the CRM calls them: its key, its time of the edit, its names before they are renamed.
        sources: As of `column_sources`.
        table: Where the column stands.
        column: Its name.
    """
    found = (_field(manifest, landed.split("/")[-1], read) for landed, read in origins(sources, table, column))
    return sorted({field for field in found if field is not None})


def with_fields(
    meaning: Mapping[str, str], manifest: Manifest, sources: Mapping[str, Sources], table: str
) -> dict[str, str]:
    """What the columns of a timeline or a training set mean, and behind each feature the CRM's fields it goes back to."""
    told: dict[str, str] = {}
    for column, means in meaning.items():
        is_feature = column.split("__")[-1] not in STEP and column not in QUESTION
        read = fields(manifest, sources, table, column) if is_feature else []
        told[column] = f"{means} From {', '.join(read)}." if read else means
    return told


def _field(manifest: Manifest, object_name: str, column: str) -> str | None:
    spec = manifest.spec(object_name)
    own = {
        "entity_id": spec.key,
        "event_time": spec.event_time,
        "processed_time": spec.processed_time,
        **dict.fromkeys((*(VERSION_COLUMNS.keys() - {"entity_id", *TIMES}), *PROVENANCE_COLUMNS, *SNAPSHOT_COLUMNS)),
    }.get(column, column)
    delivered = {here: there for there, here in spec.rename.items()}
    return None if own is None else f"{object_name}.{delivered.get(own, own)}"


def _of_history(manifest: Manifest, contract: Contract) -> Sources:
    changes, snapshot = f"{CHANGES}/{contract.object}", f"{SNAPSHOT}/{contract.object}"
    own = [*VERSION_COLUMNS, *contract.columns, *PROVENANCE_COLUMNS]
    found: dict[str, tuple[Column, ...]] = {column: ((changes, column),) for column in own}
    if not manifest.has_snapshots:
        return found
    exported = {column: column for column in ("entity_id", *contract.columns, *FROM_EXPORTS)} | TIMES_OF_EXPORTS
    return found | {column: (*found[column], (snapshot, read)) for column, read in exported.items()}


def _of_merges(objects: Iterable[str]) -> Sources:
    histories = [f"history/{name}" for name in objects]
    return {
        column: tuple((history, OF_MERGES.get(column, column)) for history in histories)
        for column in MERGES
        if column != "object"
    }


def _of_timeline(bound: BoundView) -> Sources:
    entity = f"history/{bound.entity}"
    histories = [f"history/{name}" for name in dict.fromkeys([bound.entity, bound.activity]) if name]
    ids = [(entity, "entity_id"), (MERGE_FACTS, "loser_id"), (MERGE_FACTS, "winner_id")]
    if bound.activity is not None and bound.view.key is not None:
        ids.append((f"history/{bound.activity}", bound.view.key))
    times = tuple((read, time) for read in [*histories, MERGE_FACTS] for time in TIMES)
    step = {
        "entity_id": tuple(ids),
        "known_at": times,
        "changed_at": times,
        "is_deleted": ((entity, "is_tombstone"), (MERGE_FACTS, "winner_id")),
        "known_date": times,
    }
    return step | {
        feature: tuple((f"history/{name}", column) for name, column in read) for feature, read in bound.lineage.items()
    }


def _of_training(bound: BoundView, outcome: str, contracts: Mapping[str, Contract]) -> Sources:
    history, prefix = f"history/{bound.entity}", f"{bound.name}__"
    joined = {
        column: ((f"features/{bound.name}", read_by_join(column.removeprefix(prefix))),)
        for column in training_schema(bound, contracts)
        if column.startswith(prefix)
    }
    read = ((history, outcome), *((history, time) for time in TIMES))
    return {"entity_id": ((history, "entity_id"),), **dict.fromkeys(OF_OUTCOME, read), **joined}
