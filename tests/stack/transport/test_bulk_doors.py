"""The snapshot channel's door: strangers cost little, are closed with a reason, and never reach a transfer."""

from __future__ import annotations

import errno
import os
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack.transport.carrying import PATIENCE_S, PATIENT, Cargo, Crossing, Owner, RawSender, crossing
from zraft import limits
from zraft.app.processes import PortLease
from zraft.errors import AddressInUse, ConfigError, TransferError, UsageError
from zraft.transport.bulk import Receiver, ReceiverLimits, new_token
from zraft.wire.bulk import OPENING_BYTES, TOKEN_BYTES, End, opening

SHORT = ReceiverLimits(opening_ms=100)


def wait_until(condition: Callable[[], object]) -> None:
    """Counters change without a call: they are looked at again now and then."""
    looking = threading.Event()
    for _ in range(int(PATIENCE_S * 200)):
        if condition():
            return
        looking.wait(0.005)
    raise AssertionError("it did not happen")


def assert_works(there: Crossing) -> None:
    """An honest transfer is possible all the same."""
    there.send()
    assert there.owner.wait_end() is None
    assert there.cargo.has_arrived()


def test_an_unknown_token_is_closed_without_an_answer(tmp_path: Path) -> None:
    """The stranger learns nothing; the token that is expected stays good."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        stranger = RawSender(there.receiver.address)
        stranger.write(opening(new_token()))
        assert stranger.signal() is None
        stranger.close()
        assert there.receiver.counters.turned_away == {End.TOKEN: 1}
        assert_works(there)


def test_a_token_that_differs_in_one_bit_is_unknown(tmp_path: Path) -> None:
    """The first bit or the last."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        for at in (0, TOKEN_BYTES - 1):
            token = bytearray(there.token)
            token[at] ^= 1
            stranger = RawSender(there.receiver.address)
            stranger.write(opening(bytes(token)))
            assert stranger.signal() is None
            stranger.close()
        assert there.receiver.counters.turned_away == {End.TOKEN: 2}
        assert_works(there)


def test_a_token_opens_one_transfer_once(tmp_path: Path) -> None:
    """Neither while that is under way nor when it has ended."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        first = there.dial()
        for _ in range(2):
            second = RawSender(there.receiver.address)
            second.write(opening(there.token))
            assert second.signal() is None
            second.close()
            first.close()
            there.owner.wait_end()
        assert there.receiver.counters.turned_away == {End.TOKEN: 2}
        with pytest.raises(TransferError) as told:
            there.send()
        assert (told.value.reason, told.value.is_resumable) == (End.REFUSED, False)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_end_the_connection_and_nothing_else(tmp_path: Path, seed: int) -> None:
    """At once where they differ from the magic; also behind a good magic and a good version."""
    draw = random.Random(seed)
    with crossing(Cargo(tmp_path, [1000]), PATIENT) as there:
        stranger = RawSender(there.receiver.address)
        stranger.write(opening(bytes(TOKEN_BYTES))[: draw.randrange(OPENING_BYTES)] + draw.randbytes(200))
        assert stranger.signal() is None
        stranger.close()
        assert sum(there.receiver.counters.turned_away.values()) == 1
        assert_works(there)


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_behind_the_token_write_nothing_that_counts(tmp_path: Path, seed: int) -> None:
    """Whoever has the token and sends nonsense costs a transfer that can be resumed."""
    draw = random.Random(seed)
    with crossing(Cargo(tmp_path, [1000])) as there:
        sender = there.dial()
        sender.write(draw.randbytes(draw.choice((1, 19, 20, 5000))))
        sender.close()
        error = there.owner.wait_end()
        assert isinstance(error, TransferError)
        assert error.is_resumable
        assert there.ticket.positions() == (0,)
        there.renew()
        there.send()
        assert there.owner.wait_end(2) is None


@pytest.mark.parametrize("said", [0, 1, 5, 6, OPENING_BYTES - 1])
def test_a_stranger_that_does_not_finish_its_opening_is_closed_in_time(tmp_path: Path, said: int) -> None:
    """Half-open at any byte."""
    with crossing(Cargo(tmp_path, [1000]), SHORT) as there:
        stranger = RawSender(there.receiver.address)
        stranger.write(opening(there.token)[:said])
        assert stranger.signal() is None
        stranger.close()
        assert there.receiver.counters.turned_away == {End.SLOW: 1}


def test_an_opening_may_come_byte_by_byte(tmp_path: Path) -> None:
    """Within its time it is served, and what follows it is the transfer's."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        stranger = RawSender(there.receiver.address)
        for at in range(OPENING_BYTES):
            stranger.write(opening(there.token)[at : at + 1])
        stranger.write(there.cargo.stream([0]))
        stranger.end()
        assert there.owner.wait_end() is None
        stranger.close()


def test_an_opening_that_trickles_on_is_closed_in_time(tmp_path: Path) -> None:
    """Bytes that keep coming buy no time."""
    with crossing(Cargo(tmp_path, [1000]), SHORT) as there:
        stranger = RawSender(there.receiver.address)
        for at in range(OPENING_BYTES - 1):
            if _is_over(stranger):
                break
            stranger.write(opening(there.token)[at : at + 1])
        assert stranger.signal() is None
        assert there.receiver.counters.turned_away == {End.SLOW: 1}
        stranger.close()


def _is_over(stranger: RawSender) -> bool:
    """Whether the other side has closed; it has ten milliseconds to do so."""
    stranger.socket.settimeout(0.01)
    try:
        return stranger.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    finally:
        stranger.socket.settimeout(PATIENCE_S)


@pytest.mark.parametrize("said", [b"", b"ZBUL"])
def test_a_stranger_that_leaves_is_counted(tmp_path: Path, said: bytes) -> None:
    """A port scan is a number in a counter."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        stranger = RawSender(there.receiver.address)
        stranger.write(said)
        stranger.close()
        wait_until(lambda: there.receiver.counters.turned_away == {End.CUT: 1})
        stranger = RawSender(there.receiver.address)
        stranger.write(said)
        stranger.reset()
        wait_until(lambda: there.receiver.counters.turned_away == {End.CUT: 2})
        assert there.send() == 1000


def test_when_the_places_are_taken_the_oldest_stranger_goes(tmp_path: Path) -> None:
    """An honest opening takes one packet: who is oldest stalls. A flood does not keep a sender out."""
    with crossing(Cargo(tmp_path, [1000]), ReceiverLimits(strangers=3, opening_ms=40_000)) as there:
        strangers = [RawSender(there.receiver.address) for _ in range(10)]
        for stranger in strangers[:7]:
            assert stranger.signal() is None
        assert there.receiver.counters.turned_away == {End.BUSY: 7}
        assert_works(there)
        for stranger in strangers:
            stranger.close()


def test_without_descriptors_nobody_is_accepted_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BM-115: no busy loop, and the sender that waits in the backlog is served later."""
    real = socket.socket.accept
    calls: list[int] = []

    def accept(listening: socket.socket) -> tuple[socket.socket, object]:
        calls.append(0)
        if len(calls) == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(listening)

    with crossing(Cargo(tmp_path, [1000]), PATIENT) as there:
        monkeypatch.setattr(socket.socket, "accept", accept)
        assert_works(there)
        assert len(calls) == 2
        assert there.receiver.counters.turned_away == {End.BUSY: 1}


def test_a_stranger_in_the_way_of_a_close_is_closed(tmp_path: Path) -> None:
    """Nobody is left when the receiver is gone, and nobody listens."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        stranger = RawSender(there.receiver.address)
        wait_until(lambda: there.receiver._door._strangers)
        there.receiver.close()
        assert stranger.signal() is None
        stranger.close()
        with pytest.raises(ConnectionError):
            RawSender(there.receiver.address)


def test_a_sender_for_whom_there_is_no_thread_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token stays good: it did not get its turn."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        with monkeypatch.context() as patch:

            def start(_thread: threading.Thread) -> None:
                raise RuntimeError("can't start new thread")

            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(TransferError) as told:
                there.send()
        assert told.value.reason == End.REFUSED
        assert not there.owner.ends
        assert_works(there)


def test_a_door_that_breaks_closes_everything_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in the thread is not silence with an open port."""
    with crossing(Cargo(tmp_path, [1000])) as there:

        def turn() -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(there.receiver._door, "_turn", turn)
        RawSender(there.receiver.address).close()
        there.receiver._door._thread.join(PATIENCE_S)
        assert "snapshots are not received any more" in caplog.text
        with pytest.raises(ConnectionError):
            RawSender(there.receiver.address)


def test_where_it_listens(lease: PortLease) -> None:
    """Any free port or a given one, again after a close; what senders are told is another host where that is wanted."""
    some = Receiver("127.0.0.1", 0, "snapshots.example")
    assert some.address.startswith("snapshots.example:")
    assert not some.address.endswith(":0")
    some.close()
    for _ in range(2):
        given = Receiver("127.0.0.1", lease.port)
        assert given.address == f"127.0.0.1:{lease.port}"
        with pytest.raises(AddressInUse, match=given.address):
            Receiver("127.0.0.1", lease.port)
        given.close()
    with pytest.raises(ConfigError, match="snapshot_listener_addr: cannot listen on"):
        Receiver("192.0.2.1", 0)


@pytest.mark.parametrize("token", [b"", bytes(16), bytes(33)])
def test_a_token_that_cannot_be_is_the_callers_mistake(tmp_path: Path, token: bytes) -> None:
    """Also when a ticket is renewed."""
    with crossing(Cargo(tmp_path, [1000])) as there:
        with pytest.raises(UsageError):
            there.receiver.expect(token, tmp_path, [], Owner().on_done)
        there.dial().close()
        there.owner.wait_end()
        with pytest.raises(UsageError):
            there.ticket.renew(token)


def test_tokens_are_new_each_time() -> None:
    """From the system's generator, and as long as the channel wants them."""
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {TOKEN_BYTES}
    assert limits.BULK_STRANGERS < limits.UNAUTHENTICATED_CONNECTIONS
