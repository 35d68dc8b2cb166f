"""Running the sandbox CRM beside a demo or a UI, and Dagster's home below data/."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from crm_platform.defs.settings import Settings, SettingsError
from crm_platform.sandbox import SandboxConfig, running

VARIABLES = ("CRM_SANDBOX_CLIENT_ID", "CRM_SANDBOX_CLIENT_SECRET")
INSTANCE_FILE = Path(__file__).parents[2] / "dagster.yaml"


def sandbox_of(settings: Settings, *, speed: float = 0, faults: tuple[str, ...] = ()) -> SandboxConfig:
    """The sandbox that covers the configured days.

    Raises:
        SettingsError: The settings name another CRM, or no last day.
    """
    if settings.source != "sandbox" or settings.last_day is None:
        raise SettingsError.no_sandbox(settings.source)
    return SandboxConfig.model_validate(
        {
            "first_day": settings.first_day,
            "days": (settings.last_day - settings.first_day).days + 1,
            "folder": settings.folder / "data" / "sandbox",
            "speed": speed,
            "faults": list(faults),
        }
    )


@contextmanager
def sandbox_running(settings: Settings, config: SandboxConfig, tell: Callable[[str], None]) -> Iterator[None]:
    """Serves the sandbox where the settings look for it, and puts its credentials where the manifest looks for them."""
    tell(f"Starting the sandbox CRM: {config.accounts:,} accounts, {config.days} days (seed {config.seed}) …")
    wanted = urlsplit(settings.connection.base_url or "http://127.0.0.1:8710")
    with running(config, host=wanted.hostname or "127.0.0.1", port=wanted.port or 8710) as address:
        tell(f"The sandbox CRM listens on {address.base_url}")
        os.environ.update(zip(VARIABLES, (address.client_id, address.client_secret), strict=True))
        yield


def dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's history below data/, made with the project's instance settings if it is not there."""
    home = (settings.folder / "data" / "dagster").resolve()
    home.mkdir(parents=True, exist_ok=True)
    if INSTANCE_FILE.exists():
        shutil.copyfile(INSTANCE_FILE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home
