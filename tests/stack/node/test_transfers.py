"""Snapshots on their way between two nodes: cut and resumed, refused, given up, damaged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stack.clusters import wait_until
from tests.stack.node.vaults import Vaulted, mark, meta, state, value
from tests.unit.session.backends import machine
from zraft.errors import CorruptData, StorageError, TransferError
from zraft.machine.backend import Directory
from zraft.machine.dict_backend import DictBackend
from zraft.node import transfers as module
from zraft.node.transfers import NodeTransfers
from zraft.peer.vault import Fetch, Forget, VaultDone, Write
from zraft.storage.manifest import Manifest
from zraft.storage.replica import ReplicaMeta
from zraft.transport.bulk import Receiver
from zraft.transport.bulk_send import send_files
from zraft.types import Member, PeerId
from zraft.wire.fetching import WantSnapshot, decode_word

LEADER = Member(PeerId("a", "127.0.0.1:7101"), 7)
FOLLOWER = Member(PeerId("f", "127.0.0.1:7102"), 9)
HERE = ReplicaMeta("f", meta().group, 9, "dict")


class Side:
    """One of two nodes: a vault with its transfers. What it says goes to the other one, through `filter`."""

    def __init__(self, folder: Path, member: Member, rate: int | None = None) -> None:
        self.member = member
        self.others: dict[str, Side] = {}
        self.said: list[Any] = []
        self.filter: Callable[[bytes], bytes | None] = lambda payload: payload
        self.failures: list[Exception] = []
        self.receiver = Receiver("127.0.0.1", 0)
        self.transfers = NodeTransfers(
            self.receiver, asyncio.get_running_loop(), self._speak, self._path_of, self.failures.append, rate=rate
        )
        self.kept = Vaulted(folder, self.transfers)

    def _path_of(self, manifest: Manifest) -> Path:
        return self.kept.vault.path_of(manifest)

    def _speak(self, node: str, payload: bytes) -> None:
        self.said.append(decode_word(payload))
        passed = self.filter(payload)
        if passed is not None and node in self.others:
            other = self.others[node]
            asyncio.get_running_loop().call_soon(other.transfers.take, self.member.peer.node, passed)

    async def done(self, number: int) -> VaultDone:
        return await asyncio.to_thread(self.kept.done, number)

    async def close(self) -> None:
        await self.transfers.aclose()
        await asyncio.to_thread(self.kept.vault.close)
        assert self.failures == []


class Pair:
    """The leader has a snapshot at 200, of a few megabytes where `large`; the follower is to fetch it."""

    def __init__(self, tmp_path: Path, rate: int | None = None) -> None:
        self.leader, self.follower = Side(tmp_path / "leader", LEADER, rate), Side(tmp_path / "follower", FOLLOWER)
        self.leader.others[FOLLOWER.peer.node] = self.follower
        self.follower.others[LEADER.peer.node] = self.leader

    async def write(self, index: int = 200) -> None:
        self.leader.kept.vault.submit(Write(1, meta(), mark(index), state(index).capture()))
        assert (await self.leader.done(1)).error is None

    def offer(self, index: int = 200) -> bytes:
        offer = self.leader.kept.vault.offer(meta(), mark(index), FOLLOWER)
        assert offer is not None
        return offer

    def fetch(self, offer: bytes, index: int = 200, number: int = 50) -> None:
        self.follower.kept.vault.submit(Fetch(number, HERE, mark(index), LEADER, offer))

    async def fetched(self, offer: bytes, index: int = 200, number: int = 50) -> VaultDone:
        self.fetch(offer, index, number)
        return await self.follower.done(number)

    def state(self, index: int = 200) -> Any:
        replica = machine(DictBackend(FOLLOWER.peer))
        self.follower.kept.vault.load(HERE, mark(index), replica)
        return value(replica, index)


@asynccontextmanager
async def paired(tmp_path: Path, rate: int | None = None) -> AsyncIterator[Pair]:
    pair = Pair(tmp_path, rate)
    try:
        await pair.write()
        yield pair
    finally:
        await pair.leader.close()
        await pair.follower.close()


def test_a_snapshot_is_carried_over_and_published(tmp_path: Path) -> None:
    """Under the follower's own name; its size is told, and the offer stands for another time."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            offer = pair.offer()
            done = await pair.fetched(offer)
            assert done.error is None
            assert done.size == pair.leader.kept.all()[0].size
            assert pair.state() == 200
            (found,) = pair.follower.kept.all()
            assert (found.meta, found.mark, found.fault) == (HERE, mark(200), None)
            wanted = len(pair.follower.said)
            again = await pair.fetched(offer, number=51)
            assert (again.error, again.size) == (None, done.size)
            assert len(pair.follower.said) == wanted, "what is there is not fetched again"

    asyncio.run(work())


class Cuts:
    """Ends the first transfers after so many bytes, as a connection that breaks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *after: int) -> None:
        self.left = list(after)
        self.positions: list[int] = []
        monkeypatch.setattr(module, "send_files", self)

    def __call__(self, *arguments: Any, **named: Any) -> int:
        self.positions.append(sum(arguments[4]))
        if not self.left:
            return send_files(*arguments, **named)
        limit, sent = self.left.pop(0), [0]

        def count(so_far: int) -> None:
            sent[0] = so_far

        is_cancelled = named.pop("is_cancelled")
        return send_files(
            *arguments,
            **{**named, "rate": 16 << 20},
            on_progress=count,
            is_cancelled=lambda: sent[0] >= limit or is_cancelled(),
        )


def large(directory: Directory) -> None:
    """A file of 6 MiB that does not look like another part of itself."""
    with directory.create("large") as file:
        for number in range(6 << 4):
            file.write(number.to_bytes(4, "big") * (1 << 14))


def test_a_cut_connection_is_resumed_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice; what had arrived is not sent again."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            done = await asyncio.to_thread(pair.leader.kept.write_with, 300, large)
            assert done.error is None
            cuts = Cuts(monkeypatch, 2 << 20, 1 << 20)
            fetched = await pair.fetched(pair.offer(300), 300)
            assert fetched.error is None
            assert len(cuts.positions) == 3
            assert 0 == cuts.positions[0] < cuts.positions[1] < cuts.positions[2]
            one = (pair.leader.kept.snapshot(300) / "large").read_bytes()
            other = pair.follower.kept.folder / "snapshots" / "f-0000000000000009" / "300-1" / "large"
            assert other.read_bytes() == one

    asyncio.run(work())


def test_an_offer_that_is_taken_back_ends_the_fetch(tmp_path: Path) -> None:
    """By a newer one to the same follower, or because the replica is gone; nothing of it is left."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            old = pair.offer()
            pair.offer()
            error = (await pair.fetched(old)).error
            assert isinstance(error, TransferError)
            assert "no such offer" in str(error)
            newest = pair.offer()
            pair.leader.kept.vault.submit(Forget(2, meta()))
            assert (await pair.leader.done(2)).error is None
            assert "no such offer" in str((await pair.fetched(newest, number=51)).error)
            assert pair.follower.kept.found() == []
            assert pair.leader.kept.vault.offer(meta(), mark(200), FOLLOWER) is None

    asyncio.run(work())


def test_offers_are_for_one_node_and_one_snapshot(tmp_path: Path) -> None:
    """Another node's question is answered with no; an offer of something else is damage."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            offer = pair.offer()
            want = WantSnapshot(offer[:16], pair.follower.receiver.address, bytes(32), (0, 0))
            pair.leader.transfers._wanted("127.0.0.1:7103", want)
            assert pair.leader.said[-1].is_over
            assert isinstance((await pair.fetched(offer, 201)).error, CorruptData)
            assert isinstance((await pair.fetched(offer[:-1], number=51)).error, CorruptData)
            assert isinstance((await pair.fetched(b"", number=52)).error, CorruptData)
            assert (await pair.fetched(offer, number=53)).error is None

    asyncio.run(work())


def test_lost_words_are_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link breaks just then: the question is repeated."""

    async def work() -> None:
        monkeypatch.setattr(module, "_ASK_MS", 50)
        async with paired(tmp_path) as pair:
            pair.follower.filter = lambda payload: payload if len(pair.follower.said) > 2 else None
            assert (await pair.fetched(pair.offer())).error is None
            assert len(pair.follower.said) >= 3

    asyncio.run(work())


def test_a_sender_that_does_not_come_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone, or cannot reach the receiver: then it says so, and the reason is told."""

    async def work() -> None:
        monkeypatch.setattr(module, "_COMING_MS", 300)
        async with paired(tmp_path) as pair:
            pair.follower.filter = lambda payload: None
            error = (await pair.fetched(pair.offer())).error
            assert "does not send it" in str(error)
            pair.follower.filter = lambda payload: payload
            monkeypatch.setattr(module, "_STILL_MS", 300)

            def unreachable(*_: Any, **__: Any) -> int:
                raise TransferError("cut", "127.0.0.1:1 cannot be reached")

            monkeypatch.setattr(module, "send_files", unreachable)
            error = (await pair.fetched(pair.offer(), number=51)).error
            assert "127.0.0.1:1 cannot be reached" in str(error)
            assert pair.follower.kept.found() == []

    asyncio.run(work())


def test_what_is_damaged_where_it_comes_from_is_given_up(tmp_path: Path) -> None:
    """BM-097: it is sent once more, and not for ever; nothing of it is published."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            path = pair.leader.kept.snapshot(200) / "dict"
            data = bytearray(path.read_bytes())
            data[100] ^= 1
            path.write_bytes(data)
            error = (await pair.fetched(pair.offer())).error
            assert isinstance(error, TransferError)
            assert error.damaged == ("dict",)
            path.write_bytes(data[:-1])
            error = (await pair.fetched(pair.offer(), number=51)).error
            assert "does not send it" in str(error)
            assert pair.follower.kept.found() == []

    asyncio.run(work())


def test_a_replica_that_is_forgotten_ends_its_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that waits for a sender, or for its next attempt."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            pair.follower.filter = lambda payload: None
            offer = pair.offer()
            for number in (50, 60):
                said = len(pair.follower.said)
                pair.fetch(offer, number=number)
                await wait_until("asked", lambda said=said: len(pair.follower.said) > said)  # type: ignore[misc]
                pair.follower.kept.vault.submit(Forget(number + 1, HERE))
                assert isinstance((await pair.follower.done(number)).error, StorageError)
                assert (await pair.follower.done(number + 1)).error is None
            assert list((pair.follower.kept.folder / "snapshots").iterdir()) == []

    asyncio.run(work())


def test_a_drop_leaves_what_is_being_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower gets it whole; the next drop takes it."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            assert (await asyncio.to_thread(pair.leader.kept.write_with, 300, large)).error is None
            begun, go = asyncio.Event(), asyncio.Event()
            loop = asyncio.get_running_loop()

            def slow(*arguments: Any, **named: Any) -> int:
                loop.call_soon_threadsafe(begun.set)
                asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
                return send_files(*arguments, **named)

            monkeypatch.setattr(module, "send_files", slow)
            pair.fetch(pair.offer(300), 300)
            await begun.wait()
            assert (await asyncio.to_thread(pair.leader.kept.drop, 400)).error is None
            assert pair.leader.kept.found() == [("a", 300)]
            go.set()
            assert (await pair.follower.done(50)).error is None
            await wait_until("sent", lambda: not pair.leader.transfers.is_sending(meta(), 300))
            assert (await asyncio.to_thread(pair.leader.kept.drop, 400)).error is None
            assert pair.leader.kept.found() == []

    asyncio.run(work())


def test_no_more_than_the_rate_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`snapshot_transfer_rate`: the sender is told; None is as fast as it goes."""
    told: list[int | None] = []

    def sending(*arguments: Any, **named: Any) -> int:
        told.append(named["rate"])
        return send_files(*arguments, **named)

    monkeypatch.setattr(module, "send_files", sending)

    async def work(folder: Path, rate: int | None) -> None:
        async with paired(folder, rate) as pair:
            assert (await pair.fetched(pair.offer())).error is None

    asyncio.run(work(tmp_path / "limited", 64 << 20))
    asyncio.run(work(tmp_path / "free", None))
    assert told == [64 << 20, None]


def test_a_node_that_stops_ends_what_it_sends_and_fetches(tmp_path: Path) -> None:
    """Promptly, and with nothing half published."""

    async def work() -> None:
        async with paired(tmp_path, 1 << 16) as pair:
            assert (await asyncio.to_thread(pair.leader.kept.write_with, 300, large)).error is None
            pair.fetch(pair.offer(300), 300)
            await wait_until("sending", lambda: pair.leader.transfers.is_sending(meta(), 300))
        again = Vaulted(tmp_path / "follower")
        assert again.found() == []
        again.vault.close()

    asyncio.run(work())


def test_a_full_disk_refuses_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault that cannot hold it says so at once."""

    async def work() -> None:
        async with paired(tmp_path) as pair:
            offer = pair.offer()
            monkeypatch.setattr(
                "zraft.node.vault.os.fstatvfs", lambda _: type("Full", (), {"f_bavail": 0, "f_frsize": 1})
            )
            error = (await pair.fetched(offer)).error
            assert "no space" in str(error).lower()
            assert pair.follower.said == []

    asyncio.run(work())


def test_a_vault_without_transfers_offers_and_fetches_nothing(tmp_path: Path) -> None:
    """For offline tools."""
    kept = Vaulted(tmp_path)
    kept.write(3)
    assert kept.vault.offer(meta(), mark(3), FOLLOWER) is None
    assert isinstance(kept.do(Fetch(9, HERE, mark(3), LEADER, b"")).error, StorageError)
    kept.vault.close()
