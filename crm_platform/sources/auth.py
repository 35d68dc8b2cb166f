"""Who asks: the header that proves it, fetched and renewed as the manifest says.

Tokens and secrets stay in memory and out of every message. What a refusal means stands in `answers`.
"""

import time
from collections.abc import Callable, Mapping

from crm_platform.sources.errors import AnswerError, CredentialsError
from crm_platform.sources.manifest import Manifest
from crm_platform.sources.transport import Auth

NEEDED = {"oauth2_client_credentials": ("client_id", "client_secret"), "bearer": ("token",), "none": ()}


def credentials_from(manifest: Manifest, environment: Mapping[str, str]) -> dict[str, str]:
    """The credentials that a manifest asks for, from the variables it names; those that are not set are left out."""
    variables = manifest.http.auth.variables if manifest.http else {}
    return {name: environment[variable] for name, variable in variables.items() if variable in environment}


class Login:
    """Keeps the token of one source fresh."""

    def __init__(
        self,
        source: str,
        auth: Auth,
        credentials: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Checks that the credentials are there; fetches nothing yet.

        Raises:
            CredentialsError: Some are missing.
        """
        missing = [name for name in NEEDED[auth.kind] if not credentials.get(name)]
        if missing:
            raise CredentialsError.missing(source, missing, [_variable(auth, name) for name in missing])
        self._auth = auth
        self._credentials = dict(credentials)
        self._clock = clock
        self._token: str | None = self._credentials.get("token") if auth.kind == "bearer" else None
        self._until = float("inf")

    @property
    def is_renewable(self) -> bool:
        """Whether a refused token can be replaced by a new one."""
        return self._auth.kind == "oauth2_client_credentials"

    @property
    def origin(self) -> str:
        """Where the credentials come from: the variables that hold them, for whoever must mend them."""
        return ", ".join(_variable(self._auth, name) for name in NEEDED[self._auth.kind]) or "the credentials"

    @property
    def is_due(self) -> bool:
        """Whether a token must be fetched before the next request."""
        early = self._auth.early.total_seconds()
        return self.is_renewable and (self._token is None or self._clock() >= self._until - early)

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    @property
    def form(self) -> dict[str, str]:
        """What a token is asked for with."""
        return {
            "grant_type": "client_credentials",
            "client_id": self._credentials["client_id"],
            "client_secret": self._credentials["client_secret"],
        }

    @property
    def path(self) -> str:
        """Where tokens are fetched."""
        return self._auth.token_path or "/oauth/token"

    def forget(self) -> None:
        """Drops a token that the CRM no longer accepts."""
        if self.is_renewable:
            self._token = None

    def keep(self, answer: Mapping[str, object]) -> None:
        """Takes a new token.

        Raises:
            AnswerError: The answer holds none.
        """
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise AnswerError.lacks(self.path, "access_token")
        seconds = answer.get("expires_in")
        lasting = float(seconds) if isinstance(seconds, int | float) else float("inf")
        early = min(self._auth.early.total_seconds(), lasting / 2)
        self._token = token
        self._until = self._clock() + lasting + self._auth.early.total_seconds() - early


def _variable(auth: Auth, name: str) -> str:
    return auth.variables.get(name, name)
