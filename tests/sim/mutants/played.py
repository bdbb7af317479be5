"""Bugs that a simulated cluster shows never or rarely: what is put back is noticed by a test that plays the moment."""

from __future__ import annotations

from tests.sim.mutants.captured import CAPTURED
from tests.sim.mutants.mutation import Change, Mutant

_CORE = "zraft.core"

UNHEARD_PROMOTION = Mutant(
    "BM-039",
    "a learner that has not heard of its promotion refuses to vote",
    (
        Change(
            f"{_CORE}.election:on_request_vote",
            "replica.voted_for in (",
            "(replica.is_voter or replica.membership is None) and replica.voted_for in (",
        ),
        Change(
            f"{_CORE}.election:on_pre_vote",
            "not is_led(replica)",
            "(replica.is_voter or replica.membership is None) and not is_led(replica)",
        ),
    ),
    played="tests.museum.core.test_membership:test_bm_039_promoted_learner_that_has_not_heard_of_it_votes",
)
"""Found by the deaths of leaders too, each of which is played: seeds rarely meet the moment."""

PLAYED = (
    UNHEARD_PROMOTION,
    *CAPTURED,
    Mutant(
        "BM-113",
        "a frame is given the room that its header claims",
        (
            Change(
                "zraft.wire.frames:FrameReader._split",
                "        if end - at < length:\n",
                "        if end - at < length:\n            self._parts.append(bytearray(length))\n",
            ),
        ),
        played="tests.museum.wire.test_hostile_bytes:test_bm_113_a_partial_frame_costs_what_has_arrived",
    ),
    Mutant(
        "BM-117",
        "an entry of an unknown kind is skipped",
        (
            Change(
                "zraft.session.machine:ReplicatedMachine._apply_single",
                "    if batch.kind not in (Kind.NOOP, Kind.CONFIGURATION, Kind.TIME):\n",
                "    if batch.kind not in (Kind.NOOP, Kind.CONFIGURATION, Kind.TIME):\n        return 1\n",
            ),
        ),
        played="tests.museum.machine.test_apply:test_bm_117_a_kind_of_entry_from_a_newer_version_stops_the_peer",
    ),
    Mutant(
        "BM-118",
        "what a backend raises in apply ends the replica",
        (
            Change(
                "zraft.session.machine:ReplicatedMachine._apply_items",
                'outcome, changed = failed(error, executed="yes"), ()',
                "raise",
            ),
        ),
        played="tests.museum.machine.test_apply:test_bm_118_a_poison_command_is_one_bad_result_on_every_replica",
        arguments=(ValueError("poison"),),
    ),
)
"""All of them."""
