"""Delta tables, commits and queries: the only room that imports deltalake and duckdb.

Rows go in typed and come out lazily; what they mean is known to the rooms above.
"""

from crm_platform.lake.commit import Commit
from crm_platform.lake.content import fingerprint
from crm_platform.lake.store import Lake, Part
from crm_platform.lake.tables import Layout, layout_of

__all__ = ["Commit", "Lake", "Layout", "Part", "fingerprint", "layout_of"]
