"""The table of docs/performance.md: made of results, between two markers; nobody is left out of it without a word."""

from crm_platform_tests.benchmarks.made_files import Size

QUIET = 0.5
"""Load (runnable processes, one minute) up to which a machine is left alone."""


class MarkersError(Exception):
    """The page has no place for the table."""


def placed(page, table, name="measured", command="make bench"):
    """The page with the table between its markers."""
    begin, end = f"<!-- {name}: written by {command}, do not edit -->", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise MarkersError(f"The page needs the lines {begin!r} and {end!r}, once each and in this order. Add them.")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"


def written(results, works, header):
    """Markdown: the header, then per size and layout what was to be reached and what everybody took."""
    lines = results.lines()
    groups = sorted({(one["rows"], one["layout"]) for one in lines}, reverse=True)
    dates = sorted(one["at"][:10] for one in lines)
    measured = {"measured": " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "not yet"}
    load = max((one["load"] for one in lines), default=0.0)
    if load > QUIET:
        measured["busy"] = f"the machine bore a load of {load:.1f} before we began; on a quiet one figures are smaller"
    top = "\n".join(f"- {name}: {value}" for name, value in (measured | header).items())
    return "\n\n".join([top, *(_group(results, works, rows, layout) for rows, layout in groups)])


def _group(results, works, rows, layout):
    size = Size(rows)
    title = (
        f"### {rows:,} versions, {size.entities:,} entities, {size.questions:,} questions, activities by {layout} id"
    )
    return "\n\n".join([title, _targets(results, works, size, layout), _everybody(results, works, size, layout)])


def _targets(results, works, size, layout):
    found, ended = results.found(size.rows, layout), results.ended(size.rows, layout)
    lines = ["| work | to reach | reached | |", "|---|---|---|---|"]
    for work in works.values():
        for target in work.targets:
            reached, verdict = _reached(target, found, ended, size)
            lines.append(f"| {work.name} | {target.says} | {reached} | {verdict} |")
    return "\n".join(lines)


def _reached(target, found, ended, size):
    """The figure and whether it is enough. A peer ended by the clock takes at least as long as it was given."""
    figure, least = target.figure(found, size), target.figure(found | ended, size)
    if target.is_least and least != figure:
        return f"over {least:.2f}", "met" if target.is_met(least) else "not known"
    if figure is None:
        return "not measured", ""
    return f"{figure:.2f}", "met" if target.is_met(figure) else "missed"


def _everybody(results, works, size, layout):
    lines = ["| work | who | seconds | times ours | peak GB | runs | answer |", "|---|---|---|---|---|---|---|"]
    found = results.found(size.rows, layout)
    for work in works.values():
        ours = found.get((work.name, work.ours.who))
        for one in work.contestants:
            mine = found.get((work.name, one.who))
            times = f"{mine.seconds / ours.seconds:.2f}" if mine and ours else ""
            took = (
                (f"{mine.seconds:.3f}", times, f"{mine.peak / 1e9:.2f}", str(mine.runs)) if mine else ("", "", "", "")
            )
            answer = _answer(results, work, one, size, layout, is_measured=mine is not None)
            lines.append(f"| {' | '.join((f'{work.name}: {work.says}', one.who, *took, answer))} |")
    return "\n".join(lines)


def _answer(results, work, one, size, layout, *, is_measured):
    """How it answered, or why it was not measured."""
    about = (work.name, one.who, size.rows, layout)
    answered = results.said("answer", *about)
    if is_measured:
        return answered or ("the one compared with" if one is work.ours and one.answers else "none to compare")
    if one.most_rows is not None and size.rows > one.most_rows:
        return f"not measured: asked up to {one.most_rows:,} versions only"
    why = results.said("failed", *about) or results.said("absent", *about) or answered or "not yet"
    return f"not measured: {why}"
