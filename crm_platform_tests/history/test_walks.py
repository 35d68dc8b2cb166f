import random

import numpy as np

from crm_platform.history.walks import FOREVER, last_known


def looked_for(known, row, first, moment):
    return next((one for one in range(row, first - 1, -1) if known[one] <= moment), -1)


def test_the_last_row_known_is_found_however_many_after_it_came_late():
    rng = random.Random(1)
    found_some = 0
    for rows in [1, 2, 3, 7, 8, 9, 64, 100]:
        for share in (0.0, 0.1, 0.9, 1.0):
            known = [rng.randrange(40, 80) if rng.random() < share else place % 40 for place in range(rows)]
            if share == 0.9:
                known[rng.randrange(rows)] = FOREVER
            asked = []
            for _ in range(200):
                first = rng.randrange(rows)
                asked.append((rng.randrange(first - 1, rows), first, rng.randrange(-1, 81)))
            row, first, moment = (np.array(one, dtype=np.int64) for one in zip(*asked, strict=True))
            found = last_known(np.array(known, dtype=np.int64), row, first, moment)
            assert found.tolist() == [looked_for(known, *one) for one in asked]
            found_some += int((found >= 0).sum())
    assert found_some > 2_000


def test_nothing_is_known_where_there_are_no_rows():
    nothing, three = np.zeros(0, dtype=np.int64), np.zeros(3, dtype=np.int64)
    assert last_known(nothing, three - 1, three, three).tolist() == [-1, -1, -1]
    assert last_known(nothing, nothing, nothing, nothing).tolist() == []
