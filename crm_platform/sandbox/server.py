"""The sandbox's HTTP application: which call is answered by what.

Answers are made in `reads`, `exports` and `feed`; who may call, and how often, is decided in `gate`; what is true in the
simulated CRM was decided when its log was generated.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRouter
from fastapi.security import OAuth2

from crm_platform.sandbox import api
from crm_platform.sandbox.changelog import ChangeLog
from crm_platform.sandbox.clock import Clock
from crm_platform.sandbox.config import SandboxConfig
from crm_platform.sandbox.exports import Exports, etag
from crm_platform.sandbox.feed import Feed
from crm_platform.sandbox.gate import Gate, Tokens
from crm_platform.sandbox.presentation import Presentation
from crm_platform.sandbox.reads import Reads
from crm_platform.sandbox.refusals import CallRefusedError
from crm_platform.sandbox.wire import MEDIA

LIMITS = {
    "X-RateLimit-Limit": {"description": "Calls a minute.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "Calls left in this minute.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Seconds until the minute ends.", "schema": {"type": "integer"}},
}
RETRY = {"Retry-After": {"description": "Seconds, or an HTTP date.", "schema": {"type": "string"}}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    200: {"headers": LIMITS},
    401: {"model": api.Refused, "description": "No token, or one that has expired.", "headers": LIMITS},
    403: {"model": api.Refused, "description": "The daily quota is used up.", "headers": LIMITS},
    429: {"model": api.Refused, "description": "Too many calls.", "headers": LIMITS | RETRY},
    **{status: {"model": api.Refused, "description": "Something broke."} for status in (500, 502, 503, 504)},
}
TOKEN_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["grant_type", "client_id", "client_secret"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": ["client_credentials"]},
                        "client_id": {"type": "string"},
                        "client_secret": {"type": "string"},
                    },
                }
            }
        },
    }
}
FILTERS = {
    "parameters": [
        {
            "name": "filters",
            "in": "query",
            "description": "Any field of the object, to be equal to a value.",
            "style": "form",
            "explode": True,
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ]
}
READ_PARAMETERS = {"limit", "after", "modified_since", "ids", "include_deleted"}
PART_LIMIT = 200
FEED_LIMIT = 1000
BEARER = OAuth2(
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl="/oauth/token", scopes={})), auto_error=False
)


def refused(status: int, description: str, model: type[api.Refused] = api.Refused) -> dict[int | str, dict[str, Any]]:
    """A refusal that only some calls know."""
    return {status: {"model": model, "description": description, "headers": LIMITS}}


def application(config: SandboxConfig, log: ChangeLog) -> FastAPI:
    """The application that serves a generated log."""
    clock = Clock(config.opening_head, config.ends_at, config.speed)
    presentation = Presentation(config.faults)
    retention = timedelta(days=config.retention_days) if config.retention_days else None
    feed = Feed(log, clock, presentation, retention=retention, gaps=config.faults.gap_events)
    exports = Exports(log, clock, presentation, part_rows=config.export_part_rows, fault=config.faults.null_locator)
    tokens = Tokens(config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        exports.close()

    app = FastAPI(
        title="Sandbox CRM",
        version="1",
        description="A simulated CRM. All moments are UTC with microseconds; money is text with two decimals.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Gate, config=config, tokens=tokens)

    @app.exception_handler(CallRefusedError)
    async def refuse(_: Request, refusal: CallRefusedError) -> JSONResponse:
        return JSONResponse(refusal.body, refusal.status)

    app.include_router(_open_routes(config, tokens))
    app.include_router(_read_routes(clock, presentation, Reads(log, clock, presentation, config.faults)))
    app.include_router(_export_routes(exports))
    app.include_router(_feed_routes(feed))
    app.include_router(_clock_routes(clock))
    return app


def _open_routes(config: SandboxConfig, tokens: Tokens) -> APIRouter:
    """What needs no token."""
    router = APIRouter(tags=["access"])

    @router.get("/healthz")
    def healthz() -> api.Health:
        """Tells that the server is there."""
        return api.Health()

    @router.post(
        "/oauth/token",
        response_model=api.Token,
        openapi_extra=TOKEN_FORM,
        responses={
            400: {"model": api.Refused, "description": "Another grant than client_credentials."},
            401: {"model": api.Refused, "description": "Unknown client, or wrong secret."},
        },
    )
    async def token(request: Request) -> Response:
        """Gives a token for a client's name and secret."""
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode("latin-1")).items()}
        if form.get("grant_type") != "client_credentials":
            return JSONResponse({"error": "unsupported_grant_type", "detail": "Use client_credentials."}, 400)
        given = tokens.give(form.get("client_id", ""), form.get("client_secret", ""))
        if given is None:
            return JSONResponse({"error": "invalid_client", "detail": "Check client_id and client_secret."}, 401)
        return JSONResponse({"access_token": given, "token_type": "Bearer", "expires_in": config.token_seconds})

    return router


def _read_routes(clock: Clock, presentation: Presentation, reads: Reads) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["reads"], dependencies=[Depends(BEARER)], responses=REFUSALS)

    @router.get("/objects")
    def objects() -> api.Objects:
        """Describes all objects as they now are."""
        return api.Objects.model_validate({"objects": presentation.described(clock.now())})

    @router.get(
        "/objects/{object_name}",
        response_model=api.Records,
        openapi_extra=FILTERS,
        responses=refused(400, "Unknown field, bad cursor or moment.") | refused(404, "Unknown object."),
    )
    def read(
        request: Request,
        object_name: str,
        *,
        limit: Annotated[int, Query(ge=1, le=1000)] = PART_LIMIT,
        after: Annotated[str | None, Query(description="The cursor of the page before.")] = None,
        modified_since: Annotated[str | None, Query(description="Least modified_at, ISO 8601 with a zone.")] = None,
        ids: Annotated[str | None, Query(description="Comma-separated.")] = None,
        include_deleted: Annotated[bool, Query(description="Also what lies in the bin.")] = False,
    ) -> JSONResponse:
        """Reads an object's rows by (modified_at, id)."""
        filters = {name: value for name, value in request.query_params.items() if name not in READ_PARAMETERS}
        page = reads.page(
            object_name,
            limit=limit,
            after=after,
            modified_since=modified_since,
            ids=ids,
            include_deleted=include_deleted,
            filters=filters,
        )
        return JSONResponse(page)

    return router


def _export_routes(exports: Exports) -> APIRouter:
    router = APIRouter(prefix="/api/v1/exports", tags=["exports"], dependencies=[Depends(BEARER)], responses=REFUSALS)
    unknown = refused(404, "Unknown object, export or part.")

    @router.post("", status_code=202, responses=unknown | refused(400, "A moment that has not come yet."))
    def create(wanted: api.ExportWanted) -> api.ExportCreated:
        """Asks for an export of what stands now, or of what was known at a moment."""
        job = exports.ask(wanted.object, wanted.format, wanted.as_of)
        return api.ExportCreated(id=job.id, status=job.status)

    @router.get("/{export}", responses=unknown)
    def poll(export: str) -> api.Export:
        """Tells how far an export is."""
        return api.Export.model_validate(exports.told(export))

    @router.get(
        "/{export}/parts/{part}",
        response_class=FileResponse,
        responses=unknown
        | refused(409, "Not completed yet.")
        | {
            200: {
                "description": "A part.",
                "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA.values()},
                "headers": {
                    **LIMITS,
                    "X-Next-Part": {
                        "description": 'The number of the next part, or "null".',
                        "schema": {"type": "string"},
                    },
                },
            },
            204: {"description": "The export failed."},
            206: {"description": "The range that was asked for."},
            416: {"description": "No such range."},
        },
    )
    def download(export: str, part: Annotated[int, Path(ge=1)]) -> Response:
        """Downloads a part, or with Range some of it."""
        job, path = exports.part(export, part)
        if path is None:
            return Response(status_code=204)
        following = str(part + 1) if part < len(job.files) else "null"
        headers = {"X-Next-Part": following, "ETag": etag(path)}
        return FileResponse(path, media_type=MEDIA[job.format], headers=headers)

    return router


def _feed_routes(feed: Feed) -> APIRouter:
    router = APIRouter(prefix="/api/v1/changes", tags=["changes"], dependencies=[Depends(BEARER)], responses=REFUSALS)

    @router.get(
        "",
        response_model=api.Changes,
        responses=refused(400, "An offset that has not been given yet.")
        | refused(410, "Events that are no longer kept.", api.Expired),
    )
    def changes(
        after: Annotated[
            int | None, Query(ge=0, description="The last offset known; none: from the oldest kept.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = FEED_LIMIT,
    ) -> JSONResponse:
        """Reads events in the order of their offsets."""
        return JSONResponse(feed.page(after, limit))

    @router.get("/head")
    def head() -> api.Head:
        """Tells how far the feed reaches."""
        return api.Head.model_validate(feed.head())

    return router


def _clock_routes(clock: Clock) -> APIRouter:
    """What no CRM has: a clock that can be put forward."""
    router = APIRouter(prefix="/sandbox", tags=["sandbox"], dependencies=[Depends(BEARER)], responses=REFUSALS)

    @router.get("/clock")
    def shown() -> api.ClockTold:
        """Tells what the clock shows."""
        return api.ClockTold(head=clock.now())

    @router.post("/clock", responses=refused(409, "A moment before now, or beyond the simulation."))
    def put_forward(wanted: api.ClockTold) -> api.ClockTold:
        """Puts the clock forward."""
        if not clock.put_forward(wanted.head):
            raise CallRefusedError.clock_back()
        return api.ClockTold(head=clock.now())

    return router
