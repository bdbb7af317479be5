"""§6.3: linearizable semantics by sessions, above a core that knows none."""

from __future__ import annotations

from tests.unit.peer.session_world import TIMEOUT_MS, Owner, lives
from tests.unit.peer.world import ELECTION_MS, World
from tests.unit.session.backends import PEER, Add, Sum, machine
from tests.unit.session.opening import apply, ending, opening, writing
from zraft.errors import RequestError, SessionExpired
from zraft.session.replies import Replayed
from zraft.wire.values import encode_value


def test_a_command_with_a_known_sequence_is_answered_and_not_run_again() -> None:
    """§6.3: the state machine keeps the reply with the sequence number."""
    replica = machine(Sum(PEER))
    assert apply(replica, opening(), writing(1, 1, Add(5))) == [[1, 5000, 0], 5]
    assert apply(replica, writing(1, 1, Add(5))) == [Replayed(2, 5)]
    assert replica.query(encode_value("")) == 5


def test_a_reply_is_kept_until_the_client_has_acknowledged_it() -> None:
    """§6.3: each request carries the lowest sequence whose answer its client still waits for."""
    replica = machine(Sum(PEER))
    apply(replica, opening(), writing(1, 1, Add(1)), writing(1, 2, Add(1)), writing(1, 3, Add(1), 1))
    assert apply(replica, writing(1, 2, Add(1), 1)) == [Replayed(3, 2)]
    (gone,) = apply(replica, writing(1, 1, Add(1)))
    assert isinstance(gone, RequestError)


def test_an_unknown_session_is_an_error_and_never_a_new_session() -> None:
    """§6.3: a command of an expired session must not run."""
    replica = machine(Sum(PEER))
    apply(replica, opening(), ending(1))
    (outcome,) = apply(replica, writing(1, 1, Add(5)))
    assert isinstance(outcome, SessionExpired)
    assert (len(replica.sessions), replica.query(encode_value(""))) == (0, 0)


def test_all_replicas_agree_when_a_session_expires() -> None:
    """§6.3: by an entry of the log; nobody decides by a clock of its own."""
    world = World()
    owner = Owner(world)
    owner.start(world.found())
    world.advance(TIMEOUT_MS + 2 * ELECTION_MS)
    assert not any(lives(world, node, owner.session) for node in world.nodes)
    ends = [world[node].peer().machine.last_applied for node in world.nodes]
    assert len(dict.fromkeys(ends)) == 1
