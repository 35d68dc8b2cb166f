"""What Dagster costs: a year rebuilt beside a script, a run with nothing to do, ticks, loading. `make bench-costs`.

Everything runs in processes of its own, in turn, over equal copies of one lake; equal tables come before any figure.
"""

import datetime as dt
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import click
import dagster as dg

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.platform import Platform
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.defs.settings import load_settings
from crm_platform.lake import Lake
from crm_platform.sandbox import SandboxConfig
from crm_platform_tests.benchmarks import machine, plain
from crm_platform_tests.benchmarks.environment import python_with
from crm_platform_tests.benchmarks.table import placed
from crm_platform_tests.pipeline import contents, sandbox_at, sandbox_of, settings_in, versions

PAGE = machine.REPOSITORY / "docs" / "costs.md"
THROUGH_DAGSTER, BY_SCRIPT = "`crm-platform rebuild`", "a script"
TICKS = 15
WHOLE = "whole"
"""The file that says that landing went to its end."""
EMPTY = "import dagster as dg\ndefs = dg.Definitions()\n"
LOADS = "from {module} import defs\ndefs.get_repository_def()\n"


class UnequalError(Exception):
    """Two ways to the same tables gave different ones."""


class OtherSettingsError(click.ClickException):
    """A folder holds what was landed with other settings."""


def timed(command, folder):
    """Seconds, seconds of CPU and the most memory (bytes) of a process that has to end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise click.ClickException(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu": cpu}


def landed_in(keep, *, days, accounts):
    """Settings over what a sandbox CRM delivered in so many days, in `landed` below a folder, the CRM's log in `crm`.

    Taken as it is where it has landed whole; otherwise landed, from where it was cut off.

    Raises:
        OtherSettingsError: The folder holds what another CRM delivered, or other days of it.
    """
    landed = keep / "landed"
    if landed.exists() and not generated(keep, days, accounts).exists():
        raise OtherSettingsError(
            f"{landed} is not of {days} days of {accounts} accounts: {keep / 'crm'} has no log of those. "
            "Name another folder, or the days and accounts that it was made with."
        )
    if (landed / WHOLE).exists():
        click.echo(f"[land] {landed} has landed whole: used as it is", err=True)
        return load_settings(landed / "crm_platform.yaml")
    click.echo(f"[land] {days} days into {landed}", err=True)
    with sandbox_at(keep / "crm", days=days, accounts=accounts) as base_url:
        landed.mkdir(parents=True, exist_ok=True)
        settings = settings_in(landed, base_url, days)
        plain.land(Platform.from_settings(settings))
    (landed / WHOLE).touch()
    return settings


def generated(keep, days, accounts):
    """The folder of the sandbox's log."""
    config = sandbox_of(keep / "crm", days=days, accounts=accounts)
    return config.folder / config.fingerprint


def rebuilds(folder, settings, *, rounds):
    """Both ways, in turn, each over a copy of what landed: seconds by way, and the folder of the last lake of Dagster.

    Raises:
        UnequalError: Their tables differ.
    """
    ways = {
        THROUGH_DAGSTER: lambda path: [sys.executable, "-m", "crm_platform.cli", "rebuild", "--config", path,
                                       "--from", settings.first_day.isoformat()],
        BY_SCRIPT: lambda path: [sys.executable, "-m", plain.__name__, path],
    }  # fmt: skip
    took, places = {way: [] for way in ways}, {}
    for number in range(rounds):
        for way, command in ways.items():
            place = places[way] = folder / f"{way.strip('`').replace(' ', '-')}-{number}"
            shutil.copytree(settings.folder, place)
            took[way].append(timed(command(str(place / "crm_platform.yaml")), machine.REPOSITORY))
            click.echo(f"[rebuild] round {number + 1}/{rounds}: {way} {took[way][-1]['seconds']:.1f} s", err=True)
        ours, theirs = (contents(Lake(place / "lake")) for place in places.values())
        if ours != theirs:
            differing = sorted(table for table in ours.keys() | theirs.keys() if ours.get(table) != theirs.get(table))
            raise UnequalError(f"{', '.join(differing)} differ between {THROUGH_DAGSTER} and {BY_SCRIPT}")
        if number + 1 < rounds:
            for place in places.values():
                shutil.rmtree(place)
    return took, places[THROUGH_DAGSTER]


def nothing_to_do(place, first):
    """The same rebuild once more: its seconds, and how many Delta versions it made."""
    lake = Lake(place / "lake")
    before = versions(lake)
    path = str(place / "crm_platform.yaml")
    took = timed(
        [sys.executable, "-m", "crm_platform.cli", "rebuild", "--config", path, "--from", first], machine.REPOSITORY
    )
    after = versions(Lake(place / "lake"))
    return took["seconds"], sum((after[table] or 0) - (before.get(table) or 0) for table in after)


def ticks(settings):
    """Milliseconds of every sensor's tick with nothing new, by sensor; the CRM answers over HTTP."""
    dagster_home(settings)
    defs = build_defs(settings)
    given = {"platform": defs.resources["platform"]}
    found = {}
    with dg.DagsterInstance.get() as instance:
        for sensor in defs.sensors:
            cursor, took = None, []
            for _ in range(TICKS):
                context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs, resources=given)
                begin = time.perf_counter()
                told = sensor.evaluate_tick(context)
                took.append((time.perf_counter() - begin) * 1000)
                cursor = told.cursor
            if told.run_requests:
                raise click.ClickException(f"The sensor {sensor.name} asks for a run though nothing is new.")
            found[sensor.name] = median(took)
    return found


def loads(folder, rounds):
    """Seconds of a process that loads definitions, by whose, in turn."""
    (folder / "empty_project.py").write_text(EMPTY, encoding="utf-8")
    python = deployed()
    whose = {"an empty project": "empty_project", "crm_platform": "crm_platform.definitions"}
    os.environ["PYTHONPATH"] = str(folder)
    took = {who: [] for who in whose}
    for number in range(rounds + 1):  # the first one fills the caches of files
        for who, module in whose.items():
            loading = [python, "-P", "-c", LOADS.format(module=module)]  # what is installed there, not what lies here
            seconds = timed(loading, machine.REPOSITORY)["seconds"]
            took[who].extend([seconds] if number else [])
    return {who: median(seconds) for who, seconds in took.items()}


def deployed():
    """The interpreter of an environment with what production installs, and this package: compiled, as pip leaves it there."""
    python = python_with(machine.REPOSITORY / "data" / "bench", machine.REPOSITORY / "deploy" / "requirements.lock")
    wanted = ["--quiet", "--no-deps", "--no-build-isolation", "--compile-bytecode", "--reinstall"]
    own = str(machine.REPOSITORY)
    timed([sys.executable, "-m", "uv", "pip", "install", "--python", str(python), *wanted, own], machine.REPOSITORY)
    return python


def page(found):
    """The tables, as Markdown."""
    took, days = found["rebuilds"], found["days"]
    ours, script = (median(one["seconds"] for one in took[way]) for way in (THROUGH_DAGSTER, BY_SCRIPT))
    seconds, made = found["nothing"]
    loading = found["loads"]
    empty, own = loading["an empty project"], loading["crm_platform"]
    targets = [
        (f"{days} days rebuilt", "at most 1.5x the script", f"{ours / script:.2f}x", ours <= 1.5 * script),
        ("the same once more", "no Delta version", str(made), made == 0),
        *(
            (f"tick of `{name}`, nothing new", "under 200 ms", f"{took_ms:.0f} ms", took_ms < 200)
            for name, took_ms in found["ticks"].items()
        ),
        ("loading the definitions", "at most 1.5x an empty project", f"{own / empty:.2f}x", own <= 1.5 * empty),
    ]
    lines = ["| what | to reach | reached | |", "|---|---|---|---|"]
    lines += [f"| {what} | {reach} | {got} | {'met' if ok else 'missed'} |" for what, reach, got, ok in targets]
    lines += ["", "| who | seconds | of CPU | runs |", "|---|---|---|---|"]
    lines += [
        f"| {days} days, {found['accounts']} accounts: {way} | {median(one['seconds'] for one in runs):.1f} "
        f"| {median(one['cpu'] for one in runs):.1f} | {len(runs)} |"
        for way, runs in took.items()
    ]
    lines.append(f"| the same rebuild, nothing to do | {seconds:.1f} |  | 1 |")
    lines += [f"| loading the definitions: {who} | {one:.2f} |  | {found['rounds']} |" for who, one in loading.items()]
    return "\n".join(lines)


@click.command()
@click.option("--days", default=365, show_default=True, help="Days of the sandbox CRM that are rebuilt.")
@click.option(
    "--accounts", default=SandboxConfig.model_fields["accounts"].default, show_default=True, help="Its accounts."
)
@click.option("--rounds", default=3, show_default=True, help="How often everybody runs, in turn; the median counts.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where what lands is kept, and found again: landing a year takes longer than measuring it. The lake is FOLDER/landed, "
    "the CRM's log FOLDER/crm; neither is changed once whole. Land anew after landing itself has changed.  [default: a folder "
    "of its own, deleted afterwards]",
    metavar="FOLDER",
)
@click.option("--write/--no-write", default=True, help="Write the tables into docs/costs.md.")
def main(days, accounts, rounds, keep, *, write):
    """Measures what Dagster costs around the same functions, and writes the tables of docs/costs.md."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        keep = keep or folder
        landed = landed_in(keep, days=days, accounts=accounts)
        found = {"days": days, "accounts": accounts, "rounds": rounds, "loads": loads(folder, rounds)}
        found["rebuilds"], place = rebuilds(folder, landed, rounds=rounds)
        with sandbox_at(keep / "crm", days=days, accounts=accounts) as base_url:
            settings = settings_in(place, base_url, days)
            found["nothing"] = nothing_to_do(place, settings.first_day.isoformat())
            found["ticks"] = ticks(settings)
    told = {
        "measured": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, load before we began: {load:.1f}",
        "commit": machine.commit(),
        "machine": machine.machine(),
        "versions": f"Python {sys.version.split()[0]}, dagster {dg.__version__}, SQLite storage",
    }
    made = "\n".join([*(f"- {name}: {value}" for name, value in told.items()), "", page(found)])
    click.echo(made)
    if write:
        PAGE.write_text(placed(PAGE.read_text(), made, "costs", "make bench-costs"))
        click.echo(f"Written into {PAGE}.", err=True)


if __name__ == "__main__":
    main()
