"""Raw payload and provenance to landed rows: typing, quarantine, offset ranges, gaps, snapshots.

What is landed is never changed. Reading a CRM is `sources`' business, versions are `history`'s.
"""

from crm_platform.landing.again import RestoreReport, restore
from crm_platform.landing.errors import DriftError, ExportUnreadableError, LandingLostError, SnapshotRefusedError
from crm_platform.landing.facts import landed_facts
from crm_platform.landing.feed import LandingReport, land_changes
from crm_platform.landing.gaps import Gap, gaps_in
from crm_platform.landing.lost import explained, refuse_lost
from crm_platform.landing.quarantine import Arrival
from crm_platform.landing.release import ReleaseReport, discard_quarantined, release_quarantined
from crm_platform.landing.rows import Landed, landed_rows
from crm_platform.landing.skipping import LostRange, lost_range, skip_range
from crm_platform.landing.snapshots import SnapshotReport, kept_days, land_snapshot, skip_snapshot
from crm_platform.landing.watermark import Batch, batches, closed_days, covered_days, landed_offset, watermark

__all__ = [
    "Arrival",
    "Batch",
    "DriftError",
    "ExportUnreadableError",
    "Gap",
    "Landed",
    "LandingLostError",
    "LandingReport",
    "LostRange",
    "ReleaseReport",
    "RestoreReport",
    "SnapshotRefusedError",
    "SnapshotReport",
    "batches",
    "closed_days",
    "covered_days",
    "discard_quarantined",
    "explained",
    "gaps_in",
    "kept_days",
    "land_changes",
    "land_snapshot",
    "landed_facts",
    "landed_offset",
    "landed_rows",
    "lost_range",
    "refuse_lost",
    "release_quarantined",
    "restore",
    "skip_range",
    "skip_snapshot",
    "watermark",
]
