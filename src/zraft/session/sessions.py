"""The replicated sessions of a group (§6.3): which there are, which of their writes ran, and what was answered.

A function of the log alone, the same on every replica and in every snapshot: nothing here knows a clock or a
connection. The id of a session is the index of the entry that opened it; its token is known by its digest only, so that
nobody learns it from a disk.

    sequences   1 ... acknowledged | acknowledged + 1 ... last | last + 1       | last + 2 ...
    a write     ran, asked no more | answered again            | runs           | out of order

A capture holds the very objects, and copies none. Whoever is about to change one that was captured puts another in its
place first; there is no end to tell of, what nobody reads any more is gone by itself.

Deviates from §6.3: pings are no entries and time is not replicated for them; a session ends by an entry that its leader
proposes. And a session holds the replies until they are acknowledged, bounded in number and bytes, never by age.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Final, TypeVar

import msgspec

from zraft.errors import Overloaded, ReplicaFault, RequestError, SessionExpired
from zraft.limits import (
    MAX_SESSION_TIMEOUT_MS,
    MAX_TERM,
    SESSION_REPLIES_BYTES,
    SESSION_UNANSWERED,
    SESSIONS,
)
from zraft.session.items import TEMPORARY, Marks
from zraft.session.outcomes import Outcome
from zraft.session.replies import Kept, Replayed, outcome_of
from zraft.types import Index, Millis

_Digest = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Timeout = Annotated[int, msgspec.Meta(ge=1, le=MAX_SESSION_TIMEOUT_MS)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_TERM)]

GONE: Final = "there is no session with this id and this token: it ended, or never was"


def token_digest(token: bytes) -> bytes:
    """What is stored of a token: enough to know it again, nothing to learn it from."""
    return hashlib.blake2b(token, digest_size=16, person=b"zraft session").digest()


class _Resume(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The command of an entry that resumes; `session` is 0 where any id will do."""

    digest: _Digest
    life: _Number
    session: _Number = 0


class SavedSession(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A session as it stands in a snapshot, held still."""

    id: _Id
    digest: _Digest
    timeout_ms: _Timeout
    last: _Number
    acknowledged: _Number
    life: _Number
    replies: tuple[Kept, ...]


class Session:
    """One session. `replies` are those of the sequences from `acknowledged + 1` to `last`, in order."""

    __slots__ = ("acknowledged", "captures", "digest", "id", "last", "life", "replies", "replies_bytes", "timeout_ms")

    def __init__(self, id: int, digest: bytes, timeout_ms: Millis, captures: int = 0) -> None:
        self.id, self.digest, self.timeout_ms = id, digest, timeout_ms
        self.captures = captures
        """There were so many before it: where there are more by now, it was captured and stays as it is."""
        self.last = self.acknowledged = 0
        self.life = 0
        """The number of the client's life that resumed it last; 0: nobody has."""
        self.replies: dict[int, Kept] = {}
        self.replies_bytes = 0

    def acknowledge(self, sequence: int) -> None:
        """The client has every answer up to `sequence`."""
        if sequence >= self.last:
            self.replies.clear()
            self.acknowledged, self.replies_bytes = self.last, 0
            return
        pop, size = self.replies.pop, 0
        for known in range(self.acknowledged + 1, sequence + 1):
            size += len(pop(known).data)
        self.acknowledged = max(self.acknowledged, sequence)
        self.replies_bytes -= size

    def keep(self, reply: Kept) -> None:
        """The next sequence ran, and this is its reply."""
        self.last = last = self.last + 1
        self.replies[last] = reply
        self.replies_bytes += len(reply.data)

    def resume(self, life: int) -> None:
        """Whatever an earlier life of the client has under way is at most so many sequences ahead: none runs now."""
        if life == self.life:
            return
        self.life = life
        self.replies.clear()
        self.replies_bytes = 0
        self.last = self.acknowledged = self.last + SESSION_UNANSWERED

    def renewed(self, captures: int) -> Session:
        """Another one that is alike, to go on with."""
        session = Session(self.id, self.digest, self.timeout_ms, captures)
        session.last, session.acknowledged, session.life = self.last, self.acknowledged, self.life
        session.replies, session.replies_bytes = self.replies.copy(), self.replies_bytes
        return session

    def saved(self) -> SavedSession:
        """The session as it is now, whatever happens to it later."""
        replies = tuple(self.replies.values())
        return SavedSession(self.id, self.digest, self.timeout_ms, self.last, self.acknowledged, self.life, replies)

    def opened(self) -> list[int]:
        """What its client is told when it opens or resumes it: `wire.session_requests.Opened`."""
        return [self.id, self.timeout_ms, self.last]


class Sessions:
    """All sessions of a group, in the order of their ids.

    `collect_news` is set at a leader: only then is it kept which sessions were opened, or opened again.
    """

    __slots__ = ("_by_digest", "_by_id", "_captures", "_news", "collect_news", "most")

    def __init__(self) -> None:
        self._by_id: dict[int, Session] = {}
        self._by_digest: dict[bytes, Session] = {}
        self._news: list[Session] = []
        self._captures = 0
        self.collect_news = False
        self.most = SESSIONS
        """Lowered by tests of this bound; the same at every replica, or they diverge."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_id.values())

    def __contains__(self, id: int) -> bool:
        return id in self._by_id

    def get(self, id: int) -> Session | None:
        """The living session of this id."""
        return self._by_id.get(id)

    def of_token(self, digest: bytes) -> Session | None:
        """The living session of the token with this digest."""
        return self._by_digest.get(digest)

    def take_news(self) -> list[Session]:
        """The sessions opened, or asked to be opened again or resumed, since the last call; some may have ended."""
        news, self._news = self._news, []
        return news

    # -- what entries do

    def open(self, index: Index, command: msgspec.Raw) -> Outcome:
        """The entry at `index` opens a session, unless its token has one: then it is the same session."""
        digest, timeout_ms = _decoded(_OPEN, command, index)
        session = self._by_digest.get(digest)
        if session is None:
            if len(self._by_id) >= self.most:
                return Overloaded(f"the group has {self.most} sessions", reason="sessions", retry_after=1.0)
            session = Session(index, digest, timeout_ms, self._captures)
            self._by_id[index] = self._by_digest[digest] = session
        elif session.captures != self._captures:
            session = self._renewed(session)
        self._tell(session)
        return session.opened()

    def resume(self, index: Index, command: msgspec.Raw) -> Outcome:
        """The entry at `index` goes on with the session of its token in a new life of the client."""
        resume = _decoded(_RESUME, command, index)
        session = self._by_digest.get(resume.digest)
        if session is None or resume.session not in (0, session.id):
            return SessionExpired(GONE)
        if session.captures != self._captures:
            session = self._renewed(session)
        session.resume(resume.life)
        self._tell(session)
        return session.opened()

    def next_write(self, marks: Marks) -> Session | None:
        """The session, where these are the marks of the write that it runs next, as nearly all are; None: see `admit`.

        What the client has acknowledged is forgotten.
        """
        session = self._by_id.get(marks.session)
        if session is None:
            return None
        if session.captures != self._captures:
            session = self._renewed(session)
        last, acknowledged = session.last, marks.acknowledged
        if marks.sequence != last + 1 or not 0 <= marks.flags <= TEMPORARY or not 0 <= acknowledged <= last:
            return None
        if acknowledged > session.acknowledged:
            session.acknowledge(acknowledged)
        if last - session.acknowledged >= SESSION_UNANSWERED or session.replies_bytes >= SESSION_REPLIES_BYTES:
            return None
        return session

    def admit(self, id: int, sequence: int, acknowledged: int) -> Session | Outcome:
        """The session, where its write `sequence` is to run now; otherwise the outcome that this copy of it has."""
        session = self._by_id.get(id)
        if session is None:
            return SessionExpired(GONE)
        if session.captures != self._captures:
            session = self._renewed(session)
        if acknowledged > session.acknowledged:
            session.acknowledge(acknowledged)
        if sequence <= session.acknowledged:
            text = f"sequence {sequence} of session {id}: up to {session.acknowledged} its client has acknowledged"
            return RequestError(text, executed="maybe")
        if sequence <= session.last:
            reply = session.replies[sequence]
            return Replayed(reply.index, outcome_of(reply))
        if sequence > session.last + 1:
            return Overloaded(f"sequence {sequence} of session {id}: {session.last + 1} is missing", reason="order")
        if session.last - session.acknowledged >= SESSION_UNANSWERED or session.replies_bytes >= SESSION_REPLIES_BYTES:
            return Overloaded(f"session {id} has not acknowledged {len(session.replies)} replies", reason="unanswered")
        return session

    def end(self, id: int) -> bool:
        """The session and its replies are gone. False: there was none."""
        session = self._by_id.pop(id, None)
        if session is None:
            return False
        del self._by_digest[session.digest]
        return True

    def _renewed(self, session: Session) -> Session:
        """What takes the place of one that was captured."""
        fresh = self._by_id[session.id] = self._by_digest[session.digest] = session.renewed(self._captures)
        return fresh

    def _tell(self, session: Session) -> None:
        if self.collect_news:
            self._news.append(session)

    # -- snapshots and comparison

    def capture(self) -> list[Session]:
        """Every session as it is now; none of these changes any more."""
        self._captures += 1
        return list(self._by_id.values())

    def saved(self) -> list[SavedSession]:
        """The same as values, to be compared: 1 µs for each."""
        return [session.saved() for session in self._by_id.values()]

    def install(self, saved: SavedSession) -> None:
        """One session out of a snapshot. Raises ValueError, TypeError or ProtocolError where it cannot stand there."""
        is_new = saved.id not in self._by_id and saved.digest not in self._by_digest
        is_in_order = not self._by_id or saved.id > next(reversed(self._by_id))
        if not (is_new and is_in_order) or saved.last - saved.acknowledged != len(saved.replies):
            raise ValueError(f"session {saved.id} with {len(saved.replies)} replies up to {saved.last}")
        session = Session(saved.id, saved.digest, saved.timeout_ms)
        session.acknowledged = session.last = saved.acknowledged
        session.life = saved.life
        for reply in saved.replies:
            outcome_of(reply)
            session.keep(reply)
        self._by_id[saved.id] = self._by_digest[saved.digest] = session

    def digest(self) -> int:
        """A number over all of it: the sum of a 64-bit hash of every session. 0 where there is none."""
        return sum(_hash(session.saved()) for session in self._by_id.values()) & ((1 << 64) - 1)


_ENCODER: Final = msgspec.msgpack.Encoder()
_OPEN: Final[msgspec.msgpack.Decoder[tuple[bytes, int]]] = msgspec.msgpack.Decoder(tuple[_Digest, _Timeout])
_RESUME: Final = msgspec.msgpack.Decoder(_Resume)

_T = TypeVar("_T")


def _decoded(decoder: msgspec.msgpack.Decoder[_T], command: msgspec.Raw, index: Index) -> _T:
    try:
        return decoder.decode(command)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ReplicaFault(f"the entry at index {index} opens no session in a way that is known here") from error


def _hash(saved: SavedSession) -> int:
    return int.from_bytes(hashlib.blake2b(_ENCODER.encode(saved), digest_size=8).digest(), "big")
