"""The code location that Dagster opens: everything that `crm_platform.yaml` of this folder describes."""

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.settings import load_settings

defs = build_defs(load_settings())
