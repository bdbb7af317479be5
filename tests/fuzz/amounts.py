"""How many inputs each target gets: the one place that says so.

The suite is to find what a change breaks at once, and takes a few seconds in all; `make fuzz MINUTES=30` is to find
what nobody thought of, and goes round for as long as it is told.
"""

from __future__ import annotations

from typing import Final

from tests.fuzz.kit import Cost

SUITE: Final = {Cost.BYTES: 150, Cost.FOLDERS: 25, Cost.STEPS: 20, Cost.NODES: 4}
"""In the suite, from the seed `SUITE_SEED`."""

ROUND: Final = {Cost.BYTES: 10_000, Cost.FOLDERS: 200, Cost.STEPS: 300, Cost.NODES: 50}
"""In one round of a campaign, each from a seed of its own: a second or two."""

SUITE_SEED: Final = 1
