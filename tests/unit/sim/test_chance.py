"""Chance: the same draws for ever, within their bounds."""

from __future__ import annotations

from zraft.sim.chance import MILLION, Chance


def test_same_seed_gives_the_same_draws_for_ever() -> None:
    """The numbers are written down: a change of the generator changes every recorded seed."""
    assert [Chance(1).bits(), Chance(1).split("network").bits()] == [13830413928045401970, 13065233565172767211]
    assert Chance(7).bits() == Chance(7).bits()
    assert Chance(7).bits() != Chance(8).bits()


def test_split_depends_on_the_name_and_not_on_earlier_draws() -> None:
    """One more draw in one place shifts no other place."""
    parent = Chance(5)
    before = parent.split("disk").bits()
    parent.bits()
    assert parent.split("disk").bits() == before
    assert parent.split("disc").bits() != before


def test_draws_stay_within_their_bounds_and_reach_them() -> None:
    """below, between and log_between, at both ends."""
    chance = Chance(3)
    assert {chance.below(3) for _ in range(100)} == {0, 1, 2}
    assert {chance.between(-1, 1) for _ in range(100)} == {-1, 0, 1}
    drawn = [chance.log_between(1, 1000) for _ in range(2000)]
    assert min(drawn) >= 1
    assert max(drawn) <= 1000
    assert sum(value < 32 for value in drawn) > 600


def test_a_rate_is_a_share_of_a_million() -> None:
    """0 never, a million always, 30 % about 30 %."""
    chance = Chance(3)
    assert not any(chance.happens(0) for _ in range(100))
    assert all(chance.happens(MILLION) for _ in range(100))
    assert 2700 < sum(chance.happens(300_000) for _ in range(10_000)) < 3300


def test_exponential_has_its_mean() -> None:
    """Within a few percent, with a long tail."""
    chance = Chance(3)
    drawn = [chance.exponential(1000) for _ in range(20_000)]
    assert 930 < sum(drawn) / len(drawn) < 1070
    assert max(drawn) > 6000
    assert min(drawn) >= 0


def test_orders_and_samples_hold_what_they_were_given() -> None:
    """Nothing is lost, doubled or left in place for ever."""
    chance = Chance(3)
    assert sorted(chance.shuffled(range(20))) == list(range(20))
    assert chance.shuffled(range(20)) != list(range(20))
    sample = chance.sample("abcdef", 3)
    assert len(sample) == 3
    assert sample == sorted(sample)
    assert chance.choice("x") == "x"
