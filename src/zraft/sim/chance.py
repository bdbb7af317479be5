"""Chance from a seed: SplitMix64, written out so that no interpreter version and no platform changes a run.

Relies on nothing. Guarantees: the same seed gives the same draws for ever; integers only, so no rounding differs.
`split` derives independent streams by name, so that one more draw in one place does not shift every other place.
Not for secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

MILLION: Final = 1_000_000
"""Rates are integers per million: 0 is never, `MILLION` is always."""

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MIX_1: Final = 0xBF58476D1CE4E5B9
_MIX_2: Final = 0x94D049BB133111EB
_FNV_START: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_LN2: Final = 45426
"""ln 2 in 1/65536."""


def _mixed(value: int) -> int:
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


class Chance:
    """A stream of draws."""

    __slots__ = ("_origin", "_state")

    def __init__(self, seed: int) -> None:
        self._origin = self._state = _mixed(seed & _MASK)

    def split(self, name: str) -> Chance:
        """The stream called `name`: depends on this stream's seed and the name, not on what was drawn so far."""
        value = _FNV_START
        for byte in name.encode():
            value = ((value ^ byte) * _FNV_PRIME) & _MASK
        return Chance(self._origin ^ value)

    def bits(self) -> int:
        """64 bits."""
        self._state = state = (self._state + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _MIX_1) & _MASK
        state = ((state ^ (state >> 27)) * _MIX_2) & _MASK
        return state ^ (state >> 31)

    def below(self, bound: int) -> int:
        """0 to `bound` - 1; `bound` is at least 1."""
        return (self.bits() * bound) >> 64

    def between(self, low: int, high: int) -> int:
        """`low` to `high`, both included."""
        return low + ((self.bits() * (high - low + 1)) >> 64)

    def happens(self, rate: int) -> bool:
        """True `rate` times in a million. A rate of 0 or less draws nothing."""
        return rate > 0 and (self.bits() * MILLION) >> 64 < rate

    def exponential(self, mean: int) -> int:
        """At least 0, exponentially distributed around `mean` (to a few percent), at most 44 times the mean."""
        bits = self.bits() | 1
        zeros = 64 - bits.bit_length()
        below_one = ((bits << zeros) & _MASK) >> 48 & 0x7FFF
        minus_log2 = ((zeros + 1) << 15) - below_one
        return (mean * minus_log2 * _LN2) >> 31

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, which are not empty."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of `items` in a drawn order."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different places of `items`, in the order in which they stand there."""
        kept = sorted(self.shuffled(range(len(items)))[:count])
        return [items[place] for place in kept]

    def log_between(self, low: int, high: int) -> int:
        """`low` to `high`, each order of magnitude about as likely as the next. `low` is at least 1."""
        lowest, highest = low.bit_length(), high.bit_length()
        size = self.between(lowest, highest)
        return min(high, max(low, (1 << (size - 1)) + self.below(1 << (size - 1))))
