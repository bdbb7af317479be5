"""How snapshots get from node to node: offers that are kept in memory, files that are sent, files that are fetched.

    follower   Fetch ─> a token at the own receiver ─> WantSnapshot ─┐             cut: what has arrived counts, a new
                                                                     │             token, WantSnapshot once more
    leader     offer ─> InstallSnapshot                              └> send_files in a thread, or NotSending

Everything here happens in the event loop, except what blocks: sending has threads of its own, the receiver brings its
own. A fetch is given up where the sender says so or does not come for `_COMING_MS`, where nothing arrives for
`_STILL_MS`, and where the same file arrives damaged twice: then it is damaged where it comes from.
"""

from __future__ import annotations

import asyncio
import logging
import secrets as chance
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, assert_never

from zraft import limits
from zraft.core.entries import SnapshotMark
from zraft.errors import CorruptData, Overloaded, StorageError, TransferError, ZraftError
from zraft.node.timekeeper import now_ms
from zraft.peer.vault import Fetch
from zraft.storage.manifest import Manifest, decode_manifest, encode_manifest
from zraft.storage.replica import ReplicaMeta
from zraft.transport.bulk import Receiver, Ticket, new_token
from zraft.transport.bulk_send import send_files
from zraft.types import Index, Member, Millis
from zraft.wire.bulk import End
from zraft.wire.fetching import OFFER_BYTES, NotSending, Sending, WantSnapshot, Word, decode_word, encode_word

LOG: Final = logging.getLogger("zraft")

_COMING_MS: Final[Millis] = limits.HANDSHAKE_MS
_STILL_MS: Final[Millis] = 2 * limits.STALLED_MS
_LOOK_S: Final = 0.25
"""How often a fetch is looked at: whether it is to be asked for again, or given up."""
_ASK_MS: Final[Millis] = 1000
"""After so long without a sender it is asked again: a word may get lost."""
_CLOSE_S: Final = 5.0

Files = list[tuple[str, int, int]]


@dataclass(slots=True, eq=False)
class _Offer:
    """A snapshot that `to` may have."""

    id: bytes
    manifest: Manifest
    to: Member
    sending: _Sending | None = None


@dataclass(slots=True, eq=False)
class _Sending:
    """Files that are on their way."""

    offer: _Offer
    want: WantSnapshot
    is_cancelled: bool = False
    thread: threading.Thread | None = None


@dataclass(slots=True, eq=False)
class _Fetching:
    """Files that are on their way here. Belongs to the event loop, but for what the receiver's thread counts."""

    job: Fetch
    manifest: Manifest
    done: Callable[[ZraftError | None], None]
    token: bytes
    ticket: Ticket | None = None
    arrived: int = 0
    """Bytes."""
    arrived_at_ms: Millis = field(default_factory=now_ms)
    """When they became more."""
    waiting_since_ms: Millis | None = field(default_factory=now_ms)
    """Nobody has come for the token; None: somebody has."""
    asked_at_ms: Millis = 0
    failed: ZraftError | None = None
    """How the last connection ended, where it is to be replaced."""
    damaged: tuple[str, ...] = ()
    why: str = ""
    """What the sender said last about not sending."""
    is_given_up: bool = False


class NodeTransfers:
    """Of one node. `speak` brings a word to a node, or loses it; `path_of` says where a published snapshot is."""

    def __init__(
        self,
        receiver: Receiver,
        loop: asyncio.AbstractEventLoop,
        speak: Callable[[str, bytes], None],
        path_of: Callable[[Manifest], Path],
        failed: Callable[[Exception], None],
        *,
        rate: int | None = None,
    ) -> None:
        """`rate`: bytes a second, at most, to each of those that are sent to; at least `limits.BULK_RATE_MIN`."""
        self._receiver, self._loop = receiver, loop
        self._speak, self._path_of, self._failed = speak, path_of, failed
        self._rate = rate
        self._offers: dict[bytes, _Offer] = {}
        self._sending: dict[_Sending, None] = {}
        self._fetching: dict[int, _Fetching] = {}
        self._ending: dict[asyncio.Future[None], bytes] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._is_closed = False

    # -- for the vault; offers in the event loop, everything else from its threads

    def offer(self, manifest: Manifest, to: Member) -> bytes:
        """What `to` needs to fetch this snapshot: a number of the offer, and what is offered."""
        meta = manifest.meta
        for offer in list(self._offers.values()):
            if offer.to == to and offer.manifest.meta.incarnation == meta.incarnation:
                self._withdraw(offer)
        made = _Offer(chance.token_bytes(OFFER_BYTES), manifest, to)
        self._offers[made.id] = made
        return made.id + encode_manifest(manifest)

    def offered(self, job: Fetch) -> Manifest:
        """What the offer has. Raises CorruptData where it is none, or of another snapshot, StorageError."""
        manifest = decode_manifest(job.offer[OFFER_BYTES:], f"the offer of {job.sender}")
        meta, mark = manifest.meta, manifest.mark
        if (meta.group, meta.backend, mark) != (job.meta.group, job.meta.backend, job.mark):
            raise CorruptData(f"the offer of {job.sender}", 0, f"is {mark.index}-{mark.term}, of {meta.backend}")
        return manifest

    def fetch(self, job: Fetch, manifest: Manifest, folder: Path, done: Callable[[ZraftError | None], None]) -> None:
        """Bring the files into the folder, durable and as the manifest says; then `done`, once, from any thread."""
        fetching = _Fetching(job, manifest, done, new_token())
        files = [(file.name, file.size, file.crc) for file in manifest.files]
        self._fetching[job.number] = fetching
        try:
            fetching.ticket = self._expect(fetching, folder, files)
        except ZraftError:
            del self._fetching[job.number]
            raise
        self._in_loop(self._begin, fetching)

    def _expect(self, fetching: _Fetching, folder: Path, files: Files) -> Ticket:
        def ended(error: ZraftError | None) -> None:
            self._in_loop(self._ended, fetching, error)

        def arrived(size: int) -> None:
            fetching.waiting_since_ms = None
            if size > fetching.arrived:
                fetching.arrived, fetching.arrived_at_ms = size, now_ms()

        return self._receiver.expect(fetching.token, folder, files, ended, arrived)

    def cancel(self, number: int) -> None:
        """The fetch of this number is not wanted any more: `done` soon."""
        self._in_loop(self._cancel, number)

    def progress(self, meta: ReplicaMeta, mark: SnapshotMark) -> tuple[int, int] | None:
        """How many bytes of how many have arrived; None where this is not being fetched."""
        for fetching in list(self._fetching.values()):
            if (fetching.job.meta.incarnation, fetching.job.mark) == (meta.incarnation, mark):
                return fetching.arrived, fetching.manifest.size
        return None

    def is_sending(self, meta: ReplicaMeta, index: Index) -> bool:
        """The snapshot at `index` is on its way to somebody."""
        manifests = [sending.offer.manifest for sending in list(self._sending)]
        return any((made.meta.incarnation, made.mark.index) == (meta.incarnation, index) for made in manifests)

    def forget(self, meta: ReplicaMeta) -> None:
        """No offer of the replica counts any more."""
        self._in_loop(self._forget, meta)

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._guarded, call, arguments)
        except RuntimeError:
            return  # the loop was closed without stopping the node; nobody is left to care

    def _guarded(self, call: Callable[..., None], arguments: tuple[object, ...]) -> None:
        try:
            call(*arguments)
        except Exception as error:
            self._failed(error)

    # -- for the node, in the event loop

    def take(self, node: str, payload: bytes) -> None:
        """A SNAPSHOTS frame came from `node`. Raises ProtocolError."""
        word: Word = decode_word(payload)
        match word:
            case WantSnapshot():
                self._wanted(node, word)
            case NotSending() | Sending():
                self._answered(node, word)
            case _:
                assert_never(word)

    def close(self) -> None:
        """Nothing is expected any more. For the way down before anything was begun."""
        self._receiver.close()

    async def aclose(self) -> None:
        """Nothing is sent, nothing is fetched any more; every thread has ended, or will very soon."""
        self._is_closed = True
        if self._looking is not None:
            self._looking.cancel()
        for sending in self._sending:
            sending.is_cancelled = True
        await asyncio.to_thread(self._receiver.close)
        for sending in list(self._sending):
            if sending.thread is not None:
                await asyncio.to_thread(sending.thread.join, _CLOSE_S)
        if self._ending:
            await asyncio.wait(list(self._ending))

    # -- sending

    def _wanted(self, node: str, want: WantSnapshot) -> None:
        offer = self._offers.get(want.offer)
        if self._is_closed or offer is None or offer.to.peer.node != node:
            self._say(node, NotSending(want.token, "no such offer, or not any more", is_over=True))
            return
        if offer.sending is not None:
            if offer.sending.want.token == want.token:
                return  # asked again meanwhile
            offer.sending.is_cancelled = True
            self._say(node, NotSending(want.token, "the connection before it has not ended yet", is_over=False))
            return
        if len(self._sending) >= limits.SNAPSHOT_SENDS:
            self._say(node, NotSending(want.token, "others are sent to already", is_over=False))
            return
        sending = offer.sending = _Sending(offer, want)
        name = f"zraft-send {offer.to}"
        sending.thread = threading.Thread(target=self._push, args=(sending,), name=name, daemon=True)
        self._sending[sending] = None
        self._say(node, Sending(want.token))
        LOG.info("sends snapshot %d of %s to %s", offer.manifest.mark.index, offer.manifest.meta.name, offer.to)
        sending.thread.start()

    def _push(self, sending: _Sending) -> None:
        """In a thread of its own; whatever happens is told."""
        manifest, want = sending.offer.manifest, sending.want
        files = [(file.name, file.size, file.crc) for file in manifest.files]
        error: Exception | None = None
        try:
            send_files(
                want.address,
                want.token,
                self._path_of(manifest),
                files,
                want.positions,
                rate=self._rate,
                is_cancelled=lambda: sending.is_cancelled,
            )
        except ZraftError as failure:
            error = failure
        except Exception as failure:
            LOG.exception("sending a snapshot to %s failed", sending.offer.to)
            error = failure
        self._in_loop(self._pushed, sending, error)

    def _pushed(self, sending: _Sending, error: Exception | None) -> None:
        offer = sending.offer
        self._sending.pop(sending, None)
        offer.sending = None
        index, name = offer.manifest.mark.index, offer.manifest.meta.name
        if error is None:
            LOG.info("snapshot %d of %s was sent to %s", index, name, offer.to)
            return
        LOG.info("snapshot %d of %s was not sent to %s: %s", index, name, offer.to, error)
        is_over = not isinstance(error, TransferError)  # it cannot be read here, or what was wanted makes no sense
        if is_over:
            self._withdraw(offer)
        self._say(offer.to.peer.node, NotSending(sending.want.token, str(error)[:1000], is_over))

    def _withdraw(self, offer: _Offer) -> None:
        self._offers.pop(offer.id, None)
        if offer.sending is not None:
            offer.sending.is_cancelled = True

    def _forget(self, meta: ReplicaMeta) -> None:
        for offer in list(self._offers.values()):
            if offer.manifest.meta.incarnation == meta.incarnation:
                self._withdraw(offer)

    def _say(self, node: str, word: Word) -> None:
        self._speak(node, encode_word(word))

    # -- fetching

    def _begin(self, fetching: _Fetching) -> None:
        self._ask(fetching)
        if self._looking is None:
            self._looking = self._loop.call_later(_LOOK_S, self._guarded, self._look, ())

    def _ask(self, fetching: _Fetching) -> None:
        fetching.asked_at_ms = now_ms()
        if fetching.ticket is not None and not self._is_closed:
            id_, positions = fetching.job.offer[:OFFER_BYTES], fetching.ticket.positions()
            want = WantSnapshot(id_, self._receiver.address, fetching.token, positions)
            self._say(fetching.job.sender.peer.node, want)

    def _look(self) -> None:
        """A moment has passed: who is to be asked again, and what is to be given up?"""
        self._looking = None
        for fetching in list(self._fetching.values()):
            self._look_at(fetching, now_ms())
        if self._fetching and not self._is_closed:
            self._looking = self._loop.call_later(_LOOK_S, self._guarded, self._look, ())

    def _look_at(self, fetching: _Fetching, now: Millis) -> None:
        waiting, sender = fetching.waiting_since_ms, fetching.job.sender
        if fetching.is_given_up:
            return
        if waiting is not None and now - waiting > _COMING_MS:
            self._give_up(
                fetching, TransferError(End.CUT, f"{sender} does not send it{fetching.why}", is_resumable=False)
            )
        elif now - fetching.arrived_at_ms > _STILL_MS:
            self._give_up(
                fetching, TransferError(End.STALLED, f"nothing comes from {sender}{fetching.why}", is_resumable=False)
            )
        elif fetching.failed is not None:
            self._again(fetching)
        elif waiting is not None and now - fetching.asked_at_ms > _ASK_MS:
            self._ask(fetching)

    def _again(self, fetching: _Fetching) -> None:
        """What is missing is to come over another connection."""
        fetching.token = new_token()
        try:
            if fetching.ticket is not None:
                fetching.ticket.renew(fetching.token)
        except Overloaded:
            return  # at the next look
        except ZraftError as error:
            self._finish(fetching, error)
            return
        fetching.failed = None
        self._ask(fetching)

    def _ended(self, fetching: _Fetching, error: ZraftError | None) -> None:
        """The receiver says how the connection ended."""
        if not isinstance(error, TransferError) or not error.is_resumable or fetching.is_given_up:
            self._finish(fetching, fetching.failed if fetching.is_given_up else error)
            return
        if any(name in fetching.damaged for name in error.damaged):
            self._finish(fetching, error)
            return
        if error.damaged:  # these begin anew
            fetching.damaged += error.damaged
            fetching.arrived = 0
        LOG.info("the snapshot from %s is resumed: %s", fetching.job.sender, error)
        fetching.failed, fetching.waiting_since_ms = error, now_ms()

    def _answered(self, node: str, word: NotSending | Sending) -> None:
        """The sender says what it does about the token that is expected; about an older one it does not matter."""
        for fetching in self._fetching.values():
            if fetching.token != word.token or fetching.job.sender.peer.node != node:
                continue
            if isinstance(word, Sending):
                fetching.waiting_since_ms = None
            elif word.is_over:
                error = TransferError(End.REFUSED, f"{node} does not send it: {word.why}", is_resumable=False)
                self._give_up(fetching, error)
                return
            elif fetching.failed is None:
                fetching.waiting_since_ms, fetching.why = now_ms(), f": {word.why}"

    def _cancel(self, number: int) -> None:
        fetching = self._fetching.get(number)
        if fetching is not None:
            self._give_up(fetching, StorageError("given up: its replica was removed, or the node stops"))

    def _give_up(self, fetching: _Fetching, error: ZraftError) -> None:
        """Done once the receiver writes to the folder no more."""
        if fetching.is_given_up:
            return
        is_expected, fetching.is_given_up, fetching.failed = fetching.failed is None, True, error
        if is_expected:
            ending = self._loop.run_in_executor(None, self._receiver.forget, fetching.token)
            self._ending[ending] = fetching.token
            ending.add_done_callback(self._ending.pop)
        else:
            self._finish(fetching, error)

    def _finish(self, fetching: _Fetching, error: ZraftError | None) -> None:
        if self._fetching.pop(fetching.job.number, None) is not None:
            fetching.done(error)
