"""Where the code of a table stands: its contract and what builds it, as links in the UI.

The bodies of the assets are the same few lines for every table and say nothing, so they are not what is linked.
"""

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from crm_platform.defs.settings import CodeHost

PACKAGE = Path(__file__).parents[1]

Declared = Callable[..., Any]
"""A function, or a class such as a contract's model."""


def code_of(declared: Sequence[Declared]) -> dict[str, Any]:
    """The metadata by which the UI links to where things are declared, by file and line."""
    return {
        "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[_place(one) for one in declared])
    }


def on_host(assets: Sequence[dg.AssetsDefinition], host: CodeHost | None) -> list[dg.AssetsDefinition]:
    """The same assets, whose code is linked to where it is hosted; the files of this machine without a host."""
    if host is None:
        return list(assets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = dg.link_code_references_to_git(
            assets,
            git_url=host.url.rstrip("/"),
            git_branch=host.branch,
            platform=host.platform,
            file_path_mapping=dg.AnchorBasedFilePathMapping(PACKAGE, PACKAGE.name),
        )
    return [one for one in linked if isinstance(one, dg.AssetsDefinition)]


@cache
def _place(declared: Declared) -> dg.LocalFileCodeReference:
    file, line = inspect.getsourcefile(declared), inspect.getsourcelines(declared)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.LocalFileCodeReference(file_path=str(file), line_number=line, label=declared.__qualname__)
