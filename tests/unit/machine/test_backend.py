"""The interface of backends: what a context gives, what its small values refuse, what a backend need not write."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.machine.directory import MemoryDirectory
from zraft.errors import UsageError
from zraft.machine.backend import Answer, Applied, Backend, Change, Context, Prefix, Reject
from zraft.types import PeerId

PEER = PeerId("a", "127.0.0.1:7101")


class Least(Backend):
    """As little as a backend can be."""

    def apply(self, command: Any, ctx: Context) -> Any:
        return command

    def query(self, query: Any) -> Any:
        return query


def test_chance_depends_on_the_index_alone() -> None:
    """Two contexts of one index draw the same, whatever else they hold; another index draws differently."""
    first = Context(index=7, term=1, time=10, wall=99, session=3)
    second = Context(index=7, term=4, time=20)
    drawn = [first.random() for _ in range(5)]
    assert drawn == [second.random() for _ in range(5)]
    assert drawn != [Context(index=8).random() for _ in range(5)]
    assert len(set(drawn)) == 5


def test_chance_is_the_same_on_every_python() -> None:
    """The numbers are stated here: a change of them would make old and new replicas diverge."""
    ctx = Context(index=1)
    assert [ctx.random() for _ in range(2)] == [0.7497482413580301, 0.37239342287916577]
    assert Context(index=1).randbytes(11).hex() == "72d7c2dd3080efbf47aaf2"


def test_chance_begins_anew_at_each_index() -> None:
    """A context that is used for one entry after the other gives each what it would have got alone."""
    ctx = Context(index=1)
    ctx.random()
    ctx.index = 2
    assert ctx.random() == Context(index=2).random()


def test_random_numbers_fill_the_unit_interval() -> None:
    """They lie in [0, 1), and neighbouring indexes are not alike."""
    drawn = [Context(index=index).random() for index in range(1, 2001)]
    assert all(0 <= number < 1 for number in drawn)
    assert 0.45 < sum(drawn) / len(drawn) < 0.55
    assert max(drawn) > 0.99
    assert min(drawn) < 0.01


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 64])
def test_random_bytes_have_the_length_asked_for(n: int) -> None:
    """Also where it is no multiple of a word."""
    assert len(Context(index=3).randbytes(n)) == n
    assert Context(index=3).randbytes(n) == Context(index=3).randbytes(64)[:n]


def test_a_negative_number_of_bytes_is_refused() -> None:
    """It is a mistake, not nothing."""
    with pytest.raises(UsageError):
        Context(index=3).randbytes(-1)


def test_a_reject_has_a_code_that_programs_can_compare() -> None:
    """Anything but a str is the caller's mistake."""
    refusal = Reject("full", {"limit": 3})
    assert (refusal.code, refusal.detail) == ("full", {"limit": 3})
    assert Reject("full").detail is None
    with pytest.raises(UsageError):
        Reject(3)  # type: ignore[arg-type]  # the mistake


def test_a_backend_must_apply_and_query() -> None:
    """Without them it is none."""
    with pytest.raises(TypeError):
        Backend(PEER)  # type: ignore[abstract]  # the mistake


def test_what_a_backend_need_not_write_does_nothing() -> None:
    """No temporary data, nothing due, no digest."""
    backend = Least(PEER)
    assert backend.peer_id == PEER
    assert tuple(backend.expire_session(1, Context())) == ()
    assert backend.due() is None
    assert tuple(backend.advance(Context())) == ()
    assert backend.digest() is None
    backend.snapshot_done()
    backend.snapshot_failed(OSError())


def test_a_backend_without_snapshots_says_so() -> None:
    """The error names the class."""
    with pytest.raises(NotImplementedError, match="Least"):
        Least(PEER).snapshot()
    with pytest.raises(NotImplementedError, match="Least"):
        Least(PEER).install_snapshot(MemoryDirectory())


def test_small_values_have_their_defaults() -> None:
    """A result without changes, an answer that cannot be watched, a change of kind "put"; prefixes can be dict keys."""
    assert Applied(1).changed == ()
    assert Answer(1).watch == ()
    assert Change("k") == Change("k", None, "put")
    assert {Prefix("a"): 1}[Prefix("a")] == 1
