"""The sandbox's contracts once they declare the column that the CRM has added."""

from crm_platform.contracts import sandbox
from crm_platform.contracts.contract import field
from crm_platform.contracts.sandbox import SOURCE

__all__ = ["OBJECTS", "SOURCE"]


class Owner(sandbox.Owner):
    """A member of the sales organisation, at a desk."""

    desk: str = field("Where the person sits.", nullable=True)


OBJECTS = sandbox.OBJECTS | {"owner": Owner}
