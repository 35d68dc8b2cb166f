"""How far two samples of one population differ by chance alone: what a limit must leave room for.

Pure: counts in, a bound out. What is compared, and from where on a difference matters, is decided in `measures`.
"""

import math

DEVIATIONS = 4.0
"""How many standard deviations are left to chance: it goes beyond about once in thirty thousand comparisons."""


def shares_apart(usual: tuple[int, int], found: tuple[int, int]) -> float:
    """By how much the shares of two samples differ by chance: the bound of the two-proportion test, and one row.

    Args:
        usual: How many rows of the one sample have what is counted, and how many rows it has.
        found: The same of the other sample.
    """
    rows = 1 / max(usual[1], 1) + 1 / max(found[1], 1)
    share = (usual[0] + found[0]) / max(usual[1] + found[1], 1)
    return DEVIATIONS * math.sqrt(share * (1 - share) * rows) + 1 / max(found[1], 1)


def counts_apart(usual: int, found: int) -> float:
    """By which share of the usual one two counts of independent happenings differ by chance (Poisson)."""
    return DEVIATIONS * math.sqrt(usual + found) / max(usual, 1)


def is_over_times(factor: float, greater: int, less: int) -> bool:
    """Whether a count of happenings is over so many times another one, beyond what chance does to both (Poisson)."""
    return greater - factor * less > DEVIATIONS * math.sqrt(greater + factor**2 * less)


def index_of(bins: int, usual: int, found: int) -> float:
    """Which population stability index two samples of one population reach by chance.

    Between samples of m and n values over B bins it is distributed as (1/m + 1/n) times a chi-square of B − 1 degrees
    (Yurdakul 2018), whose quantile is approximated as Wilson and Hilferty do.

    Args:
        bins: Into how many bins the values fall.
        usual: How many values the one sample has.
        found: How many the other has.
    """
    degrees = bins - 1
    if degrees < 1:
        return 0.0
    width = 2 / (9 * degrees)
    quantile = degrees * (1 - width + DEVIATIONS * math.sqrt(width)) ** 3
    return quantile * (1 / max(usual, 1) + 1 / max(found, 1))
