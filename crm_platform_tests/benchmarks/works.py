"""All that is measured, in the table's order.

A module of works is plugged in here, by one line: it has a tuple WORKS, whose contestants open the files that are given to
them and return what is timed. What is compared at several sizes of history in one work is several contestants of it.
"""

from crm_platform_tests.benchmarks import building, joins, training, windows

WORKS = {work.name: work for work in (*joins.WORKS, *windows.WORKS, *building.WORKS, *training.WORKS)}
