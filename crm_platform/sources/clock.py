"""What time it is for a source: the one place where the choice between the system's clock and its head is made."""

from datetime import UTC, datetime

from crm_platform.sources.batch import Source
from crm_platform.sources.manifest import Manifest


def now(manifest: Manifest, source: Source) -> datetime:
    """The present moment by the source's clock, in UTC: the system's, or the commit time at its head."""
    return source.head().time if manifest.clock == "head" else datetime.now(UTC)
