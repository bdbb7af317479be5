"""What replicas say about their states, to and from bytes."""

from __future__ import annotations

import pytest

from tests.unit.wire.test_peering import GROUP, HERE, ME, OTHER, THERE
from zraft.errors import ProtocolError
from zraft.limits import ALARM_EFFECTS, ALARM_REPORTED, MAX_TERM, PEERS_PER_GROUP
from zraft.types import Member
from zraft.wire.frames import array_of
from zraft.wire.peering import Item, decode_messages, encode_message
from zraft.wire.states import Sample, State, StateReport, StateVerdict

SAMPLE = Sample(4096, 4065, 7, [1, 2, 2**32 - 1])


def through_the_wire(word: State) -> list[tuple[bytes, Item]]:
    payload = array_of([encode_message(GROUP, word)])
    return [(group, item) for group, item in decode_messages(payload, sender_node=THERE, own_node=HERE)]


@pytest.mark.parametrize(
    "word",
    [
        StateReport(OTHER, ME, 3, 1 << 32, [SAMPLE]),
        StateReport(OTHER, ME, MAX_TERM, 2**63 - 1, [Sample(0, 0, 0, [])] * ALARM_REPORTED),
        StateVerdict(OTHER, ME, 3, 4096, 7, [OTHER, ME], 1, 2),
        StateVerdict(OTHER, ME, 3, 4096, 7, []),
    ],
)
def test_what_is_said_of_states_comes_back_as_it_went(word: State) -> None:
    """Reports and verdicts, the largest and the smallest."""
    assert through_the_wire(word) == [(GROUP, word)]


@pytest.mark.parametrize(
    "word",
    [
        StateReport(ME, ME, 3, 1, [SAMPLE]),
        StateReport(OTHER, OTHER, 3, 1, [SAMPLE]),
        StateReport(OTHER, ME, MAX_TERM + 1, 1, [SAMPLE]),
        StateReport(OTHER, ME, -1, 1, [SAMPLE]),
        StateReport(OTHER, ME, 3, -1, [SAMPLE]),
        StateReport(OTHER, ME, 3, 1, []),
        StateReport(OTHER, ME, 3, 1, [SAMPLE] * (ALARM_REPORTED + 1)),
        StateReport(OTHER, ME, 3, 1, [Sample(MAX_TERM + 1, 1, 1, [])]),
        StateReport(OTHER, ME, 3, 1, [Sample(1, -1, 1, [])]),
        StateReport(OTHER, ME, 3, 1, [Sample(1, 1, 2**63, [])]),
        StateReport(OTHER, ME, 3, 1, [Sample(1, 1, 1, [2**32])]),
        StateReport(OTHER, ME, 3, 1, [Sample(1, 1, 1, [0] * (ALARM_EFFECTS + 1))]),
        StateVerdict(OTHER, ME, 3, -1, 7, []),
        StateVerdict(OTHER, ME, 3, 1, 7, [OTHER] * (2 * PEERS_PER_GROUP + 1)),
        StateVerdict(OTHER, ME, 3, 1, 7, [Member(ME.peer, -1)]),
        StateVerdict(OTHER, ME, 3, 1, 7, [], MAX_TERM + 1),
    ],
)
def test_what_no_honest_replica_says_is_refused(word: State) -> None:
    """In another's name, to somebody else, numbers out of bounds, too many of them."""
    with pytest.raises(ProtocolError):
        through_the_wire(word)


def test_the_bytes_of_what_is_said_do_not_change() -> None:
    """Nodes of two versions talk to each other during an upgrade."""
    member = "9292a162ae3132372e302e302e313a37313032cfffffffffffffffff"
    to = "9292a161ae3132372e302e302e313a3731303101"
    group = "c410000102030405060708090a0b0c0d0e0f"
    assert encode_message(GROUP, StateReport(OTHER, ME, 3, 1, [Sample(9, 8, 7, [6, 5])])).hex() == (
        f"92{group}9641{member}{to}0301919409080792" + "0605"
    )
    assert encode_message(GROUP, StateVerdict(OTHER, ME, 3, 9, 7, [ME], 1, 2)).hex() == (
        f"92{group}9942{member}{to}03090791{to}0102"
    )
