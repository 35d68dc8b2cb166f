"""How fresh every table is to be kept, as Dagster's own policies: what its daemon and its UI hold each table against.

They look at when a table was last written, whatever day of it that was; how far the watermark stands behind the source is
the check `freshness`'s say (ADR 17).
"""

import dagster as dg

from crm_platform.defs.gate import GROUP as GATE
from crm_platform.defs.settings import Settings
from crm_platform.quality.freshness import ALLOWED
from crm_platform.sources import Manifest

POLICY = dg.FreshnessPolicy.time_window(fail_window=ALLOWED)


def kept_fresh(spec: dg.AssetSpec, settings: Settings, manifest: Manifest) -> dg.AssetSpec:
    """The table with the policy it is held to; none where nothing new can come, so that nothing is overdue for ever.

    That is a source whose clock is its own head (a sandbox, a recorded log), days that end with a `last_day`, and the gate,
    which is written when something turns red.
    """
    stands_still = manifest.clock == "head" or settings.last_day is not None
    return spec if stands_still or spec.group_name == GATE else dg.apply_freshness_policy(spec, POLICY)
