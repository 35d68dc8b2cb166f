"""How far a stored timeline can be held against history while others write: one version of each, and where they part.

What the timeline claims was built from older versions than are there now wherever another run has just written; that is
stale, not wrong. Decides nothing about values; those stand in `leakage`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from crm_platform.contracts import Contract
from crm_platform.features.catalogue import BoundView
from crm_platform.features.inputs import Inputs
from crm_platform.history.carried import midnight
from crm_platform.history.claims import claim_of
from crm_platform.lake import Lake

ALWAYS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Settled:
    """A stored timeline and the history beside it, each at one version.

    Attributes:
        version: The timeline's; None if there is none.
        inputs: Of every history table that the view reads; None for one that does not exist.
        until: The moment, exclusive, up to which the timeline claims what exactly this history comes to.
    """

    version: int | None
    inputs: Mapping[str, int | None]
    until: datetime

    def judged(self, days: Sequence[date]) -> list[date]:
        """Those of some days that can be judged, at least up to `until`."""
        return sorted(day for day in days if midnight(day) < self.until)


def settled(lake: Lake, contracts: Mapping[str, Contract], bound: BoundView) -> Settled:
    """Asks the timeline's claim and the logs of its inputs, in an order that a run which writes meanwhile cannot fool.

    From the first day on of which history has changed since, nothing is judged: it will be built again. A timeline without
    a claim is judged whole. Code that has changed since excuses nothing.

    Args:
        lake: Where history and timeline stand.
        contracts: The contracts, by object.
        bound: The view.
    """
    table = f"features/{bound.name}"
    claimed = claim_of(lake, table)
    version = lake.version(table)
    inputs = Inputs.pinned(lake, contracts, bound)
    if claimed is None:
        return Settled(version, inputs.versions, ALWAYS)
    changed = inputs.first_change(claimed[0])
    return Settled(version, inputs.versions, claimed[0].until if changed is None else midnight(changed.date()))
