"""The checks of sessions see what they are for."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.unit.session.backends import PEER, machine
from tests.unit.session.opening import OTHER, apply, batch_of, ending, opening, writing
from zraft.machine.table_backend import TableBackend
from zraft.session.machine import ReplicatedMachine
from zraft.sim.checks.ghost import Mark, Trail, Violation
from zraft.sim.checks.sessions import LOCK, SessionChecks, Watched


@dataclass
class Holder:
    """Holds session 1, and was answered at 0."""

    name: str = "s0"
    session: int = 1
    heard_ms: int = 0
    timeout_ms: int = 5000
    token: int = 0


class Clock:
    """Shows what a test says."""

    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def checks(clock: Clock | None = None) -> SessionChecks:
    return SessionChecks(["s0"], clock or Clock())


def table() -> ReplicatedMachine:
    return machine(TableBackend(PEER))


def test_a_session_that_ends_too_early_is_seen() -> None:
    """And one that ends in time, or was stopped, is not; each is looked at once."""
    clock = Clock()
    for now_ms, is_stopped, is_wrong in ((100, False, True), (5000, False, False), (100, True, False)):
        found, replica = checks(clock), table()
        apply(replica, opening())
        found.opened(Holder(), 0)
        found.looked("n0", replica)
        if is_stopped:
            found.stops(1)
        apply(replica, ending(1))
        clock.now_ms = now_ms
        if is_wrong:
            with pytest.raises(Violation, match="has ended at n0 100 ms"):
                found.looked("n0", replica)
        else:
            found.looked("n0", replica)
            found.looked("n0", replica)
            assert found.ended == 1


def test_where_clocks_do_not_keep_time_sessions_may_end_early_and_tokens_must_grow_all_the_same() -> None:
    """When a session ends is promised for clocks within a hundredth, fencing tokens for all."""
    found, replica = SessionChecks(["s0"], Clock(), keeps_time=False), table()
    apply(replica, opening())
    found.opened(Holder(), 0)
    apply(replica, ending(1))
    found.looked("n0", replica)
    assert (found.ended, found.locked(Holder(), 7, 0)) == (1, False)
    for token, before, text in ((7, 7, "after 7 was known"), (7, 0, "got token 7")):
        with pytest.raises(Violation, match=text):
            found.locked(Holder(), token, before)


def test_replicas_with_other_sessions_are_seen() -> None:
    """At the same index."""
    found, one, other = checks(), table(), table()
    apply(one, opening())
    apply(other, opening(OTHER))
    found.looked("n0", one)
    with pytest.raises(Violation, match="other sessions than n0"):
        found.looked("n1", other)


def test_an_id_that_does_not_grow_or_is_shared_is_seen() -> None:
    """It would be no fencing token."""
    found = checks()
    found.opened(Holder(session=7), 0)
    with pytest.raises(Violation, match="after 7 was known"):
        found.opened(Holder(session=7), found.largest)
    with pytest.raises(Violation, match="share"):
        found.opened(Holder(session=7), 0)


def committed(*items: bytes) -> Trail:
    trail = Trail()
    trail.append(Mark(len(items), 1, 0, batch=batch_of(items, 1)))
    return trail


@pytest.mark.parametrize(
    ("acknowledged", "sent", "is_wrong"), [(2, 2, False), (1, 3, False), (3, 3, True), (0, 1, True)]
)
def test_a_counter_that_ran_twice_or_not_at_all_is_seen(acknowledged: int, sent: int, is_wrong: bool) -> None:
    """Between what was acknowledged and what was sent."""
    found = checks()
    found.sent("n", sent)
    found.acknowledged("n", acknowledged)
    trail = committed(opening(), writing(1, 1, ["increment", "n"]), writing(1, 2, ["increment", "n"]))
    if is_wrong:
        with pytest.raises(Violation, match="n counts 2"):
            found.judge(trail)
    else:
        found.judge(trail)


def test_a_counter_that_nobody_wrote_is_zero() -> None:
    """Whatever was sent may be lost, what was acknowledged may not."""
    found = checks()
    found.sent("n", 1)
    found.judge(committed(opening()))
    found.acknowledged("n", 1)
    with pytest.raises(Violation, match="n counts 0"):
        found.judge(committed(opening()))


def test_a_watch_that_fires_too_early_or_misses_a_change_is_seen() -> None:
    """The first change after the state that was read, and no other."""
    put = [writing(1, n, ["put", "k", n]) for n in (1, 2, 3)]
    found = checks()
    with pytest.raises(Violation, match="fired for 2"):
        found.fired(Watched("k", 2), 2)
    found.fired(Watched("k", 2), 3)
    found.judge(committed(opening(), *put))
    found.fired(Watched("k", 2), 4)
    with pytest.raises(Violation, match="it changed at 3"):
        found.judge(committed(opening(), *put))


def test_a_watch_that_did_not_fire_is_seen() -> None:
    """Where it was set while nothing was lost."""
    trail = committed(opening(), writing(1, 1, ["put", "k", 1]))
    checks().judge(trail, [Watched("k", 2), Watched("other", 0)])
    with pytest.raises(Violation, match="missed"):
        checks().judge(trail, [Watched("k", 1)])


def test_a_token_that_does_not_grow_is_shared_or_is_no_place_of_the_lock_is_seen() -> None:
    """What is guarded could not tell an old holder from a new one."""
    found, holder = checks(), Holder()
    assert found.locked(holder, 2, 1)
    with pytest.raises(Violation, match="got token 2 after 2 was known"):
        found.locked(holder, 2, found.largest_token)
    with pytest.raises(Violation, match="s0 and s0 got token 2"):
        found.locked(holder, 2, 0)
    found.judge(committed(opening(), writing(1, 1, ["put", LOCK, 1])))
    with pytest.raises(Violation, match=r"got token 2; the lock changed at \[3\]"):
        found.judge(committed(opening(), writing(1, 1, ["put", "k", 1]), writing(1, 2, ["put", LOCK, 1])))


def test_a_lock_that_two_have_is_seen_unless_one_must_know_that_its_session_may_have_ended() -> None:
    """Whoever was silent for its timeout believes in nothing."""
    clock = Clock()
    clock.now_ms = 10_000
    for heard_ms, is_wrong in ((9000, True), (1000, False)):
        found, one = checks(clock), Holder(session=1, heard_ms=heard_ms)
        found.opened(one, 0)
        one.token = 3
        two = Holder("s1", session=2, heard_ms=9000)
        if is_wrong:
            with pytest.raises(Violation, match="s0 has the lock by 3, s1 by 5"):
                found.locked(two, 5, 3)
        else:
            assert found.locked(two, 5, 3)
    assert not checks(clock).locked(Holder("s2", session=3), 7, 5)
