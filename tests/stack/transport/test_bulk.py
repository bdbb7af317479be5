"""Snapshots' files between two ends: whole, resumed, damaged, ended; over real sockets onto a real disk."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack.transport.carrying import Cargo, Crossing, CuttingProxy, Owner, crossing
from zraft import limits
from zraft.errors import DiskFull, Overloaded, StorageError, TransferError, UsageError, ZraftError
from zraft.transport.bulk import Receiver, ReceiverLimits, new_token
from zraft.transport.bulk_send import send_files
from zraft.wire.bulk import End, Signal, part_header

MIXED = (0, 1, 3 * limits.MIB + 17, 70_000, limits.MIB, 0, 4096)


def ended(error: ZraftError | None, reason: End, *, is_resumable: bool = True) -> TransferError:
    """The error, which must be of this kind."""
    assert isinstance(error, TransferError), error
    assert (error.reason, error.is_resumable) == (reason, is_resumable), error
    return error


@pytest.mark.parametrize(
    "sizes",
    [MIXED, (), (0,), (0, 0, 0), (5,), (40 * limits.MIB,), tuple(range(300))],
    ids=lambda sizes: str(len(sizes)),
)
def test_files_arrive_byte_for_byte(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Large ones, empty ones, many small ones, none at all; private files, and nothing beside them."""
    cargo = Cargo(tmp_path, sizes)
    with crossing(cargo) as there:
        assert there.send() == cargo.size
        assert there.owner.wait_end() is None
        assert cargo.has_arrived()
        assert there.ticket.positions() == tuple(map(len, cargo.contents))
        assert {stat.S_IMODE(path.stat().st_mode) for path in cargo.target.iterdir()} <= {0o600}
        assert there.receiver.counters.ended == {End.DONE: 1}
        assert there.receiver.counters.bytes_in == cargo.size
        assert there.owner.progress == sorted(there.owner.progress)
        assert there.owner.progress[-1:] == ([cargo.size] if cargo.size else [])


@pytest.mark.parametrize("seed", range(12))
def test_a_transfer_that_is_cut_anywhere_goes_on_from_exactly_there(tmp_path: Path, seed: int) -> None:
    """Seeded cuts, in headers and in files, until everything is there; no byte is asked for twice, none is missed."""
    draw = random.Random(seed)
    cargo = Cargo(tmp_path, [draw.choice((0, 1, 19, 4096, 50_000, 1_100_000)) for _ in range(5)], seed)
    with crossing(cargo) as there:
        for cut in range(1, 5):
            positions = there.ticket.positions()
            stream = cargo.stream(positions)
            after = draw.randrange(len(stream) + 1)
            sender = there.dial()
            sender.write(stream[:after])
            sender.close()
            error = there.owner.wait_end(cut)
            if error is None:
                assert after == len(stream)
                break
            ended(error, End.CUT)
            assert there.ticket.positions() == cargo.positions_after(positions, after)
            there.renew()
        else:
            missing = cargo.size - sum(there.ticket.positions())
            assert there.send() == missing
            assert there.owner.wait_end(5) is None
        assert cargo.has_arrived()


def test_a_connection_that_is_reset_loses_only_what_was_not_read(tmp_path: Path) -> None:
    """What was counted is in the file; the rest is sent again."""
    cargo = Cargo(tmp_path, [2 * limits.MIB])
    with crossing(cargo) as there:
        sender = there.dial()
        sender.write(cargo.stream([0])[: limits.MIB + 20])
        there.owner.wait_progress(limits.MIB)
        sender.reset()
        ended(there.owner.wait_end(), End.CUT)
        assert there.ticket.positions() == (limits.MIB,)
        there.renew()
        assert there.send() == limits.MIB
        assert there.owner.wait_end(2) is None
        assert cargo.has_arrived()


@pytest.mark.parametrize("seed", range(4))
def test_the_real_sender_hears_of_a_cut_and_another_goes_on(tmp_path: Path, seed: int) -> None:
    """Through a proxy that cuts: both sides learn that it may be resumed."""
    cargo = Cargo(tmp_path, [300_000, 2_500_000], seed)
    draw = random.Random(seed)
    with crossing(cargo) as there:
        for cut in (1, 2):
            with (
                CuttingProxy(there.receiver.address, draw.randrange(60, 1_400_000)) as proxy,
                pytest.raises(TransferError) as told,
            ):
                send_files(proxy.address, there.token, cargo.source, cargo.files, there.ticket.positions())
            ended(told.value, End.CUT)
            ended(there.owner.wait_end(cut), End.CUT)
            there.renew()
        there.send()
        assert there.owner.wait_end(3) is None
        assert cargo.has_arrived()


def test_what_an_earlier_process_has_received_counts_after_it_was_read_again(tmp_path: Path) -> None:
    """A new receiver finds whole and begun files; one that is whole and wrong, or too long, begins anew."""
    cargo = Cargo(tmp_path, [100_000, 100_000, 100_000, 100_000, 0])
    for number, found in enumerate([cargo.contents[0], cargo.contents[1][:12_345], bytes(100_000), bytes(100_001)]):
        (cargo.target / f"file-{number}").write_bytes(found)
    with crossing(cargo) as there:
        assert there.ticket.positions() == (100_000, 12_345, 0, 0, 0)
        assert there.send() == cargo.size - 112_345
        assert there.owner.wait_end() is None
        assert cargo.has_arrived()


def test_what_was_found_is_durable_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed leaves bytes that can be read and are not on the disk: nobody else would sync them."""
    cargo = Cargo(tmp_path, [1000])
    (cargo.target / "file-0").write_bytes(cargo.contents[0])
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(os.fstat(file).st_ino))
    with crossing(cargo) as there:
        assert there.ticket.positions() == (1000,)
        assert synced == [(cargo.target / "file-0").stat().st_ino]


def test_a_begun_file_that_shrank_or_went_is_not_continued(tmp_path: Path) -> None:
    """There would be a hole in it that no checksum of what arrives could see."""
    cargo = Cargo(tmp_path, [1000, 1000])
    spoiled: list[Callable[[Path], None]] = [os.unlink, lambda path: os.truncate(path, 10)]
    for number, spoil in enumerate(spoiled):
        (cargo.target / f"file-{number}").write_bytes(cargo.contents[number][:100])
        with crossing(cargo) as there:
            assert there.ticket.positions()[number] == 100
            spoil(cargo.target / f"file-{number}")
            sender = there.dial()
            sender.write(part_header(number, 100, 900) + cargo.contents[number][100:])
            assert isinstance(there.owner.wait_end(), StorageError)
            sender.close()


def test_a_begun_file_that_rotted_is_found_out_at_its_end(tmp_path: Path) -> None:
    """A checksum covers what was found, too: the file is named and sent again."""
    cargo = Cargo(tmp_path, [100_000, 10])
    (cargo.target / "file-0").write_bytes(bytes(50_000))
    with crossing(cargo) as there:
        with pytest.raises(TransferError) as told:
            there.send()
        ended(told.value, End.DAMAGED)
        assert ended(there.owner.wait_end(), End.DAMAGED).damaged == ("file-0",)
        there.renew()
        assert there.send() == 100_000
        assert there.owner.wait_end(2) is None
        assert cargo.has_arrived()


def test_a_flipped_bit_in_a_file_is_found_and_only_that_file_is_sent_again(tmp_path: Path) -> None:
    """The checksum of the manifest decides, not the network's."""
    cargo = Cargo(tmp_path, [200_000, 300_000, 100])
    with crossing(cargo) as there:
        stream = bytearray(cargo.stream([0, 0, 0]))
        stream[20 + 200_000 + 20 + 123_456] ^= 0x10
        sender = there.dial()
        sender.write(bytes(stream))
        sender.end()
        assert sender.signal() is Signal.DAMAGED
        sender.close()
        assert ended(there.owner.wait_end(), End.DAMAGED).damaged == ("file-1",)
        assert there.ticket.positions() == (200_000, 0, 100)
        there.renew()
        assert there.send() == 300_000
        assert there.owner.wait_end(2) is None
        assert cargo.has_arrived()


@pytest.mark.parametrize("at", range(2 * 20))
def test_a_flipped_bit_in_a_header_never_passes(tmp_path: Path, at: int) -> None:
    """Whatever the header then says, it is not what is missing; afterwards the transfer can be made."""
    cargo = Cargo(tmp_path, [1000, 2000])
    with crossing(cargo) as there:
        stream = bytearray(cargo.stream([0, 0]))
        stream[at if at < 20 else 1000 + at] ^= 0x40
        sender = there.dial()
        sender.write(bytes(stream))
        sender.close()
        error = there.owner.wait_end()
        assert isinstance(error, TransferError)
        assert error.is_resumable
        there.renew()
        there.send()
        assert there.owner.wait_end(2) is None
        assert cargo.has_arrived()


def test_more_than_was_asked_for_is_refused(tmp_path: Path) -> None:
    """The files are kept: nothing was written that does not belong to them."""
    cargo = Cargo(tmp_path, [1000])
    with crossing(cargo) as there:
        sender = there.dial()
        sender.write(cargo.stream([0]) + part_header(0, 1000, 5) + b"extra")
        assert sender.signal() is Signal.REFUSED
        sender.close()
        ended(there.owner.wait_end(), End.PROTOCOL)
        assert there.ticket.positions() == (1000,)
        there.renew()
        assert there.send() == 0
        assert there.owner.wait_end(2) is None
        assert cargo.has_arrived()


def test_a_sender_that_ends_too_early_is_told(tmp_path: Path) -> None:
    """It has said that nothing more comes, and something is missing."""
    cargo = Cargo(tmp_path, [1000, 1])
    with crossing(cargo) as there:
        sender = there.dial()
        sender.write(cargo.stream([0, 0])[:1020])
        sender.end()
        assert sender.signal() is Signal.CUT
        sender.close()
        assert "1 bytes are missing" in str(ended(there.owner.wait_end(), End.CUT))
        assert there.ticket.positions() == (1000, 0)


@pytest.mark.parametrize("first", [0, 5, 1020], ids=["before a header", "in a header", "in a file"])
def test_a_sender_that_stalls_is_given_up(tmp_path: Path, first: int) -> None:
    """What has arrived is kept."""
    cargo = Cargo(tmp_path, [100_000])
    with crossing(cargo, ReceiverLimits(stalled_ms=150)) as there:
        sender = there.dial()
        sender.write(cargo.stream([0])[:first])
        ended(there.owner.wait_end(), End.STALLED)
        assert sender.signal() is Signal.CUT
        sender.close()


def test_a_sender_that_trickles_is_given_up(tmp_path: Path) -> None:
    """A byte now and then is no progress."""
    cargo = Cargo(tmp_path, [limits.MIB])
    with crossing(cargo, ReceiverLimits(stalled_ms=300)) as there:
        sender = there.dial()
        stream = cargo.stream([0])
        sender.write(stream[:20])
        at = 20
        while not there.owner.ends and at < 20 + limits.BULK_TRICKLE_BYTES - 1:
            sender.write(stream[at : at + 1])
            at += 1
        ended(there.owner.wait_end(), End.STALLED)
        assert there.ticket.positions()[0] < limits.BULK_TRICKLE_BYTES
        sender.close()


def test_closing_ends_what_is_expected_and_what_is_under_way(tmp_path: Path) -> None:
    """Each owner is told once, before close returns; afterwards nobody writes and nothing is expected."""
    cargo = Cargo(tmp_path, [limits.MIB])
    other = Owner()
    with crossing(cargo) as there:
        there.receiver.expect(new_token(), cargo.target, [("other", 5, 5)], other.on_done)
        sender = there.dial()
        sender.write(cargo.stream([0])[:500_000])
        there.receiver.close()
        ended(there.owner.wait_end(), End.CANCELLED, is_resumable=False)
        ended(other.wait_end(), End.CANCELLED, is_resumable=False)
        sender.close()
        with pytest.raises(UsageError, match="closed"):
            there.receiver.expect(new_token(), cargo.target, cargo.files, other.on_done)
        with pytest.raises(UsageError, match="closed"):
            there.ticket.renew(new_token())
        there.receiver.close()


def test_a_forgotten_token_admits_nobody(tmp_path: Path) -> None:
    """Its owner is told before forget returns; a second forget, or one of an unknown token, does nothing."""
    cargo = Cargo(tmp_path, [1000])
    with crossing(cargo) as there:
        there.receiver.forget(new_token())
        assert not there.owner.ends
        there.receiver.forget(there.token)
        assert len(there.owner.ends) == 1
        ended(there.owner.wait_end(), End.CANCELLED, is_resumable=False)
        with pytest.raises(TransferError) as told:
            there.send()
        ended(told.value, End.REFUSED, is_resumable=False)
        there.receiver.forget(there.token)
        assert len(there.owner.ends) == 1


def test_forgetting_a_transfer_that_is_under_way_stops_its_writes(tmp_path: Path) -> None:
    """The folder may be deleted afterwards."""
    cargo = Cargo(tmp_path, [limits.MIB])
    with crossing(cargo) as there:
        sender = there.dial()
        sender.write(cargo.stream([0])[:100_000])
        there.receiver.forget(there.token)
        assert len(there.owner.ends) == 1
        ended(there.owner.wait_end(), End.CANCELLED, is_resumable=False)
        sender.close()


def test_an_owner_may_renew_from_within_its_on_done(tmp_path: Path) -> None:
    """The natural place to go on."""
    cargo = Cargo(tmp_path, [1000])
    with crossing(cargo) as there:

        def on_done(error: ZraftError | None) -> None:
            if error is not None:
                there.renew()
            there.owner.on_done(error)

        there.ticket._on_done = on_done
        there.dial().close()
        ended(there.owner.wait_end(), End.CUT)
        there.send()
        assert there.owner.wait_end(2) is None


def test_a_ticket_is_renewed_only_after_an_end_that_can_be_resumed(tmp_path: Path) -> None:
    """Waiting, running, and done are not such ends."""
    cargo = Cargo(tmp_path, [1000])
    with crossing(cargo) as there:
        with pytest.raises(UsageError, match="waiting"):
            there.ticket.renew(new_token())
        sender = there.dial()
        with pytest.raises(UsageError, match="running"):
            there.ticket.renew(new_token())
        sender.close()
        ended(there.owner.wait_end(), End.CUT)
        there.renew()
        there.send()
        assert there.owner.wait_end(2) is None
        with pytest.raises(UsageError, match="over"):
            there.ticket.renew(new_token())


def test_more_transfers_than_the_bound_are_not_expected(tmp_path: Path) -> None:
    """And a token is not given to two of them."""
    cargo = Cargo(tmp_path, [1000])
    with crossing(cargo, ReceiverLimits(tickets=2)) as there:
        with pytest.raises(UsageError, match="once"):
            there.receiver.expect(there.token, cargo.target, cargo.files, there.owner.on_done)
        there.receiver.expect(new_token(), cargo.target, cargo.files, there.owner.on_done)
        with pytest.raises(Overloaded):
            there.receiver.expect(new_token(), cargo.target, cargo.files, there.owner.on_done)


def failing(code: int) -> Callable[..., int]:
    """A system call that fails with `code`."""

    def call(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize(
    ("what", "code", "kind"),
    [
        ("fdatasync", errno.EIO, StorageError),
        ("pwrite", errno.EIO, StorageError),
        ("pwrite", errno.ENOSPC, DiskFull),
        ("fsync", errno.EIO, StorageError),
    ],
)
def test_an_error_of_the_disk_ends_the_transfer_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, code: int, kind: type[StorageError]
) -> None:
    """Nothing is believed after it (BM-093): the sender is told, the ticket cannot be renewed."""
    cargo = Cargo(tmp_path, [20 * limits.MIB, 100])
    with crossing(cargo) as there:
        with monkeypatch.context() as patch:
            patch.setattr(os, what, failing(code))
            with pytest.raises(TransferError) as told:
                there.send()
            error = there.owner.wait_end()
        assert type(error) is kind, error
        assert os.strerror(code) in str(error)
        assert told.value.reason in (End.REFUSED, End.CUT)
        assert there.receiver.counters.ended == {End.DISK: 1}
        with pytest.raises(UsageError, match="over"):
            there.ticket.renew(new_token())


def test_what_has_arrived_and_cannot_be_synced_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut at which the disk fails is the disk's end, not the network's."""
    cargo = Cargo(tmp_path, [100_000])
    with crossing(cargo) as there:
        monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
        sender = there.dial()
        sender.write(cargo.stream([0])[:50_000])
        sender.close()
        assert type(there.owner.wait_end()) is StorageError
        assert there.receiver.counters.ended == {End.DISK: 1}


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it was given."""
    cargo = Cargo(tmp_path, [100_000])
    real = os.pwrite
    with crossing(cargo) as there:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", lambda file, data, at: real(file, data[:33_333], at))
            there.send()
            assert there.owner.wait_end() is None
        assert cargo.has_arrived()


def test_a_write_that_writes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a loop that never ends."""
    cargo = Cargo(tmp_path, [100_000])
    with crossing(cargo) as there, monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 0)
        with pytest.raises(TransferError):
            there.send()
        assert "short write" in str(there.owner.wait_end())


def test_receiving_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be synced, a bounded part of the snapshot is taken from the network."""
    cargo = Cargo(tmp_path, [24 * limits.MIB])
    monkeypatch.setattr(limits, "BULK_SYNC_BYTES", limits.MIB)
    monkeypatch.setattr(limits, "BULK_UNSYNCED_BYTES", 4 * limits.MIB)
    real = os.fdatasync
    seen: list[int] = []
    with crossing(cargo) as there:

        def slow(file: int) -> None:
            if not seen:
                there.owner.wait_progress(4 * limits.MIB)
            seen.append(there.owner.progress[-1])
            real(file)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", slow)
            there.send()
            assert there.owner.wait_end() is None
        assert seen[0] <= 5 * limits.MIB
        assert all(arrived <= (number + 6) * limits.MIB for number, arrived in enumerate(seen))
        assert cargo.has_arrived()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path, moment: str) -> None:
    """BM-123: nothing outside the folder is written, whoever put it there."""
    cargo = Cargo(tmp_path, [1000])
    outside = tmp_path / "outside"
    outside.write_text("precious")
    link = cargo.target / "file-0"
    if moment == "before":
        link.symlink_to(outside)
        receiver = Receiver("127.0.0.1", 0)
        with pytest.raises(StorageError):
            receiver.expect(new_token(), cargo.target, cargo.files, Owner().on_done)
        receiver.close()
    else:
        with crossing(cargo) as there:
            link.symlink_to(outside)
            with pytest.raises(TransferError):
                there.send()
            assert isinstance(there.owner.wait_end(), StorageError)
    assert outside.read_text() == "precious"


def test_what_is_no_file_is_not_taken_for_one(tmp_path: Path) -> None:
    """A pipe would block whoever opens it."""
    cargo = Cargo(tmp_path, [1000])
    os.mkfifo(cargo.target / "file-0")
    receiver = Receiver("127.0.0.1", 0)
    with pytest.raises(StorageError, match="is not a file"):
        receiver.expect(new_token(), cargo.target, cargo.files, Owner().on_done)
    receiver.close()


def test_a_folder_that_is_gone_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """At once where it never was there, otherwise when the sender comes."""
    cargo = Cargo(tmp_path, [1000])
    with crossing(cargo) as there:
        with pytest.raises(StorageError):
            there.receiver.expect(new_token(), tmp_path / "nowhere", cargo.files, Owner().on_done)
        cargo.target.rmdir()
        with pytest.raises(TransferError):
            there.send()
        assert isinstance(there.owner.wait_end(), StorageError)


def test_an_owner_that_fails_stops_only_its_own_transfer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its bug is logged, what it did not hear of is not counted as done, and the next transfer works."""
    cargo = Cargo(tmp_path, [1000])
    with crossing(cargo) as there:
        _fail_in(there, "_on_progress")
        with pytest.raises(TransferError):
            there.send()
        ended(there.owner.wait_end(), End.FAILURE, is_resumable=False)
        assert "receiving failed" in caplog.text
        after = Owner()
        there.token = new_token()
        there.ticket = there.receiver.expect(there.token, cargo.target, cargo.files, after.on_done)
        _fail_in(there, "_on_done")
        there.send()
        there.receiver.close()
        assert "the owner of a transfer failed" in caplog.text
        assert cargo.has_arrived()


def _fail_in(there: Crossing, callback: str) -> None:
    def fail(_told: object) -> None:
        raise RuntimeError("a bug")

    setattr(there.ticket, callback, fail)
