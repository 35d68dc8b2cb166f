"""What was true and what was known, at any moment: versions, known-axis state, merges, reconciliation.

Nothing here counts, sums or looks forward: what is derived from history stands in `features`.
"""

from crm_platform.history.state import state_as_of

__all__ = ["state_as_of"]
