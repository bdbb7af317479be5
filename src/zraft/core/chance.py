"""The core's own chance: a small seeded generator, so that a recorded run replays and no global state decides anything.

SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state, no setup cost (creating a library generator takes 6 µs).
"""

from __future__ import annotations

_MASK = (1 << 64) - 1


class Chance:
    """A stream of pseudo-random numbers that its seed determines. Not for secrets."""

    __slots__ = ("state",)

    def __init__(self, seed: int) -> None:
        self.state = seed & _MASK

    def bits(self) -> int:
        """The next number, 64 bits."""
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1; `limit` is at least 1 and far below 2**64, so the bias does not matter."""
        return self.bits() % limit
