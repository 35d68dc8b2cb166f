"""Why a sandbox cannot be made or started. What the server refuses to a client stands in `refusals`."""

from pathlib import Path

from crm_platform.contracts import PermanentError


class SandboxError(PermanentError):
    """The sandbox cannot be started."""

    @classmethod
    def taken(cls, host: str, port: int) -> "SandboxError":
        """Says that nobody can listen there, or somebody else does."""
        return cls(f"The sandbox cannot listen on {host}:{port}. Stop what listens there, or choose another port.")

    @classmethod
    def silent(cls, host: str, port: int) -> "SandboxError":
        """Says that the server does not come up."""
        return cls(
            f"The sandbox on {host}:{port} did not come up. Look at what it said, or start it by `crm-platform sandbox`."
        )

    @classmethod
    def misconfigured(cls, place: str, why: str, remedy: str) -> "SandboxError":
        """Says which setting cannot be."""
        return cls(f"The sandbox cannot be like that: {place}: {why}. {remedy}")

    @classmethod
    def unwritable(cls, folder: Path, why: str) -> "SandboxError":
        """Says that its log cannot be kept where it should be."""
        return cls(f"The sandbox cannot keep its change log in {folder}: {why}. Choose another folder, or make room.")
