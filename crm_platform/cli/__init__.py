"""The crm-platform command: each subcommand asks one thing of the rooms below and shows what they answered.

Nothing is decided here; long work reports its progress, errors are one sentence with a remedy and exit with 1.
"""

import datetime as dt
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from crm_platform.cli.decisions import GROUPS
from crm_platform.cli.words import BY, CONFIG, Explaining, console, progress_to


@click.group(cls=Explaining, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="crm-platform")
def main() -> None:
    """From a CRM to leak-free machine-learning data.

    Start with `crm-platform demo`: a sandbox CRM, sixty days, every check, a training set. Then `crm-platform dev`
    opens the same in the Dagster UI.
    """


def sandbox_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which sandbox is meant, taken from its configuration's own descriptions."""
    from crm_platform.sandbox import SandboxConfig

    fields = SandboxConfig.model_fields
    kinds: dict[str, Any] = {"seed": int, "accounts": int, "days": int, "extra_days": int, "speed": float}
    decorated = command
    for name, kind in reversed(kinds.items()):
        told = fields[name]
        flag = f"--{name.replace('_', '-')}"
        decorated = click.option(flag, type=kind, default=told.default, show_default=True, help=told.description)(
            decorated
        )
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="NAME[=JSON]",
        help="A misbehaviour to switch on, by its name below, perhaps with parameters; repeatable.",
    )(decorated)


def _sandbox_command() -> click.Command:
    @sandbox_options
    @click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
    @click.option(
        "--first-day", type=click.DateTime(["%Y-%m-%d"]), default="2026-03-01", show_default=True,
        help="The first simulated day (UTC).",
    )  # fmt: skip
    @click.option(
        "--port", type=click.IntRange(0, 65535), default=8710, show_default=True,
        help="On which port; 0 for any free one.",
    )  # fmt: skip
    @click.option(
        "--folder", type=click.Path(path_type=Path), default=Path("data/sandbox"), show_default=True,
        help="Where generated change logs are kept and found again.",
    )  # fmt: skip
    @wraps(sandbox)
    def command(**options: Any) -> None:
        sandbox(**options)

    from crm_platform.sandbox.faults import meanings

    epilog = ["Misbehaviours:", *(f"{name}: {meaning}" for name, meaning in meanings().items())]
    return click.command("sandbox", epilog="\n\n".join(epilog))(command)


def sandbox(
    *, host: str, port: int, first_day: dt.datetime, faults: tuple[str, ...], folder: Path, **options: Any
) -> None:
    """Serve the sandbox CRM until interrupted.

    A seeded sales organisation behind a real HTTP API: paged reads, bulk exports, a change feed, OAuth2, rate limits.
    Its OpenAPI document is at /openapi.json. Misbehaviours are switched on by name, for example:

        crm-platform sandbox --fault late_commits --fault result_cap='{"cap": 500}'
    """
    from crm_platform.sandbox import configured, serve

    config = configured({**options, "first_day": first_day.date(), "folder": folder, "faults": list(faults)})
    tell = progress_to(console)
    tell(f"Simulating {config.accounts:,} accounts over {config.days + config.extra_days} days (seed {config.seed}) …")

    def simulated(done: int, days: int) -> None:
        if done * 10 // days > (done - 1) * 10 // days:
            tell(f"  day {done} of {days}")

    serve(
        config,
        host,
        port,
        ready=lambda address: tell(f"The sandbox CRM listens on {address.base_url}"),
        progress=simulated,
    )


main.add_command(_sandbox_command())


@main.command()
@CONFIG
@click.option("--days", type=click.IntRange(1), help="Only the first DAYS days.")
def demo(config: Path | None, days: int | None) -> None:
    """Build everything once, on the sandbox CRM, and say what it found.

    Starts the sandbox on loopback, materializes the whole graph over the configured days in the Dagster instance below
    data/dagster, runs every check, and prints a summary. A second run finds everything in place and writes nothing.
    """
    from crm_platform.defs.demo import run_demo

    ok = run_demo(config, days=days, console=console)
    raise click.exceptions.Exit(0 if ok else 1)


@main.command()
@CONFIG
@click.option("--port", default=3000, show_default=True, help="Where the Dagster UI listens.")
@click.option("--speed", default=0.0, show_default=True, help="Simulated seconds per second of the sandbox's clock.")
def dev(config: Path | None, port: int, speed: float) -> None:
    """Open the Dagster UI over the sandbox CRM, with sensors and schedules at hand.

    Runs the sandbox beside `dagster dev`; history is kept under data/dagster, the lake under data/lake.
    """
    from crm_platform.defs.dev import run_dev

    raise click.exceptions.Exit(run_dev(config, port=port, speed=speed, console=console))


@main.command()
@click.option("--source", required=True, help="A shipped manifest's name (bottlecrm), or a path to one.")
@click.option(
    "--from", "log", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="A recorded Debezium log, .jsonl or .jsonl.gz.",
)  # fmt: skip
@click.option("--lake", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the lake lies.")
@click.option(
    "--features/--no-features", default=True, show_default=True, help="Build timelines and training sets too."
)
def ingest(source: str, log: Path, lake: Path, *, features: bool) -> None:
    """Land a recorded change log and build everything that follows from it.

    Afterwards LAKE/current/<object> holds the CRM's tables, readable with DuckDB alone. Running it again writes
    nothing. For example, with the sample that comes with the project:

        crm-platform ingest --source bottlecrm --from data/samples/bottlecrm/events.jsonl.gz --lake data/bottle
    """
    from crm_platform.defs.ingest import run_ingest

    run_ingest(source, log, lake, features=features, console=console, tell=progress_to(console))


@main.command()
@CONFIG
def summary(config: Path | None) -> None:
    """Say what the lake holds: rows per table, red days, lateness, training sets."""
    from crm_platform.defs.settings import load_settings
    from crm_platform.defs.summary import print_summary

    print_summary(load_settings(config), console)


@main.command()
@click.option(
    "--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The first day to derive again."
)
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="The last one; by default the last covered day.")
@click.option(
    "--objects", help="Only the histories of these, and what is made of them: lead,activity. By default all objects."
)
@click.option("--dry-run", is_flag=True, help="Say what would be derived again, and do nothing.")
@CONFIG
def rebuild(
    first: dt.datetime, last: dt.datetime | None, objects: str | None, config: Path | None, *, dry_run: bool
) -> None:
    """Derive history, merges, current tables and features again from what landed, for a stretch of days.

    First it says what that comes to: days, tables, rows, training sets. Then it goes month by month, in this process and in
    the Dagster instance of `make dev`, so that the UI shows it. Landing is only read. Days whose content comes out equal
    keep their files; what is red stops it. Cut off, it is asked for again, and goes on with the month it was in.

        crm-platform rebuild --from 2026-03-01 --to 2026-03-31 --objects lead --dry-run
    """
    from crm_platform.defs.commands import run_rebuild

    names = [name.strip() for name in objects.split(",")] if objects else []
    days = first.date(), last.date() if last else None
    ok = run_rebuild(config, *days, names, dry_run=dry_run, console=console)
    raise click.exceptions.Exit(0 if ok else 1)


@main.command()
@click.argument("table")
@click.argument("check", required=False)
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="The first day to look at; by default all.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="The last one; by default the first.")
@CONFIG
def check(
    table: str, check: str | None, first: dt.datetime | None, last: dt.datetime | None, config: Path | None
) -> None:
    """Look at TABLE again, with one CHECK or with all it has, and build nothing.

    What a failed check prints as "run again" is this command. A red day that is found well is red no more, and the days
    that waited for it are built by the sensor mended_days, or by `crm-platform rebuild`. For example:

        crm-platform check history/account contract --from 2026-03-04
    """
    from crm_platform.defs.commands import run_checks

    days = (one.date() if one else None for one in (first, last))
    ok = run_checks(config, table, check, *days, console=console)
    raise click.exceptions.Exit(0 if ok else 1)


@main.command()
@click.argument("name")
@click.option("--id", "identity", help="Which set; by default the one whose checks passed last.")
@click.option("--despite-gate", "why", help="Open one that its checks hold back; the reason stands in the audit log.")
@BY
@CONFIG
def training(name: str, identity: str | None, why: str | None, by: str, config: Path | None) -> None:
    """Say where the training set NAME lies, if it may be read.

    Refuses a set whose checks failed or never ran, names the check, and exits with 1. With --despite-gate the set that was
    built last is opened all the same, for whoever looks into it.
    """
    from crm_platform.defs.decisions import open_training

    console.print(open_training(config, name, identity, why, by), highlight=False)


@main.command()
@CONFIG
def prepare(config: Path | None) -> None:
    """Make the tables and concurrency pools of the Dagster instance, before anything runs on it.

    Once per deployment, by one process, before the daemon starts; what is there already stays. The compose file and the
    Helm values do it. On a laptop's SQLite nothing needs it.
    """
    from crm_platform.defs.commands import run_prepare

    run_prepare(config, console=console)


for group in GROUPS:
    main.add_command(group)
