"""Messages and outputs as a person reads them."""

from __future__ import annotations

import pytest

from tests.unit.core.samples import MARK, MESSAGE_SAMPLES, A, B, C
from zraft.core import messages as m
from zraft.core.entries import Batch, HardState, Kind, Membership
from zraft.core.memberships import encode_membership
from zraft.core.output import Accepted, LoadBatches, Output, ReadReady, Refusal, Refused, RoleChange, RoleName
from zraft.core.text import batch_text, member_text, message_text, output_lines


@pytest.mark.parametrize("message", MESSAGE_SAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_names_both_ends_and_its_term(message: m.Message) -> None:
    """One line, also for types that have nothing else to say."""
    text = message_text(message)
    assert text.startswith(f"b->a {type(message).__name__} term 3")
    assert text == text.strip()
    assert "\n" not in text


def test_refusals_read_as_refusals() -> None:
    """The other half of each reply."""
    assert message_text(m.AppendReply(B, A, 3, False, 9, 4, 2)).endswith("refused 9 hint (4,2)")
    assert message_text(m.RequestVoteReply(B, A, 3, False)).endswith("refused")
    assert message_text(m.SnapshotReply(B, A, 3, False, 5)).endswith("failed 5")
    assert message_text(m.ReadIndexReply(B, A, 3, 1, 0)).endswith("refused")
    assert message_text(m.RequestVote(B, A, 3, 1, 1, True)).endswith("last (1,1) transfer")


def test_batches_name_their_kind() -> None:
    """Commands are the rule and carry no name; an unknown kind shows its number."""
    assert batch_text(Batch(5, 3, 2, 0, 0, Kind.COMMANDS, b"")) == "5..7/2"
    assert batch_text(Batch(5, 1, 2, 0, 0, Kind.TIME, b"")) == "5/2 time"
    assert batch_text(Batch(5, 1, 2, 0, 0, 77, b"")) == "5/2 kind 77"
    joint = Membership((A, B), outgoing=(C,), learners=(B,), target=(A,))
    text = batch_text(Batch(5, 1, 2, 0, 0, Kind.CONFIGURATION, encode_membership(joint)))
    assert text == "5/2 configuration(a,b &c +b >a)"
    assert member_text(None) == "-"


def test_output_reads_in_the_order_of_execution() -> None:
    """Every field that is set gives a line, none that is not."""
    batch = Batch(5, 1, 2, 0, 0, Kind.NOOP, b"")
    output = Output(
        save=4,
        hard_state=HardState(2, None),
        truncate_from=5,
        reset_to=MARK,
        append=[batch],
        send_now=[m.TimeoutNow(A, B, 2)],
        send_after_save=[m.RequestVoteReply(A, B, 2, True)],
        load=[LoadBatches(B, 1, 3, 100)],
        accepted=[Accepted(1, 5, 2)],
        commit_to=4,
        reads_ready=[ReadReady(2, 4)],
        changed=[3],
        transferred=[4],
        refused=[Refused(5, Refusal.NOT_LEADER, B), Refused(6, Refusal.LOST)],
        send_snapshot=[m.InstallSnapshot(A, B, 2, MARK)],
        restore=m.InstallSnapshot(B, A, 2, MARK),
        compact_to=3,
        role_change=RoleChange(RoleName.LEADER, 2, A),
        facts=["something"],
    )
    assert output_lines(output) == [
        "save term 2 vote -",
        "truncate from 5",
        "reset to (3,2)",
        "append 5/2 noop",
        "send a->b TimeoutNow term 2",
        "after save, send a->b RequestVoteReply term 2 granted",
        "load 1..3 for b",
        "accepted #1 at 5/2",
        "commit 4",
        "read #2 at 4",
        "changed #3",
        "transferred #4",
        "refused #5 not_leader, leader b",
        "refused #6 lost",
        "offer snapshot 3 to b",
        "restore snapshot 3 from b",
        "compact to 3",
        "leader term 2 leader a",
        "fact: something",
    ]
    assert output_lines(Output()) == []
