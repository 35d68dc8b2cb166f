"""Which stored training sets may be read by name: those whose checks all passed, and whose inputs are not red.

What the checks said is kept beside each set, one small file per check. A verdict holds for exactly the set that was looked
at, by exactly the rules it was looked at with; any other is none. The pointer by which a name finds its set moves here
alone, once all have passed: a set whose checks never ran is no more readable than one that failed. What the checks look at
is decided in `quality`; how files are written, in `shelf`.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from crm_platform.features.recipes import TrainingError
from crm_platform.features.shelf import (
    LATEST,
    NEWEST,
    TrainingSet,
    folder_of,
    is_as_built,
    manifests_in,
    outdated_inputs,
    point_to,
    pointed_at,
    seal_at,
    stored_set,
    write_whole,
)
from crm_platform.lake import Lake, Red, audit, red_partitions

logger = logging.getLogger(__name__)

RULES: Mapping[str, int] = {"leakage": 1, "label_windows": 1, "perfect_predictors": 1}
"""The checks that a set must have passed, and the version of what each asks: one more whenever it judges otherwise."""
REQUIRED = tuple(RULES)
RUNBOOK = "docs/runbook.md"
VERDICT = "gate-{check}.json"
READ_UNGATED = "training.read_ungated"


@dataclass(frozen=True)
class Verdict:
    """What one check said of one set: whether it passed, and in one sentence what it found.

    `seal` is that of the set it looked at, `rules` the version of what it asked. Files from before both were kept hold for
    nothing.
    """

    check: str
    passed: bool
    what: str
    seal: str = ""
    rules: int = 0

    @classmethod
    def on(cls, found: TrainingSet, check: str, *, passed: bool, what: str) -> "Verdict":
        """What a check says of a set by today's rules."""
        return cls(check, passed, what, found.seal, RULES[check])


@dataclass(frozen=True)
class Override:
    """Who reads a set that its gate holds back, and why; both stand in the audit log."""

    by: str
    why: str

    def __post_init__(self) -> None:
        """Refuses to be audited as nobody, or for no reason."""
        if not self.by.strip() or not self.why.strip():
            raise GateError.nameless()


class GateError(TrainingError):
    """A training set is there, and must not be read as if nothing were wrong with it."""

    @classmethod
    def failed(cls, name: str, identity: str, failed: list[Verdict]) -> "GateError":
        """Names the checks that failed, and what the first one found."""
        checks = ", ".join(verdict.check for verdict in failed)
        return cls(
            f"Training set {name} {identity} cannot be read: its check {checks} failed. {failed[0].what} "
            f"{RUNBOOK}#{failed[0].check} says how to mend it; then materialize training/{name} again. "
            + _all_the_same()
        )

    @classmethod
    def unjudged(cls, name: str, identity: str, missing: list[str], why: str) -> "GateError":
        """Names the checks that have not looked at the set as it is, and by the rules of today."""
        return cls(
            f"Training set {name} {identity} cannot be read yet: {', '.join(missing)} has not looked at it; {why}. Run "
            f"`crm-platform check training/{name}`, which judges the newest set and the one that the name stands for, or "
            f"judged_by_all(lake, {name!r}, id={identity!r}) of crm_platform.quality.training_gate "
            f"({RUNBOOK}#{missing[0]}). " + _all_the_same()
        )

    @classmethod
    def red(cls, name: str, identity: str, red: Red) -> "GateError":
        """Names the red day of an input that the set reads."""
        return cls(
            f"Training set {name} {identity} cannot be read: it was made from {red.asset}, whose day {red.day} is red by "
            f"{red.check} since {red.since:%Y-%m-%d %H:%M} UTC. {RUNBOOK}#{red.check} says how to mend the day; or "
            f"materialize training/{name} again, which ends before it. " + _all_the_same()
        )

    @classmethod
    def nameless(cls) -> "GateError":
        """Says that an override needs a name and a reason."""
        return cls("An override of the training gate needs who and why: give Override(by=…, why=…) words in both.")


def training_set(
    lake: Lake | Path | str,
    name: str,
    id: str | None = None,  # noqa: A002  a notebook's word
    *,
    override: Override | None = None,
) -> TrainingSet:
    """Opens a stored training set, for a notebook.

    Args:
        lake: The lake, or where it lies.
        name: Such as `lead_conversion`.
        id: Which one; None for the one whose checks passed last, or with an override for the one built last.
        override: Who reads a set that its gate holds back, and why: written to the audit log before anything is read.

    Raises:
        TrainingError: There is no such set, or what lies there is not what was built under its id.
        GateError: A check of it failed or has not judged it as it is, or a day that it was made from is red.
    """
    folder = folder_of(lake, name)
    newest, latest = pointed_at(folder, NEWEST), pointed_at(folder, LATEST)
    wanted = id or (newest if override is not None else latest or newest)
    found = stored_set(lake, name, wanted)
    why = refusal(lake, name, found)
    if override is not None and why is not None:
        opened = lake if isinstance(lake, Lake) else Lake(lake)
        detail = {"why": override.why, "refused": str(why)}
        audit(opened, actor=override.by, action=READ_UNGATED, subject=f"training/{name}/{wanted}", detail=detail)
    elif why is not None:
        raise why
    elif id is None and newest != wanted:
        logger.warning(
            "training set %s %s was built later and has not passed its checks: reading %s", name, newest, wanted
        )
    return found


def training_set_as_of(lake: Lake | Path | str, name: str, moment: datetime) -> TrainingSet:
    """Opens the stored training set that knows most of what was known at a moment, and nothing later, of those that passed.

    Raises:
        TrainingError: Every stored set that passed its checks knows more than that, or there is none.
        GateError: A day that it was made from is red.
    """
    folder = folder_of(lake, name)
    found = [told for one, told in manifests_in(folder).items() if has_passed(folder / one)]
    fitting = [one for one in found if one.recipe.labels_read_at <= moment]
    if not fitting:
        raise TrainingError.unknown(
            name, f"that passed its checks and ends by {moment.isoformat()}", [one.id for one in found]
        )
    valid = [one for one in fitting if not outdated_inputs(folder / one.id)] or fitting
    return training_set(lake, name, max(valid, key=lambda one: (one.recipe.labels_read_at, one.watermark, one.id)).id)


def refusal(lake: Lake | Path | str, name: str, found: TrainingSet) -> GateError | None:
    """Why a set must not be read by name; None where nothing stands against it."""
    identity, verdicts = found.manifest.id, verdicts_on(found.path)
    failed = [verdicts[check] for check in REQUIRED if check in verdicts and not verdicts[check].passed]
    if failed:
        return GateError.failed(name, identity, failed)
    missing = [check for check in REQUIRED if check not in verdicts]
    if missing:
        return GateError.unjudged(name, identity, missing, _why_unjudged(found, missing[0]))
    red = _red_input(lake if isinstance(lake, Lake) else Lake(lake), found)
    return None if red is None else GateError.red(name, identity, red)


def keep_verdict(found: TrainingSet, verdict: Verdict) -> bool:
    """Keeps what a check said of a set, and lets the name find the newest set once all have passed.

    Returns:
        Whether the name finds this set now.
    """
    content = json.dumps(asdict(verdict), indent=2).encode() + b"\n"
    kept = found.path / VERDICT.format(check=verdict.check)
    if not kept.exists() or kept.read_bytes() != content:
        write_whole(kept, content)
    folder, identity, passed = found.path.parent, found.manifest.id, has_passed(found.path)
    if passed and pointed_at(folder, NEWEST) == identity:
        point_to(found.path, LATEST)
    return passed and pointed_at(folder, LATEST) == identity


def verdicts_on(path: Path) -> dict[str, Verdict]:
    """What the checks say of a set as it lies there, by the rules of today; those that do not are not there."""
    seal = seal_at(path)
    kept = {check: _kept(path, check) for check in REQUIRED}
    return {
        check: verdict
        for check, verdict in kept.items()
        if verdict is not None and (verdict.seal, verdict.rules) == (seal, RULES[check])
    }


def has_passed(path: Path) -> bool:
    """Whether every required check looked at a stored set and passed."""
    verdicts = verdicts_on(path)
    return all(check in verdicts and verdicts[check].passed for check in REQUIRED)


def awaiting(lake: Lake, name: str, check: str) -> str | None:
    """The set that a name stands for, where it is not the newest one and a check has not judged it by the rules of today."""
    folder = folder_of(lake, name)
    latest = pointed_at(folder, LATEST)
    if latest is None or latest == pointed_at(folder, NEWEST) or not is_as_built(folder / latest):
        return None
    return None if check in verdicts_on(folder / latest) else latest


def _kept(path: Path, check: str) -> Verdict | None:
    """What a check said last of whatever lay here."""
    file = path / VERDICT.format(check=check)
    return Verdict(**json.loads(file.read_bytes())) if file.exists() else None


def _why_unjudged(found: TrainingSet, check: str) -> str:
    kept = _kept(found.path, check)
    if kept is None:
        return "its run was stopped, or ran without checks"
    if kept.seal != found.seal:
        return "its verdict is on another set than the one that lies under this id"
    return f"its verdict is by rules of version {kept.rules}, and today's are of version {RULES[check]}"


def _red_input(lake: Lake, found: TrainingSet) -> Red | None:
    """The first red day of an input within the stretch that a set reads of it."""
    recipe = found.manifest.recipe
    asked, read = recipe.last - recipe.embargo, recipe.labels_read_at
    until = {table: asked if table in recipe.timelines.values() else read for table in found.manifest.inputs}
    within = [red for red in red_partitions(lake) if red.asset in until and red.day <= until[red.asset].date()]
    return min(within, key=lambda red: red.day, default=None)


def _all_the_same() -> str:
    return 'To read it all the same, which is audited, give override=Override(by="…", why="…") or --despite-gate.'
