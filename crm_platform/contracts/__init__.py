"""What data must look like: one Pandera model per object, the columns all objects share, and the roots of our errors.

Nothing here reads a file, a table or a clock.
"""

from crm_platform.contracts.contract import (
    Checked,
    Contract,
    Hop,
    Moment,
    Money,
    ObjectModel,
    Text,
    TextList,
    contracts_in,
    field,
)
from crm_platform.contracts.envelope import (
    CHANNELS,
    MERGES,
    MONEY,
    OPERATIONS,
    QUARANTINE,
    RANGES,
    RAW_CHANGE,
    RED,
    SCHEMAS,
    TOMBSTONES,
    UTC_US,
)
from crm_platform.contracts.errors import ContractError, CrmPlatformError, PermanentError, TransientError
from crm_platform.contracts.policies import Policies, Policy

__all__ = [
    "CHANNELS",
    "MERGES",
    "MONEY",
    "OPERATIONS",
    "QUARANTINE",
    "RANGES",
    "RAW_CHANGE",
    "RED",
    "SCHEMAS",
    "TOMBSTONES",
    "UTC_US",
    "Checked",
    "Contract",
    "ContractError",
    "CrmPlatformError",
    "Hop",
    "Moment",
    "Money",
    "ObjectModel",
    "PermanentError",
    "Policies",
    "Policy",
    "Text",
    "TextList",
    "TransientError",
    "contracts_in",
    "field",
]
