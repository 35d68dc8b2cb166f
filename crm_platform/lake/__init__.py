"""Delta tables, commits and queries: the only room that imports deltalake and duckdb.

Rows go in typed and come out lazily; what they mean is known to the rooms above.
"""

from crm_platform.lake.audit import audit, audit_log
from crm_platform.lake.commit import Commit
from crm_platform.lake.content import fingerprint
from crm_platform.lake.gate import Red, first_red_day, hold, mendings, red_days, red_partitions, release
from crm_platform.lake.log import changed_days, differing, files_digest, note, told
from crm_platform.lake.lost import UNREADABLE, LostFile, first_lost, forget_lost, lost_files
from crm_platform.lake.maintenance import MaintenanceReport, compact, maintain, vacuum
from crm_platform.lake.query import connect, query, rows_in_files
from crm_platform.lake.reading import Part
from crm_platform.lake.store import Lake
from crm_platform.lake.tables import Layout, layout_of

__all__ = [
    "UNREADABLE",
    "Commit",
    "Lake",
    "Layout",
    "LostFile",
    "MaintenanceReport",
    "Part",
    "Red",
    "audit",
    "audit_log",
    "changed_days",
    "compact",
    "connect",
    "differing",
    "files_digest",
    "fingerprint",
    "first_lost",
    "first_red_day",
    "forget_lost",
    "hold",
    "layout_of",
    "lost_files",
    "maintain",
    "mendings",
    "note",
    "query",
    "red_days",
    "red_partitions",
    "release",
    "rows_in_files",
    "told",
    "vacuum",
]
