"""Running the sandbox CRM beside a demo or a UI, and Dagster's home below data/."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from crm_platform.defs.settings import Settings, SettingsError
from crm_platform.sandbox import SandboxConfig, SandboxError

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
    """Serves the sandbox where the settings look for it, in a process of its own; one that is there already is used.

    Its credentials are put where the manifest looks for them.

    Raises:
        SandboxError: It does not come up.
    """
    base_url = settings.connection.base_url or "http://127.0.0.1:8710"
    os.environ.update(zip(VARIABLES, (config.client_id, config.client_secret), strict=True))
    if _answers(base_url):
        tell(f"Using the sandbox CRM that listens on {base_url}")
        yield
        return
    tell(f"Starting the sandbox CRM: {config.accounts:,} accounts, {config.days} days (seed {config.seed}) …")
    place = urlsplit(base_url)
    with _process(config, str(place.hostname), int(place.port or 80)) as process:
        while not _answers(base_url):
            if process.poll() is not None:
                raise SandboxError.silent(str(place.hostname), int(place.port or 80))
            time.sleep(0.1)
        tell(f"The sandbox CRM listens on {base_url}")
        yield


@contextmanager
def _process(config: SandboxConfig, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    told = {"host": host, "port": port, "seed": config.seed, "accounts": config.accounts, "days": config.days}
    told |= {"extra-days": config.extra_days, "speed": config.speed, "folder": config.folder}
    told |= {"first-day": config.first_day}
    flags = [word for name, value in told.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(  # noqa: S603  our own command
        [sys.executable, "-m", "crm_platform.cli", "sandbox", *flags], stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _answers(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False


def dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's instance, in the environment from then on: the configured one, or data/dagster.

    The latter is made with the laptop's instance settings. A configured one is taken as it is.

    Raises:
        SettingsError: The configured folder has no dagster.yaml; without one Dagster would begin an instance of its own.
    """
    if settings.dagster_home is not None:
        home = (settings.folder / settings.dagster_home).resolve()
        if not (home / "dagster.yaml").exists():
            raise SettingsError.no_instance(home)
    else:
        home = (settings.folder / "data" / "dagster").resolve()
        home.mkdir(parents=True, exist_ok=True)
        if INSTANCE_FILE.exists():
            shutil.copyfile(INSTANCE_FILE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home
