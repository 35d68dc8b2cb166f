"""The sandbox's contracts by somebody who does not know of chats."""

from crm_platform.contracts import sandbox
from crm_platform.contracts.contract import field
from crm_platform.contracts.sandbox import SOURCE

__all__ = ["OBJECTS", "SOURCE"]


class Activity(sandbox.Activity):
    """Something done over an older channel."""

    channel: str = field("Over what it was done.", nullable=True, categories=("phone", "email", "video", "onsite"))


OBJECTS = sandbox.OBJECTS | {"activity": Activity}
