"""A CRM to develop against: a deterministic simulation behind a real HTTP server, with faults to switch on.

It knows the contracts of its objects and nothing else of the platform.
"""

from crm_platform.sandbox.config import SandboxConfig, configured
from crm_platform.sandbox.errors import SandboxError
from crm_platform.sandbox.faults import Faults
from crm_platform.sandbox.run import Address, running, serve
from crm_platform.sandbox.simulator import generated
from crm_platform.sandbox.truth import MergeFact, Probe, State, Truth

__all__ = [
    "Address",
    "Faults",
    "MergeFact",
    "Probe",
    "SandboxConfig",
    "SandboxError",
    "State",
    "Truth",
    "configured",
    "generated",
    "running",
    "serve",
]
