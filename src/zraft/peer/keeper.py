"""Sessions at their leader: who lives, who is to be ended, who waits for what. Nothing of it is in the log.

    SessionQuery       ─> deadline moves ─> ReadIndex round of the turn ─> applied so far ─> answered
    Ping               ─> deadline moves ─> waits for others ─> the same
    SessionWrite       ─> deadline moves ─> the log ─> applied ─> answered by the desk
    silence            ─> deadline passes ─> an entry that ends the session ─> applied ─> gone, and watches fire

A deadline moves when something *arrives*; what is told to the client is told only after a majority has confirmed, later
than that, that this is the leader. So a client that counts from when it sent what was answered is never ahead of the
leader, whichever it is by then: a new one gives every session its full period from when its own first entry is applied,
and serves nobody before (BM-068, BM-070). Only the local monotonic clock counts, never the wall's (BM-071).

A leader whose loop was late may have let pings wait in its sockets: then everybody has a full period again. To know
that it is late it asks to be woken an election timeout before the first deadline, and often from then on.

An idle session costs one place in a heap, moved once in its period; a ping costs a number in a dict, and no entry.
Nobody waits for the answer to a ping, so those that come within PING_WAIT_MS after a round of the majority share the
next one: what a round costs does not grow with the sessions.
"""

from __future__ import annotations

import hmac
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from zraft import limits
from zraft.core.roles import Leader
from zraft.errors import NotLeader, Overloaded, ProtocolError, RequestError, SessionExpired, UsageError
from zraft.peer.desk import Asked
from zraft.peer.duties import Client, Outbox
from zraft.peer.endings import Ending
from zraft.peer.streams import Streams
from zraft.peer.watches import Watches
from zraft.session.items import EXPIRED, STOPPED, end_item, open_item, resume_item, write_item
from zraft.session.outcomes import Outcome
from zraft.session.sessions import GONE, Session, token_digest
from zraft.types import Index, Millis
from zraft.wire.changes import encode_chunk
from zraft.wire.requests import Result, SessionRequest
from zraft.wire.session_requests import (
    Ping,
    ResumeSession,
    SessionQuery,
    SessionWatch,
    SessionWrite,
    StartSession,
    StopSession,
    Unwatch,
)

if TYPE_CHECKING:
    from zraft.peer.peer import Peer

_OfSession: TypeAlias = SessionWrite | SessionQuery | SessionWatch | Unwatch | Ping | StopSession

ENDS_A_TURN: Final = 1024
"""Sessions that one turn ends at most: a cluster that comes back after a day has other things to do, too."""

PING_WAIT_MS: Final = 10
"""Between two rounds for pings; far below any session's period."""


class Keeper:
    """Of one running replica. Everything in it is of the present leadership, and goes with it."""

    __slots__ = (
        "_deadlines",
        "_election_ms",
        "_endings",
        "_heap",
        "_held",
        "_held_bytes",
        "_now",
        "_outbox",
        "_peer",
        "_pings",
        "_pings_due_ms",
        "_proofs",
        "due_ms",
        "is_serving",
        "leads",
        "streams",
        "watches",
    )

    def __init__(self, peer: Peer, outbox: Outbox, election_ms: Millis, *, max_result_bytes: int) -> None:
        self._peer, self._outbox = peer, outbox
        self._election_ms = election_ms
        self.leads = False
        self.is_serving = False
        """An entry of its own term is applied: what it knows of sessions is all there is to know."""
        self.due_ms: Millis | None = None
        """When `turn` is due though nothing happens; None: nobody is waited for."""
        self._now: Millis = 0
        self._deadlines: dict[int, Millis] = {}
        """By session: when its client is taken for dead."""
        self._heap: list[tuple[Millis, int]] = []
        """A deadline of every session that has one, its present one or an earlier one."""
        self._endings: dict[int, Ending] = {}
        self._proofs: dict[int, bytes] = {}
        """By session: the token with which it last wrote. To compare it is cheaper than to make its digest anew."""
        self._held: list[tuple[Asked, SessionRequest]] = []
        """In order of arrival, until it serves."""
        self._held_bytes = 0
        self._pings: list[tuple[Asked, Ping]] = []
        """They have moved their deadlines, and wait for the next round."""
        self._pings_due_ms: Millis = 0
        self.watches = Watches(lambda client, fired: outbox.duties.replies.append((client, fired)))
        self.streams = Streams(
            lambda client, piece: outbox.duties.replies.append((client, piece)), max_bytes=max_result_bytes
        )

    # -- leadership

    def lead(self) -> None:
        """The replica has become leader."""
        self.lose()
        self.leads = True
        self._peer.machine.sessions.collect_news = True

    def lose(self, error: RequestError | None = None) -> None:
        """It leads no longer: whoever waits here has to ask the next one. `error`: what they are told instead."""
        if not self.leads:
            return
        peer = self._peer
        error = error or self._not_leader()
        waiting = [asked for ending in self._endings.values() for asked, _ in ending.waiting]
        for asked in (*waiting, *(asked for asked, _ in self._held), *(asked for asked, _ in self._pings)):
            peer.desk.fail(asked, error)
        self.leads = self.is_serving = False
        self.due_ms = None
        self._held_bytes = 0
        for table in (self._deadlines, self._heap, self._endings, self._held, self._pings, self._proofs):
            table.clear()
        self.watches.close()
        self.streams.close()
        peer.machine.collect_changes = peer.machine.sessions.collect_news = False
        peer.machine.take_changes()
        peer.machine.sessions.take_news()

    def _begin(self, now: Millis) -> None:
        """Serve: everybody has a full period from now on; what was held may go on."""
        self.is_serving = True
        self._peer.machine.sessions.take_news()
        self._grant_all(now)
        held, self._held = self._held, []
        self._held_bytes = 0
        for asked, request in held:
            self.request(now, asked, request)

    def _grant_all(self, now: Millis) -> None:
        """Every session that is not being ended has its full period."""
        self._deadlines = {
            session.id: now + session.timeout_ms
            for session in self._peer.machine.sessions
            if session.id not in self._endings
        }
        self._heap = [(at, session) for session, at in self._deadlines.items()]
        heapify(self._heap)

    # -- the turn

    def turn(self, now: Millis) -> None:
        """The turn begins to end: propose the end of every session whose deadline has passed, and ask for pings."""
        self._now = now
        queries = self._peer.desk.queries
        if self._pings and (queries or now >= self._pings_due_ms):
            queries += self._pings
            self._pings.clear()
            self._pings_due_ms = now + PING_WAIT_MS
        if not self.is_serving or self.due_ms is None:
            return
        if now - self.due_ms > self._election_ms:
            self._grant_all(now)
        self._freshen(now)
        heap, ended = self._heap, 0
        while heap and heap[0][0] <= now and ended < ENDS_A_TURN:
            _, session = heappop(heap)
            del self._deadlines[session]
            self._end(session, EXPIRED)
            ended += 1
            self._freshen(now)

    def _freshen(self, now: Millis) -> None:
        """The first place in the heap is of a present deadline, if it is near at all."""
        heap, deadlines = self._heap, self._deadlines
        near = now + self._election_ms
        while heap and heap[0][0] <= near:
            at, session = heap[0]
            present = deadlines.get(session)
            if present is None:
                heappop(heap)
            elif present == at:
                return
            else:
                heapreplace(heap, (present, session))

    def applied(self, now: Millis) -> None:
        """Entries may have been applied: sessions were opened, keys have changed."""
        machine, role = self._peer.machine, self._peer.raft.role
        if not self.is_serving:
            if type(role) is not Leader or machine.last_applied < role.term_start:
                return
            self._begin(now)
        for session in machine.sessions.take_news():
            if machine.sessions.get(session.id) is session and session.id not in self._endings:
                self._extend(session, now)
        if machine.collect_changes:
            # Also where the last watch went unfired: what changed by now is older than any that comes.
            changes = machine.take_changes()
            self.watches.fire(changes)
            self.streams.fire(changes, machine)
            machine.collect_changes = self.has_clients
        self._freshen(now)
        head = self._heap[0][0] if self._heap else None
        if head is None:
            self.due_ms = None
        elif head > now + self._election_ms:
            self.due_ms = head - self._election_ms
        else:
            self.due_ms = min(head, now + max(self._election_ms // 2, 1))
        if self._pings and (self.due_ms is None or self._pings_due_ms < self.due_ms):
            self.due_ms = self._pings_due_ms

    def _extend(self, session: Session, now: Millis) -> None:
        """Its client was heard of just now."""
        at = now + session.timeout_ms
        if session.id not in self._deadlines:
            heappush(self._heap, (at, session.id))
        self._deadlines[session.id] = at

    def _extend_again(self, digest: bytes, now: Millis) -> None:
        """A session that there is was opened once more, or resumed: its end must not stand behind that in the log."""
        session = self._peer.machine.sessions.of_token(digest)
        if self.is_serving and session is not None and session.id not in self._endings:
            self._extend(session, now)

    # -- requests

    def write(self, now: Millis, asked: Asked, request: SessionWrite) -> None:
        """The same as `request`, without the questions that a write of a session that is known here need not ask."""
        number = request.session
        if not self.is_serving or (session := self._peer.machine.sessions.get(number)) is None:
            self.request(now, asked, request)
            return
        proof = self._proofs.get(number)
        if proof is None or not hmac.compare_digest(proof, request.token):
            if self._proven(asked, request) is None:
                return
            self._proofs[number] = request.token
        if number in self._deadlines:  # and is not being ended: behind that it has the outcome of what stands before
            self._deadlines[number] = now + session.timeout_ms
        elif number not in self._endings:
            self._extend(session, now)
        self._write(asked, request)

    def request(self, now: Millis, asked: Asked, request: SessionRequest) -> None:
        """What a client asks of this leader. A command in it was found sound at the door."""
        desk = self._peer.desk
        match request:
            case _ if not self.leads:
                desk.fail(asked, self._not_leader())
            case StartSession() | ResumeSession():
                digest = token_digest(request.token)
                self._extend_again(digest, now)
                if isinstance(request, StartSession):
                    desk.items.append((asked, open_item(digest, request.timeout_ms)))
                else:
                    desk.items.append((asked, resume_item(digest, request.life, request.session)))
            case _ if not self.is_serving:
                self._hold(asked, request)
            case _ if request.session not in self._peer.machine.sessions:
                # It may have been opened by a newer leader: only a round of the majority can say that it is gone.
                desk.queries.append((asked, request))
            case _:
                session = self._proven(asked, request)
                if session is not None:
                    self._of_session(now, asked, request, session)

    def _hold(self, asked: Asked, request: SessionRequest) -> None:
        size = len(memoryview(request.command)) if isinstance(request, SessionWrite) else 0
        if self._held_bytes + size > limits.UNCOMMITTED_BYTES or len(self._held) >= limits.UNANSWERED_REQUESTS:
            self._peer.desk.fail(asked, Overloaded(reason="queue"))
            return
        self._held_bytes += size
        self._held.append((asked, request))

    def _proven(self, asked: Asked, request: _OfSession) -> Session | None:
        """The session, where the token is its own; otherwise that was answered. It takes as long for any wrong one."""
        session = self._peer.machine.sessions.get(request.session)
        if session is not None and hmac.compare_digest(session.digest, token_digest(request.token)):
            return session
        self._peer.desk.fail(asked, SessionExpired(GONE))
        return None

    def _of_session(self, now: Millis, asked: Asked, request: _OfSession, session: Session) -> None:
        ending = self._endings.get(session.id)
        if isinstance(request, SessionWrite):
            if ending is None:
                self._extend(session, now)
            self._write(asked, request)
        elif isinstance(request, StopSession):
            if ending is None:
                ending = self._end(session.id, STOPPED)
            ending.stops.append(asked)
        elif ending is not None:
            ending.waiting.append((asked, request))
        else:
            self._extend(session, now)
            if isinstance(request, Ping):
                self._pings.append((asked, request))
            else:
                self._peer.desk.queries.append((asked, request))

    def _write(self, asked: Asked, request: SessionWrite) -> None:
        sequence, acknowledged, desk = request.sequence, request.acknowledged, self._peer.desk
        if acknowledged >= sequence:
            desk.fail(asked, RequestError(f"sequence {sequence} comes with an acknowledgement of {acknowledged}"))
        elif sequence - acknowledged > limits.SESSION_UNANSWERED:
            text = f"sequence {sequence} is {sequence - acknowledged} ahead of what is acknowledged"
            desk.fail(asked, Overloaded(text, reason="unanswered"))
        else:
            item = write_item(request.command, request.session, sequence, acknowledged, temporary=request.temporary)
            desk.items.append((asked, item))

    def run(self, now: Millis, asked: Asked, request: SessionRequest) -> None:
        """A majority has confirmed the leader since `request` came, and what was committed then is applied.

        A leadership that went meanwhile may leave the end of a session in its log: nobody is told anything then.
        """
        if not self.is_serving or isinstance(request, StartSession | ResumeSession):
            self.request(now, asked, request)
            return
        session = self._proven(asked, request)
        if session is None:
            return
        if isinstance(request, SessionWrite | StopSession):  # of a session that was not known here when it came
            self._of_session(now, asked, request, session)
        elif session.id in self._endings:
            self._endings[session.id].waiting.append((asked, request))
        elif isinstance(request, Ping):
            self._reply(asked, self._peer.machine.last_applied)
        elif isinstance(request, SessionWatch):
            self._watch(asked, request)
        elif isinstance(request, Unwatch):
            for filing in (self.watches, self.streams):
                filing.forget_numbers(asked[0], request.session, request.watches)
            self._reply(asked, self._peer.machine.last_applied)
        else:
            self._query(asked, request)

    def _query(self, asked: Asked, request: SessionQuery) -> None:
        machine, desk = self._peer.machine, self._peer.desk
        try:
            answer = machine.answer(request.query, watch=request.watch > 0)
            if request.watch:
                self.watches.add(asked[0], request.watch, request.session, answer.watch)
                machine.collect_changes = True
        except RequestError as error:
            desk.fail(asked, error)
        else:
            desk.answer(asked, machine.last_applied, answer.value)

    def _watch(self, asked: Asked, request: SessionWatch) -> None:
        machine = self._peer.machine
        try:
            chunk = self.streams.ask(asked[0], request, machine)
        except (ProtocolError, UsageError) as error:
            self._peer.desk.fail(asked, RequestError(f"not a key: {error}"))
        except RequestError as error:
            self._peer.desk.fail(asked, error)
        else:
            machine.collect_changes = self.has_clients
            value = msgspec.Raw(encode_chunk(chunk))
            self._outbox.duties.replies.append((asked[0], Result(asked[1], chunk.index, value)))

    def _not_leader(self) -> NotLeader:
        leader = self._peer.raft.leader
        return NotLeader(leader=leader.peer if leader is not None else None)

    def _reply(self, asked: Asked, index: Index) -> None:
        self._outbox.duties.replies.append((asked[0], Result(asked[1], index)))

    # -- ends

    def _end(self, session: int, why: str) -> Ending:
        """Propose the end of the session. From now on whatever asks for it waits for the outcome."""
        ending = self._endings[session] = Ending(session, self._over)
        self._deadlines.pop(session, None)
        self._peer.desk.items.append(((ending, session), end_item(session, why)))
        return ending

    def _over(self, ending: Ending, index: Index, outcome: Outcome) -> None:
        """The end was applied, or it was not appended, or this leadership is over and nobody here knows."""
        desk, session = self._peer.desk, ending.session
        is_ours = self._endings.get(session) is ending
        if is_ours:
            del self._endings[session]
        if isinstance(outcome, RequestError):
            for asked in ending.stops:
                desk.fail(asked, outcome)
        else:
            for asked in ending.stops:
                self._reply(asked, index)
        if not is_ours:
            return  # who waited was told when the leadership went
        found = self._peer.machine.sessions.get(session)
        if found is None:
            self._proofs.pop(session, None)
            self.watches.forget_session(session)
            self.streams.forget_session(session)
            for asked, _ in ending.waiting:
                desk.fail(asked, SessionExpired(GONE))
        else:  # refused, for the moment: it lives until it is tried again
            at = self._now + self._election_ms
            self._deadlines[session] = at
            heappush(self._heap, (at, session))
            for asked, request in ending.waiting:
                self.request(self._now, asked, request)

    # -- inspection, and who is gone

    @property
    def has_clients(self) -> bool:
        """Watches are open, or streams set."""
        return self.watches.count + self.streams.count > 0

    def forget(self, client: Client) -> None:
        """The client's connection is gone."""
        self.watches.forget_client(client)
        self.streams.forget_client(client)
