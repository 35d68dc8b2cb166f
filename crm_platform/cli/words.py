"""What all commands share: the two consoles, the options that many of them take, progress, and how an error is told."""

import datetime as dt
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from crm_platform.contracts import CrmPlatformError

console = Console(soft_wrap=True)
problems = Console(stderr=True, soft_wrap=True)


class Explaining(click.Group):
    """A group whose commands turn our own errors into one red sentence, and leave everything else a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except CrmPlatformError as failure:
            problems.print(f"[red]{type(failure).__name__}[/red]: {failure}", highlight=False, markup=True)
            raise click.exceptions.Exit(1) from failure


CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings file; by default crm_platform.yaml of this folder.",
)

BY = click.option("--by", default=getpass.getuser, show_default="you", help="Who decides so; stands in the audit log.")


def progress_to(shown: Console) -> Callable[[str], None]:
    """Progress as dim lines with the time of day."""

    def tell(line: str) -> None:
        shown.print(f"[dim]{dt.datetime.now(dt.UTC):%H:%M:%S}[/dim] {line}", highlight=False)

    return tell
