"""Reading CRMs: manifests, one HTTP client, exports, change feeds, recorded logs, and the clock of a source.

What is read leaves as RAW_CHANGE frames or files, in no vendor's shape. Typing, quarantine and tables are `landing`'s.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crm_platform.sources.auth import credentials_from
from crm_platform.sources.batch import ExportFile, FeedBatch, Head, Source
from crm_platform.sources.clock import now
from crm_platform.sources.errors import GapError, LogError, ManifestError
from crm_platform.sources.loading import bundled_manifests, load_manifest
from crm_platform.sources.log import RecordedLog, recorded_log
from crm_platform.sources.manifest import Manifest

if TYPE_CHECKING:
    from crm_platform.sources.source import HttpSource, connect

__all__ = [
    "ExportFile",
    "FeedBatch",
    "GapError",
    "Head",
    "HttpSource",
    "LogError",
    "Manifest",
    "ManifestError",
    "RecordedLog",
    "Source",
    "bundled_manifests",
    "connect",
    "credentials_from",
    "load_manifest",
    "now",
    "recorded_log",
]


def __getattr__(name: str) -> Any:
    """What speaks HTTP, imported by whoever first asks for it: its libraries are long to load, and definitions need none."""
    if name in {"HttpSource", "connect"}:
        return getattr(import_module("crm_platform.sources.source"), name)
    raise AttributeError(name)
