"""The sandbox's contracts by somebody who wants a direct line of every lead."""

from crm_platform.contracts import sandbox
from crm_platform.contracts.contract import field
from crm_platform.contracts.sandbox import SOURCE

__all__ = ["OBJECTS", "SOURCE"]


class Lead(sandbox.Lead):
    """Somebody who can be called."""

    phone: str = field("How to call them.", pii="phone")


OBJECTS = sandbox.OBJECTS | {"lead": Lead}
