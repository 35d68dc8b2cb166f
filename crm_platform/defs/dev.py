"""The development server: the sandbox CRM beside `dagster dev`."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from crm_platform.defs.sandboxed import dagster_home, sandbox_of, sandbox_running
from crm_platform.defs.settings import load_settings


def run_dev(config: Path | None, *, port: int, speed: float, console: Console) -> int:
    """Serves the sandbox and the Dagster UI until interrupted; the exit code of the latter."""
    settings = load_settings(config)
    dagster_home(settings)
    command = [sys.executable, "-m", "dagster", "dev", "-m", "crm_platform.definitions", "-h", "127.0.0.1"]
    with sandbox_running(settings, sandbox_of(settings, speed=speed), console.print):
        console.print(f"The Dagster UI opens on [bold]http://127.0.0.1:{port}[/bold]; Ctrl-C ends both.")
        try:
            return subprocess.run([*command, "-p", str(port)], cwd=settings.folder, check=False).returncode  # noqa: S603
        except KeyboardInterrupt:
            return 0
