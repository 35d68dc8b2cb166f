"""What must hold before anybody relies on a table: drift, contracts, gaps, duplicates, reconciliation, leakage, freshness.

Every check answers with a `CheckResult`. Where one blocks, and how it is shown, is the shell's business.
"""

from crm_platform.quality.result import CheckResult, Finding

__all__ = ["CheckResult", "Finding"]
