"""The core's own chance replays."""

from __future__ import annotations

from zraft.core.chance import Chance


def test_seed_determines_the_stream() -> None:
    """The first numbers of SplitMix64 for seed 0, as published; another seed, another stream."""
    chance = Chance(0)
    assert [chance.bits() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert Chance(1).bits() != Chance(0).bits()


def test_numbers_are_spread_over_the_range() -> None:
    """Election timeouts of a thousand replicas do not meet."""
    chance = Chance(7)
    drawn = [chance.below(10) for _ in range(2000)]
    assert set(drawn) == set(range(10))
    assert all(120 < drawn.count(number) < 280 for number in range(10))
