"""The sandbox's contracts by somebody who does not know of chats."""

from crm_platform.contracts import sandbox
from crm_platform.contracts.sandbox import SOURCE
from crm_platform_tests.faults.strict import Activity

__all__ = ["OBJECTS", "SOURCE"]

OBJECTS = sandbox.OBJECTS | {"activity": Activity}
