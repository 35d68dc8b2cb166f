"""Reading CRMs: manifests, one HTTP client, exports, change feeds, recorded logs, and the clock of a source.

What is read leaves as RAW_CHANGE frames or files, in no vendor's shape. Typing, quarantine and tables are `landing`'s.
"""

from crm_platform.sources.errors import ManifestError
from crm_platform.sources.loading import bundled_manifests, load_manifest
from crm_platform.sources.manifest import Manifest

__all__ = ["Manifest", "ManifestError", "bundled_manifests", "load_manifest"]
