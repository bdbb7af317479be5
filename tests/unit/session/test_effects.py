"""What entries did, as numbers: alike where the log and the backend are, and nowhere else."""

from __future__ import annotations

import pytest

from zraft.core.entries import Batch, Kind
from zraft.errors import BackendError, Rejected, SessionExpired
from zraft.limits import ALARM_WHOLE
from zraft.machine import table_types
from zraft.machine.backend import Backend, Context
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.session.effects import digest_of, effects_of, method_of
from zraft.session.machine import ReplicatedMachine
from zraft.session.replies import Replayed
from zraft.types import NOT_FOUND, PeerId

PEER = PeerId("a", "127.0.0.1:7101")


def test_every_difference_of_an_outcome_or_a_key_makes_another_effect() -> None:
    """Values, errors of both kinds, and what was changed."""
    outcomes = ["ok", 1, None, NOT_FOUND, Rejected("a"), Rejected("b"), BackendError("KeyError"), SessionExpired("x")]
    numbers = effects_of(5, outcomes, [])
    assert len(numbers) == len(dict.fromkeys(numbers)) == len(outcomes)
    assert effects_of(5, ["ok"], [(5, ("k",))]) != effects_of(5, ["ok"], [(5, ("l",))]) != effects_of(5, ["ok"], [])


def test_the_order_of_changed_keys_and_a_repeated_reply_make_no_other_effect() -> None:
    """A backend may name keys as a set has them; a write that is sent again has the outcome that it had."""
    assert effects_of(5, ["ok"], [(5, ("k", "l"))]) == effects_of(5, ["ok"], [(5, ("l",)), (5, ("k",))])
    assert effects_of(5, [Replayed(3, "ok")], []) == effects_of(5, ["ok"], [])


def test_a_key_that_cannot_travel_counts_by_its_type() -> None:
    """Its text may hold an address, which is another one in each replica."""
    assert effects_of(5, ["ok"], [(5, (object(),))]) == effects_of(5, ["ok"], [(5, (object(),))])


@pytest.mark.parametrize("count", [10, ALARM_WHOLE + 10])
def test_a_dict_is_compared_whole_while_it_is_small_and_by_what_changed_later(count: int) -> None:
    """One other value, under a key that changed; another number of keys."""
    one, other = DictBackend(PEER), DictBackend(PEER)
    for number in range(count):
        one.apply((f"k{number}", number), Context())
        other.apply((f"k{number}", number), Context())
    assert one.sample(["k3"], 64) == other.sample(["k3"], 64)
    other.apply(("k3", "else"), Context())
    assert one.sample(["k3"], 64) != other.sample(["k3"], 64)
    assert (one.sample([], 64) != other.sample([], 64)) == (count <= ALARM_WHOLE)
    one.apply(("k3", "else"), Context())
    one.apply(("more", 1), Context())
    assert one.sample([], 64) != other.sample([], 64)


def test_a_large_table_is_swept_bit_by_bit() -> None:
    """An entry that nobody writes any more is compared, too, when its turn comes."""
    one, other = TableBackend(PEER), TableBackend(PEER)
    for number in range(2 * ALARM_WHOLE):
        one.apply(table_types.Put(f"k{number:04}", number), Context())
        other.apply(table_types.Put(f"k{number:04}", -1 if number == 300 else number), Context())
    differ = [step for step in range(8) if one.sample([], 4096 * step) != other.sample([], 4096 * step)]
    assert differ == [300 // 64]
    assert one.sample(["k0300"], 0) != other.sample(["k0300"], 0)


class Plain(Backend):
    """Offers no digest, or one that raises."""

    name = "plain"
    version = 7
    broken = False

    def apply(self, command: object, ctx: Context) -> object:
        return command

    def query(self, query: object) -> object:
        return None

    def digest(self) -> int | None:
        if self.broken:
            raise ValueError("none today")
        return None


def test_a_backend_without_a_digest_is_compared_by_its_effects() -> None:
    """And by what surrounds every backend: the index, the time, how many sessions there are."""
    machine = ReplicatedMachine(Plain(PEER))
    before = digest_of(machine, [], [1])
    assert before == digest_of(machine, ["k"], [1]) != digest_of(machine, [], [2])
    machine.apply_batch(Batch(1, 1, 1, 5, 0, Kind.NOOP, b""))
    assert digest_of(machine, [], [1]) != before
    Plain.broken = True
    try:
        assert digest_of(machine, [], [1]) == digest_of(machine, [], [1])
    finally:
        Plain.broken = False
    assert method_of(machine) & 0xFFFF == 7
