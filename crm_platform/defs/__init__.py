"""The Dagster shell: assets, checks, sensors and schedules that ask the rooms below and report what they answered.

Nothing here decides what data means; no other room but `definitions.py` imports Dagster.
"""

import warnings

warnings.filterwarnings("ignore", message=r".*is currently in (beta|preview)")
"""Dagster says so once per asset; what we rely on is held by tests, and nobody reads a page of warnings."""
