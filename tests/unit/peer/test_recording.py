"""The flight recorder: what is kept, what a file of it says, and that its replay ends as the replica did."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.sim.mutants.mutation import Change, Mutant, put_back
from tests.unit.peer.machines import Broken
from tests.unit.peer.world import NAMES, World, wrote
from zraft import limits
from zraft.app.cli import main
from zraft.core.events import Received
from zraft.core.messages import AppendEntries
from zraft.errors import CorruptData
from zraft.peer import recording
from zraft.peer.duties import Recorded
from zraft.peer.recording import Recording, decode, encode
from zraft.peer.replaying import Replay

SECRET = "a command that nobody else may read"

BEYOND = Mutant(
    "BM-018",
    "a follower takes a later commit index than the leader's for its own",
    (
        Change(
            "zraft.core.following:on_append_entries",
            "commit_index = min(message.commit_index, index)",
            "commit_index = message.commit_index + (100 if index > 5 else 0)",
        ),
    ),
)


def failing(world: World) -> tuple[str, Recorded]:
    """The first follower that fails of the mutant, and its recording, as the duties of its host have it."""
    for number in range(3):
        wrote(world, world.lead(), f"k{number}", SECRET)
    with put_back(BEYOND):
        world.write(world.lead(), ("k", SECRET))
        world.settle()
    found = [(name, recorded) for name, node in world.nodes.items() for recorded in node.recordings]
    assert len(found) == 2, "both followers had the same message"
    return found[0]


def read(recorded: Recorded) -> Recording:
    return decode("x", recorded.data)


def test_a_broken_invariant_leaves_a_recording_whose_replay_ends_with_it() -> None:
    """With the bug that broke it, that is; without it the same steps end well, and that is said."""
    world = World()
    world.found()
    name, recorded = failing(world)
    found = read(recorded)
    fault = world[name].it.failed["p"].fault
    assert "commit would go from 4 to 105" in fault
    assert (found.fault, found.is_in_core, found.peer, found.backend) == (fault, True, f"p@{name}", "dict")
    with put_back(BEYOND):
        replay = Replay(found)
        lines = list(replay.lines())
    assert lines[-2:] == [f"p@{name} < AppendEntries from p@{NAMES[0]}", f"  stops: {fault}"]
    assert replay.fault == fault
    assert replay.is_same
    sound = Replay(found)
    assert "stops" not in "".join(sound.lines())
    assert not sound.is_same


def test_a_recording_holds_no_command_and_no_token() -> None:
    """S-13: lengths only, all the same, so that the core counts the same bytes."""
    world = World()
    world.found()
    _, recorded = failing(world)
    assert SECRET.encode() not in recorded.data
    batches = [
        batch
        for _, event in read(recorded).events
        if isinstance(event, Received) and isinstance(event.message, AppendEntries)
        for batch in event.message.batches
    ]
    assert max(len(batch.payload) for batch in batches) > len(SECRET)


def test_a_fault_outside_of_the_core_ends_the_replay_too() -> None:
    """Here the machine ran out of memory; the trace shows what led there, and the steps themselves end well."""
    world = World(backends={"broken": Broken})
    leader = world.found(backend="broken")
    world.write(leader, "die")
    world.settle()
    found = read(world[leader].recordings[0])
    assert not found.is_in_core
    replay = Replay(found)
    assert list(replay.lines())[-1] == f"  stops: {found.fault}"
    assert "no memory left" in found.fault
    assert replay.is_same


def test_a_store_that_failed_leaves_no_recordings() -> None:
    """No core is to blame, and all replicas of the node would write one, on a broken disk."""
    world = World()
    world.found()
    node = world[NAMES[1]]
    node.disk.fail = lambda operation: errno.EIO
    world.write(world.lead(), ("k", 1))
    world.settle()
    assert node.it.fatal is not None
    assert "p" in node.it.failed
    assert not node.recordings


def test_the_recorder_keeps_two_stretches_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay begins at a checkpoint: everything since can be stepped through."""
    monkeypatch.setattr(limits, "FLIGHT_EVENTS", 20)
    monkeypatch.setattr(limits, "FLIGHT_LOOK", 5)
    world = World()
    leader = world.found()
    most = 0
    for number in range(100):
        wrote(world, leader, f"k{number}", number)
        for node in world.nodes.values():
            held, log, events = node.peer().flight.recorded()
            most = max(most, len(events))
            found = Recording("p", b"g" * 16, "dict", "", False, held, log, events)  # type: ignore[arg-type]
            if number % 10 == 0:
                replay = Replay(found)
                assert len(list(replay.lines())) > len(events)
                assert replay.is_same
    assert 30 < most < 60


def test_a_log_that_lets_go_of_batches_ends_the_stretch() -> None:
    """The recorder would keep in memory what the log was told to forget."""
    world = World(settings=None)
    leader = world.found()
    wrote(world, leader, "k", 1)
    flight = world[leader].peer().flight
    log = world[leader].peer().raft.log
    begun = flight.recorded()[1]
    log.evict(0, keep_from=log.last_index)
    flight.look(1)
    assert flight.recorded()[1] is begun
    assert not flight.events
    flight.look(1)
    assert flight.recorded()[1] is begun
    assert not log.is_held_by(begun)


def test_replicas_of_a_node_share_what_is_kept() -> None:
    """Ten thousand groups on a node are not ten thousand times a minute's events."""
    world = World()
    peer = world[world.found()].peer()
    for sharing, most in ((1, limits.FLIGHT_LOOK), (1000, 16), (100_000, limits.FLIGHT_LEAST)):
        flight = type(peer.flight)(peer.raft, sharing)
        assert flight.due == most


def test_what_cannot_be_kept_costs_nobody_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large, or not to be encoded: it is said, and the host goes on."""
    world = World()
    world.found()
    name, _ = failing(world)
    monkeypatch.setattr(recording, "RECORDING_BYTES", 10)
    duties = world[name].duties
    peer = world[world.lead()].peer()
    recording.keep(peer, duties)
    assert duties.notes[-1].text == "its last steps are not kept: more than 10 bytes"
    peer.flight.events.append((2**70, peer.flight.events[0][1]))
    recording.keep(peer, duties)
    assert duties.notes[-1].text.startswith("its last steps are not kept: ")
    assert duties.notes[-1].is_alarm


def test_bytes_that_are_no_recording_are_refused() -> None:
    """S-15: cut anywhere, any byte flipped, another format, and what the fields say checked against each other."""
    world = World()
    world.found()
    _, recorded = failing(world)
    data = recorded.data
    for cut in (0, 3, 7, 8, len(data) - 1):
        with pytest.raises(CorruptData):
            decode("x", data[:cut])
    for at in range(0, len(data), 997):
        with pytest.raises(CorruptData):
            decode("x", data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
    found = decode("x", data)
    again = encode(found)
    assert again is not None
    assert decode("x", again) == found


def test_the_command_prints_the_trace_and_says_whether_it_ended_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, and both ends, where the same steps end otherwise in this version."""
    world = World()
    world.found()
    _, recorded = failing(world)
    path = tmp_path / "p.recording"
    path.write_bytes(recorded.data)
    with put_back(BEYOND):
        assert main(["replay", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("# peer p@")
    assert printed[-1] == f"  stops: {read(recorded).fault}"
    assert main(["replay", str(path)]) == 1
    assert "it ended otherwise: here it does not stop; then it stopped: " in capsys.readouterr().err
    path.write_bytes(b"something else")
    assert main(["replay", str(path)]) == 1
    assert "not a recording" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err
