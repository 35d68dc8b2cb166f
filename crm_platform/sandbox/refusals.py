"""Why the server does not answer a call, as an exception that becomes a JSON body.

Refusals that come before a call is looked at (tokens, limits, bursts of errors) are made in `gate`.
"""

from typing import Any

from crm_platform.contracts import PermanentError


class CallRefusedError(PermanentError):
    """A call that cannot be answered: an HTTP status, a word for programs, a sentence for people."""

    def __init__(self, status: int, error: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {"error": error, "detail": detail, **more}

    @classmethod
    def unknown_object(cls, name: str) -> "CallRefusedError":
        """There is no such object."""
        return cls(404, "unknown_object", f"There is no object {name!r} here. GET /api/v1/objects lists them.")

    @classmethod
    def unknown_field(cls, of: str, name: str) -> "CallRefusedError":
        """There is no such field to filter by."""
        return cls(400, "unknown_field", f"{of} has no field {name!r} to filter by. GET /api/v1/objects lists them.")

    @classmethod
    def bad_cursor(cls) -> "CallRefusedError":
        """A cursor that this server did not make."""
        return cls(400, "invalid_cursor", "The cursor `after` is not one of this server's. Start again without it.")

    @classmethod
    def bad_moment(cls, name: str) -> "CallRefusedError":
        """A moment that cannot be read, or has no zone."""
        return cls(400, "invalid_timestamp", f"{name} must be ISO 8601 with a zone, such as 2026-03-01T00:00:00Z.")

    @classmethod
    def offset_expired(cls, after: int, earliest: int) -> "CallRefusedError":
        """The feed no longer reaches back so far."""
        detail = f"Events after offset {after} are no longer kept. Take a snapshot and go on from the head."
        return cls(410, "offset_expired", detail, earliest_offset=earliest)

    @classmethod
    def beyond_head(cls, after: int, head: int) -> "CallRefusedError":
        """An offset that has not been given yet."""
        return cls(400, "offset_unknown", f"Offset {after} lies beyond the head {head}. GET /api/v1/changes/head.")

    @classmethod
    def unknown_export(cls, export: str) -> "CallRefusedError":
        """There is no such export."""
        return cls(404, "unknown_export", f"There is no export {export!r}. POST /api/v1/exports makes one.")

    @classmethod
    def unknown_part(cls, export: str, part: int) -> "CallRefusedError":
        """There is no such part."""
        return cls(404, "unknown_part", f"Export {export} has no part {part}. X-Next-Part names the next one.")

    @classmethod
    def not_ready(cls, export: str) -> "CallRefusedError":
        """The export is not finished."""
        return cls(409, "not_ready", f"Export {export} is not completed yet. Poll its status.")

    @classmethod
    def future(cls, name: str) -> "CallRefusedError":
        """A moment that has not come yet."""
        return cls(400, "in_the_future", f"{name} lies beyond the CRM's clock. GET /api/v1/changes/head tells it.")

    @classmethod
    def clock_back(cls) -> "CallRefusedError":
        """A clock that would run back, or beyond the simulation."""
        return cls(409, "clock_refused", "The clock goes forward only, and not beyond the simulation's last day.")
