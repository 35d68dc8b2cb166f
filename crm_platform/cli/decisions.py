"""The commands by which a person decides: what goes without a snapshot, what is read again or given up, what is muted.

Each takes `--by` and leaves a line in the audit log.
"""

import datetime as dt
from pathlib import Path

import click

from crm_platform.cli.words import BY, CONFIG, console


@click.group()
def snapshot() -> None:
    """Decide about exports that could not land."""


@snapshot.command("skip")
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--object", "name", required=True, help="Whose export: account, lead, …")
@BY
@CONFIG
def skip(day: dt.datetime, name: str, by: str, config: Path | None) -> None:
    """Let DAY go without a snapshot of an object; the kept export is given up, and the decision is audited.

    Then materialize landing/snapshot/OBJECT and what follows from it for DAY: the day is no longer red.
    """
    from crm_platform.defs.decisions import skip_day

    skip_day(config, name, day.date(), by)
    console.print(f"{name} goes without a snapshot on {day.date()}. Materialize the day again to go on.")


@click.group()
def landing() -> None:
    """Mend what landed: from it everything is derived, and it from nothing."""


@landing.command("restore")
@click.argument("table")
@click.option("--give-up", is_flag=True, help="Forget what is gone without reading it again.")
@BY
@CONFIG
def restore(table: str, by: str, config: Path | None, *, give_up: bool) -> None:
    """Read what TABLE has lost from the CRM once more, and let its log forget files that are gone or broken; audited.

    For landing/changes/OBJECT the ranges of the feed that brought the rows are read again, where the feed still holds them.
    For landing/snapshot/OBJECT the day is forgotten, where exports can be dated; materialize it again afterwards. Files that
    a backup still has are better put back: then this finds nothing to do.
    """
    from crm_platform.defs.decisions import restore_landing

    console.print(restore_landing(config, table, by, give_up=give_up), highlight=False)


@click.group()
def quarantine() -> None:
    """Look at rows that broke their contract, and release them."""


@quarantine.command("list")
@CONFIG
def waiting(config: Path | None) -> None:
    """Say which rows wait: object, day, rule, how many. Payloads stay in the tables."""
    from crm_platform.defs.decisions import waiting_rows
    from crm_platform.defs.summary import as_table

    console.print(as_table(waiting_rows(config), "Quarantine"))


@quarantine.command("release")
@click.argument("name", metavar="OBJECT")
@BY
@CONFIG
def release(name: str, by: str, config: Path | None) -> None:
    """Land the rows of OBJECT that keep their contract by now, with the times at which the CRM recorded them."""
    from crm_platform.defs.decisions import release_rows

    console.print(release_rows(config, name, by))


@quarantine.command("discard")
@click.argument("name", metavar="OBJECT")
@click.option("--rule", required=True, help="The rule by which they wait, as `quarantine list` shows it.")
@click.option("--why", required=True, help="The reason; stands in the audit log.")
@BY
@CONFIG
def discard(name: str, rule: str, why: str, by: str, config: Path | None) -> None:
    """Give up the rows of OBJECT that wait by a rule, because no contract will ever take them.

    They stay in the table, resolved. What they said comes with the next change of the row, or the next snapshot. For example:

        crm-platform quarantine discard activity --rule "naive_timestamp: occurred_at" --why "mended in the CRM"
    """
    from crm_platform.defs.decisions import discard_rows

    console.print(discard_rows(config, name, rule, why, by), markup=False)


@click.group()
def feed() -> None:
    """Decide about changes that the CRM's feed has lost."""


@feed.command("skip")
@BY
@CONFIG
def skip_gap(by: str, config: Path | None) -> None:
    """Go on behind the range that the feed has lost, for landing to resume; audited, and nothing where nothing is lost.

    A feed loses changes when a reader was away for longer than it keeps them, or when it says so itself. Then materialize
    landing/changes/* and landing/snapshot/*: history is repaired from the snapshots, and `reconciliation` counts the loss.
    """
    from crm_platform.defs.decisions import skip_lost

    console.print(skip_lost(config, by), markup=False)


@click.group()
def alerts() -> None:
    """Look at what is wrong, and hear nothing of it for a while."""


@alerts.command("list")
@CONFIG
def open_now(config: Path | None) -> None:
    """Say what is open since when, what is muted until when and by whom, which messages wait, and who did not get the last."""
    from crm_platform.defs.muting import left_out, mutes_in_force, open_alerts, waiting_messages
    from crm_platform.defs.summary import as_table

    asked = {"Open": open_alerts, "Muted": mutes_in_force, "Waiting": waiting_messages, "Left out": left_out}
    for title, ask in asked.items():
        console.print(as_table(ask(config), title))


@alerts.command("mute")
@click.argument("pattern")
@click.option(
    "--until", required=True, type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="When it ends by itself (UTC)."
)
@click.option("--why", required=True, help="The reason; stands in the audit log.")
@BY
@CONFIG
def mute(pattern: str, until: dt.datetime, why: str, by: str, config: Path | None) -> None:
    """Hear nothing of what fits PATTERN, `kind: subject on place` with * for anything, until a moment; audited.

    For example:

        crm-platform alerts mute "check_failed: landing/snapshot/owner *" --until 2026-03-04 --why "renamed on purpose"
    """
    from crm_platform.defs.muting import mute_alerts

    mute_alerts(config, pattern, until, by, why)
    console.print(f"Muted until {until:%Y-%m-%d %H:%M} UTC: {pattern}", markup=False)


@alerts.command("unmute")
@click.argument("pattern")
@BY
@CONFIG
def unmute(pattern: str, by: str, config: Path | None) -> None:
    """Hear again of what PATTERN muted; what is still open is told by the next tick."""
    from crm_platform.defs.muting import unmute_alerts

    unmute_alerts(config, pattern, by)
    console.print(f"No longer muted: {pattern}", markup=False)


GROUPS = (snapshot, landing, quarantine, feed, alerts)
