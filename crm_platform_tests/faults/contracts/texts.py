"""The sandbox's contracts by somebody who does not mind that owners come with text instead of types."""

from crm_platform.contracts import Policies
from crm_platform.contracts.sandbox import OBJECTS, SOURCE

__all__ = ["OBJECTS", "POLICIES", "SOURCE"]

POLICIES = {"owner": Policies(as_text="evolve")}
