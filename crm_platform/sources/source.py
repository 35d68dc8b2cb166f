"""One CRM behind HTTP, as a source: its head, its changes, its exports, its rows.

Puts the readers together; what each does stands in `feed`, `exports` and `rest`.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from crm_platform.contracts import contracts_in
from crm_platform.sources.batch import BATCH_EVENTS, ExportFile, FeedBatch, Head
from crm_platform.sources.client import CrmClient
from crm_platform.sources.errors import RefusedError, UnsupportedError
from crm_platform.sources.exports import Exporter
from crm_platform.sources.feed import FeedReader
from crm_platform.sources.manifest import Manifest
from crm_platform.sources.rest import RowReader
from crm_platform.sources.transport import Format


def connect(
    manifest: Manifest, *, base_url: str | None = None, credentials: Mapping[str, str] | None = None
) -> "HttpSource":
    """Makes ready to read a CRM; nothing is sent before the first question.

    Args:
        manifest: What the CRM is.
        base_url: Where it is; None for the manifest's own.
        credentials: What its login needs, by name (see `credentials_from`).

    Raises:
        UnsupportedError: The CRM is not reached by HTTP.
        RefusedError: There is no base URL, or it is none.
        CredentialsError: Credentials are missing.
    """
    transport = manifest.http
    if transport is None:
        remedy = "Open its recording with `recorded_log`."
        raise UnsupportedError.without(manifest.name, "HTTP interface", remedy)
    place = base_url or transport.base_url
    if place is None:
        raise RefusedError(f"{manifest.name} has no base URL. Give one, or set `transport.base_url` in the manifest.")
    return HttpSource(manifest, CrmClient(manifest.name, transport, base_url=place, credentials=credentials or {}))


class HttpSource:
    """A CRM behind HTTP; close it, or use it in a `with`."""

    def __init__(self, manifest: Manifest, client: CrmClient) -> None:
        self._manifest = manifest
        self._client = client
        transport = manifest.http
        contracts = contracts_in(manifest.contracts)
        reads, changes, exports = (
            (transport.reads, transport.changes, transport.exports) if transport else (None, None, None)
        )
        self._rows = RowReader(manifest, reads, client, contracts) if reads else None
        reread = self._rows.by_id if self._rows and reads and reads.ids_param else None
        self._feed = FeedReader(manifest, changes, client, contracts, reread=reread) if changes else None
        self._exporter = Exporter(manifest, exports, client) if exports else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def head(self) -> Head:
        """How far the feed reaches now."""
        return self._followed().head()

    def changes(
        self, after: str | None, until: datetime | None = None, upto: str | None = None, *, limit: int = BATCH_EVENTS
    ) -> Iterator[FeedBatch]:
        """The changes after an offset; see `Source.changes`."""
        return self._followed().changes(after, until, upto, limit=limit)

    def export(self, object_name: str, *, day: date | None, into: Path, form: Format | None = None) -> ExportFile:
        """A bulk export; see `Exporter.export`."""
        if self._exporter is None:
            remedy = "Read its rows page by page."
            raise UnsupportedError.without(self._manifest.name, "bulk export", remedy)
        return self._exporter.export(object_name, day=day, into=into, form=form)

    def rows(
        self, object_name: str, *, since: datetime | None = None, deleted: bool = False, **filters: str
    ) -> Iterator[pl.DataFrame]:
        """The rows of an object, page by page; see `RowReader.changed`."""
        if self._rows is None:
            remedy = "Export the object, or declare `reads` in the manifest."
            raise UnsupportedError.without(self._manifest.name, "paged read", remedy)
        return self._rows.changed(object_name, since=since, deleted=deleted, **filters)

    def _followed(self) -> FeedReader:
        if self._feed is None:
            remedy = "Read its rows by cursor, or declare `changes` in the manifest."
            raise UnsupportedError.without(self._manifest.name, "change feed", remedy)
        return self._feed
