"""What keeps a session alive and its requests on their way, whoever leads (§6.3).

    task     one a session, owned by its client: finds who leads and dials, and sleeps while the connection stands
    timer    one a session: pings, the end, silence, timeouts of writes, what is sent again after a pause
    listener replies go from the connection to whoever waits, in the call that brings them

Each connection begins with a request that only the leader of the session answers: the start, and later a ping. What
is unanswered follows in its order. `session_state` decides what lives and what is sent, `triggers` who is told of a
change, `rotation` whom to ask; this file carries it out.
"""

from __future__ import annotations

import asyncio
import secrets as chance
from collections.abc import Callable, Coroutine, Hashable, Sequence
from time import monotonic
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from zraft.client.caller import Caller
from zraft.client.connection import Connection, Expired, Landed
from zraft.client.rotation import SHORTEST_S, Blame, Rotation, blame
from zraft.client.seeking import Seeker
from zraft.client.session_calls import PASSING, UNASKED, Call, Outcome, Resume, Stopping, Told, What, resumed
from zraft.client.session_state import Lifeline, Pending, State, Window
from zraft.client.streaming import ChangeStream, Streams
from zraft.client.waiting import FOREVER, said
from zraft.client.watching import Watching
from zraft.errors import (
    BackendError,
    NoPeers,
    NotLeader,
    Overloaded,
    PeerUnavailable,
    ProtocolError,
    Rejected,
    RequestError,
    RequestTimeout,
    SessionClosed,
    SessionExpired,
    TooLarge,
    UsageError,
)
from zraft.types import PeerId
from zraft.wire.failures import Failed
from zraft.wire.requests import Reply, Result
from zraft.wire.session_requests import (
    Ping,
    ResumeSession,
    SessionQuery,
    SessionWatch,
    SessionWrite,
    StartSession,
    StopSession,
    Streamed,
    Triggered,
    decode_opened,
)

_LIFE_BITS: Final = 62

_Make: TypeAlias = Callable[[Connection, int], SessionQuery | SessionWatch]


class Upkeep:
    """One session, from its start to its end.

    Times are those of `time.monotonic`, which event loops count by, too; but a loop may tell the time of its last turn,
    and after a long one a session has to know that it has expired.
    """

    def __init__(self, caller: Caller, peers: PeerId | Sequence[PeerId], timeout_s: float, resume: Resume) -> None:
        if not peers:
            raise NoPeers("a session needs at least one peer")
        self._caller, self._loop = caller, caller.loop
        self.line = Lifeline(timeout_s, monotonic())
        self._seeker = Seeker(caller, peers, timeout_s)
        self._resumes, self._expected, self.token = resumed(resume)
        self._life = chance.randbits(_LIFE_BITS) + 1
        self.id = 0
        """0 until it has begun."""
        self._window: Window[Call] = Window()
        self.watching = Watching()
        self._streams = Streams()
        self._stopping: Stopping | None = None
        self._peer = self._rotation.leader
        self._connection: Connection | None = None
        """Over which the peer is asked; None: whom to ask is being found out."""
        self._told: dict[int, Told] = {}
        """What this connection has yet to answer, by number, beyond queries."""
        self._pings = 0
        """How many of them prove the session and nothing else."""
        self._paused_until = 0.0
        """What was refused for the moment is sent again then."""
        self._due_at = FOREVER
        """When the first write times out that somebody waits for, or earlier."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = FOREVER
        self._detached = asyncio.Event()
        self._changed: asyncio.Future[None] = self._loop.create_future()
        """Done, and replaced, when the session is connected, is not any more, or is over."""
        self._runner: asyncio.Task[Any] | None = None
        self._is_begun = False

    @property
    def _rotation(self) -> Rotation:
        return self._seeker.rotation

    # -- its life, for its owner

    def begin(self) -> None:
        """From now on there is a task and a timer, until the end."""
        if not self._is_begun:
            self._is_begun = True
            self.line = Lifeline(self.line.timeout_s, monotonic())
            self._caller.spawn(self._run(), f"session of {self._peer}")
            self._arm(self.line.expires_at)

    async def wait_change(self, seconds: float | None = None) -> None:
        """Until its state changes next, or so long."""
        await asyncio.wait([self._changed], timeout=seconds)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs `work` as a task of the session's client."""
        self._caller.spawn(work, name)

    def stop(self) -> None:
        """It ends at the leader, after the writes that are unanswered."""
        if self._stopping is None:
            self._stopping = Stopping()
            self._send()

    def check(self, *, even_stopping: bool = False) -> None:
        """Raises what every call is told once it is over, or before it has begun."""
        if self.is_over():
            raise self.line.error()
        if not self.id:
            raise UsageError("this session has not begun: await it, or use `async with`")
        if self._stopping is not None and not even_stopping:
            raise SessionClosed("this session is being stopped")

    def is_over(self) -> bool:
        """By now at the latest, whether or not the timer came to it."""
        line = self.line
        if self._is_begun and not line.is_over and (now := monotonic()) >= line.expires_at:
            line.check(now, self._rotation.missing(now))
            self._finish()
        return line.is_over

    def state(self) -> State:
        """As users see it, now. Ends nothing, so that any thread may ask."""
        return self.line.state_at(monotonic())

    def end(self, state: State, error: RequestError) -> None:
        """It is over, if it was not before."""
        if not self.line.is_over:
            self.line.end(state, error)
            self._finish()

    # -- requests

    def write(
        self, command: msgspec.Raw, *, temporary: bool, seconds: float, is_bound: bool = True
    ) -> asyncio.Future[Outcome]:
        """What will become of the next write.

        One that is bound raises what `check` does, and `Overloaded` where too many are unanswered; another one goes out
        however that may be.
        """
        now, line = monotonic(), self.line
        if is_bound and (now >= line.expires_at or line.is_over or self._stopping is not None or not self.id):
            self.check()
        deadline = now + seconds
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._window.add(Call(command, future, deadline, seconds), temporary=temporary, is_bound=is_bound)
        if deadline < self._due_at:
            self._due_at = deadline
            self._arm(deadline)
        self._send(now)
        return future

    async def query(self, data: msgspec.Raw, watch: Hashable, seconds: float) -> Result:
        """The answer of whoever leads; with a `watch` that is not None its triggers go to `watching`."""

        def make(connection: Connection, number: int) -> SessionQuery:
            return SessionQuery(connection.draw(), self._peer.name, self.id, self.token, data, number)

        return await self._ask(make, watch, seconds)

    async def ask_stream(self, stream: ChangeStream) -> Result:
        """The next piece of a stream, from whoever leads; however long that takes."""

        def make(connection: Connection, _: int) -> SessionWatch:
            return self._streams.asks(stream, connection, self._peer)

        result = await self._ask(make, None, FOREVER)
        self._arm(self._streams.mark_at(self.line.timeout_s))
        return result

    def unwatch(self, connection: Connection, number: int) -> None:
        """Nobody wants to know any more of what is set, or will be, under this number of the connection."""
        if connection is self._connection:
            self.watching.unwanted.append(number)
            self._send()

    def forget(self, ref: Hashable) -> None:
        """The watches `ref` are nobody's."""
        self.watching.forget_all(ref)
        self._send()

    async def _ask(self, make: _Make, watch: Hashable, seconds: float) -> Result:
        """The answer to what is made for the connection, and for the number of the watch, 0 for none."""
        deadline = monotonic() + seconds
        while True:
            self.check()
            if self._connection is None or not self.line.is_connected:
                await self._wait_connected(deadline, seconds)
                continue
            connection, peer, now = self._connection, self._peer, monotonic()
            self._asks(now)
            future, number = self._put(connection, make, watch, deadline)
            try:
                landed = await future
                if type(landed) is Result:
                    self.line.answered(now)
                    self.watching.opened(number)
                    return landed
            finally:
                if self.watching.forget(number) and (future.cancelled() or not isinstance(future.result(), Failed)):
                    self.unwatch(connection, number)
            if isinstance(landed, Expired):
                raise RequestTimeout(f"{peer} did not answer within {said(seconds)}", executed="no")
            error = self._blamed(connection, connection.error_of(landed))
            if error is None:
                continue
            if isinstance(error, Rejected | BackendError):
                self.line.answered(now)
            error.executed = "no"
            raise error

    def _put(
        self, connection: Connection, make: _Make, watch: Hashable, deadline: float
    ) -> tuple[asyncio.Future[Landed], int]:
        """Sent, with the number of its watch, 0 for none. Raises `Overloaded`, `TooLarge`."""
        number = 0
        if watch is not None:
            number = connection.draw()
            self.watching.ask(number, watch)
        try:
            future = connection.put(make(connection, number), deadline)
        except RequestError:
            self.watching.forget(number)
            raise
        if future is None:
            self.watching.forget(number)
            raise PeerUnavailable("the connection was lost a moment ago")
        return future, number

    async def _wait_connected(self, deadline: float, seconds: float) -> None:
        """Until something about it has changed. Raises `RequestTimeout`, "no"."""
        now = monotonic()
        if now >= deadline:
            raise RequestTimeout(f"{self._rotation.missing(now)} (after {said(seconds)})", executed="no")
        await asyncio.wait([self._changed], timeout=None if deadline == FOREVER else deadline - now)

    # -- what is sent

    def _asks(self, now: float) -> None:
        """Before a request is sent: from when on the peer may be called silent."""
        connection, line = self._connection, self.line
        if connection is not None and not self._told and not connection.owes:
            line.asked(now, owed=False)
            if now + line.patience_s < self._timer_at:
                self._arm(line.silent_at(connection.heard_at))

    def _send(self, now: float | None = None) -> None:
        """Whatever is to be sent and may be, in its order."""
        connection = self._connection
        if connection is None or not self.line.is_connected:
            return
        now = monotonic() if now is None else now
        if now < self._paused_until:
            self._arm(self._paused_until)
            return
        window, name = self._window, self._peer.name
        if self.watching.unwanted and not self.watching.flush(connection, name, self.id, self.token):
            self._pause(0.0)
            return
        while (write := window.next_to_send()) is not None:
            number, known = connection.draw(), window.acknowledged
            request = SessionWrite(
                number, name, self.id, self.token, write.sequence, known, write.call.command, write.temporary
            )
            if not self._told:
                self._asks(now)
            try:
                if not connection.tell(request):  # too much waits to be sent
                    self._pause(0.0)
                    return
            except TooLarge as error:
                self._left_out(write, error)
                continue
            self._told[number] = write, now
            window.sent(write, now)
        stopping = self._stopping
        if stopping is not None and not len(window) and not any(told is stopping for told, _ in self._told.values()):
            request_to_stop = StopSession(connection.draw(), name, self.id, self.token)
            if self._tell(connection, request_to_stop, stopping, now):
                stopping.sent += 1

    def _tell(
        self,
        connection: Connection,
        request: StopSession | StartSession | ResumeSession | Ping,
        told: What,
        now: float,
    ) -> bool:
        """False: too much waits to be sent; it is tried again in a moment."""
        self._asks(now)
        if not connection.tell(request):
            self._pause(0.0)
            return False
        self._told[request.id] = told, now
        return True

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, monotonic() + max(SHORTEST_S, seconds))
        self._arm(self._paused_until)

    def _prove(self) -> None:
        """What the leader of the session answers and nobody else: the start of it, later a ping."""
        connection, name = self._connection, self._peer.name
        if connection is None:
            return
        number = connection.draw()
        request: StartSession | ResumeSession | Ping
        if self.id:
            request = Ping(number, name, self.id, self.token)
        elif self._resumes:
            request = ResumeSession(number, name, self.token, self._life, self._expected)
        else:
            request = StartSession(number, name, self.token, max(1, round(self.line.timeout_s * 1000)))
        if self._tell(connection, request, None, monotonic()):
            self._pings += 1

    # -- what comes back

    def replied(self, reply: Reply) -> None:
        """Called by the connection: a reply to what was told, or a trigger."""
        if type(reply) is Triggered:
            self.watching.fired(reply)
            return
        if type(reply) is Streamed:
            self._streams.pushed(reply)
            return
        told, sent_at = self._told.pop(reply.id, UNASKED)
        connection = self._connection
        if sent_at < 0 or connection is None:
            return
        if type(reply) is Result:
            if isinstance(told, Pending):
                self.line.answered(sent_at)
                self._window.answered(told)
                told.call.end(reply)
            elif told is None:
                self._proven(reply, sent_at)
            elif isinstance(told, Stopping):
                self.end("closed", SessionClosed("this session was stopped"))
            else:
                assert_never(told)
        elif isinstance(reply, Failed):
            self._refused(connection, told, sent_at, connection.error_of(reply))
        else:
            raise ProtocolError(f"a node answered a session with {type(reply).__name__}")
        if self._stopping is not None:
            self._send()

    def _proven(self, reply: Result, sent_at: float) -> None:
        """The peer leads the session."""
        self._pings -= 1
        if not self.id:
            opened = decode_opened(reply.value)
            self.id = opened.session
            self.line.adopt(opened.timeout_ms / 1000)
            self._window = Window(opened.last)
        was_connected = self.line.is_connected
        self._streams.marked(reply.index, monotonic())
        self.line.answered(sent_at)
        self.line.found()
        self._arm(self.line.ping_at)
        if not was_connected:
            self._tell_change()
            self._send()

    def _refused(self, connection: Connection, told: What, sent_at: float, error: RequestError) -> None:
        """What became of a start, a ping, a stop or a write that did not go well."""
        if told is None:
            self._pings -= 1
        if isinstance(told, Pending):
            if isinstance(error, Rejected | BackendError):
                self.line.answered(sent_at)
                self._window.answered(told)
                told.call.end(error)
                return
            if not isinstance(error, PASSING):
                self._not_taken(told, error)
                return
            if not isinstance(error, SessionExpired):
                self._window.refused(told, is_known=error.executed == "no")
        if isinstance(told, Stopping) and isinstance(error, SessionExpired):
            told.sent -= 1
        if isinstance(error, Overloaded) and error.reason == "sessions":
            self.end("closed", error)
        elif isinstance(error, Overloaded | RequestTimeout):
            self._pause(error.retry_after if isinstance(error, Overloaded) and error.reason != "order" else 0.0)
        else:
            found = self._blamed(connection, error)
            if found is not None and not self.line.is_over:
                self.end("closed", found)

    def _not_taken(self, write: Pending[Call], error: RequestError) -> None:
        """No leader runs it: it is none, or the session has gone on elsewhere."""
        if error.executed == "no":
            self._left_out(write, error)
        else:
            self.end("closed", SessionClosed("this session was resumed by another client"))

    def _left_out(self, write: Pending[Call], error: RequestError) -> None:
        """Its number goes to the next write."""
        if write.lost:
            error.executed = "maybe"
        self._window.leave_out(write)
        write.call.end(error)
        if self._window.is_stuck:
            self.end("closed", SessionClosed(f"a write was refused after the leader was lost: {error}"))
        else:
            self._send()

    def _blamed(self, connection: Connection, error: RequestError) -> RequestError | None:
        """The error, if it is the answer; None: the request goes to whoever leads, and the ring has learnt."""
        if isinstance(error, SessionExpired):
            if connection is self._connection:
                if self._stopping is not None and self._stopping.sent:
                    self.end("closed", SessionClosed("this session was stopped"))
                else:
                    self.end("expired", SessionExpired(str(error) or "the session has ended"))
            return error
        whose = blame(error)
        if whose is Blame.NOBODY:
            return error
        if whose is Blame.BUSY:
            self._pause(0.0)
        elif connection is self._connection:
            named = error.leader if isinstance(error, NotLeader) else None
            self._leave(whose, str(error), named)
        return None

    def lost(self, why: str) -> None:
        """Called by the connection: it is gone."""
        self._leave(Blame.ABSENT, why)

    def _leave(self, whose: Blame, why: str, named: PeerId | None = None) -> None:
        """The peer is not the one to ask; the task looks for the one that is. Every open watch fires."""
        now = monotonic()
        if whose is Blame.FOLLOWER:
            self._rotation.not_leader(self._peer, named, now)
        else:
            self._rotation.failed(self._peer, why, now)
        self._detach()

    def _detach(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.listener = None
            self._caller.release(connection)
        self._told, self._pings = {}, 0
        self._window.rewind()
        was_connected = self.line.is_connected
        self.line.lost()
        self.watching.lost()
        self._streams.lost()
        if was_connected:
            self._tell_change()
        if self._window.is_stuck:
            self.end("closed", SessionClosed("the leader was lost while a write that was refused was left out"))
        self._detached.set()

    # -- who leads

    async def _run(self) -> None:
        """Finds the leader and dials, again and again, until the session is over."""
        self._runner = asyncio.current_task()
        try:
            await self._seeker.learn_peers(self.line)
            while not self.line.is_over:
                dialed = await self._seeker.dialed(self.line)
                if dialed is not None:
                    connection, self._peer = dialed
                    self._detached.clear()
                    self._connection, connection.listener = connection, self
                    self._prove()
                    await self._detached.wait()
        except RequestError as error:
            self.end("closed", error)
        finally:
            self._runner = None
            self.end("closed", SessionClosed("the client of this session was closed"))

    # -- time

    def _arm(self, when: float) -> None:
        """The timer goes off then, or earlier."""
        if when < self._timer_at and not self.line.is_over:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = when
            self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        """The timer went off. A bug here ends the client, whose end says so: nobody else would notice."""
        self._timer, self._timer_at = None, FOREVER
        try:
            self._do_what_is_due()
        except Exception as error:
            self._caller.fail(error)

    def _do_what_is_due(self) -> None:
        """And set the timer for what is next."""
        now = monotonic()
        if self.is_over():
            return
        if now >= self._due_at:
            self._time_out(now)
        line, connection = self.line, self._connection
        if connection is not None:
            if (self._told or connection.owes) and now >= line.silent_at(connection.heard_at):
                self._leave(Blame.ABSENT, "no answer")
            else:
                self._keep_up(connection, now)
        self._arm(min(self._due_at, line.expires_at))

    def _keep_up(self, connection: Connection, now: float) -> None:
        """The connection stands: ping, and send what was put off."""
        line = self.line
        if now >= self._paused_until:
            if not self._pings and (
                not line.is_connected or now >= min(line.ping_at, self._streams.mark_at(self.line.timeout_s))
            ):
                self._prove()
            self._send()
        else:
            self._arm(self._paused_until)
        if line.is_connected and not self._pings:
            self._arm(max(min(line.ping_at, self._streams.mark_at(self.line.timeout_s)), self._paused_until))
        if self._told or connection.owes:
            self._arm(line.silent_at(connection.heard_at))

    def _time_out(self, now: float) -> None:
        """Writes whose callers wait no longer are sent nevertheless."""
        self._due_at = FOREVER
        for write in self._window.pending:
            call = write.call
            if call.future.done():
                continue
            if call.deadline <= now:
                what = f"{self._peer} did not answer" if write.is_under_way else self._rotation.missing(now)
                call.end(RequestTimeout(f"{what} within {said(call.seconds)}; the session goes on trying"))
            else:
                self._due_at = min(self._due_at, call.deadline)

    def _finish(self) -> None:
        """Whoever waits for anything is told, and nothing of it is left."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, FOREVER
        for write in self._window.pending:
            write.call.end(self.line.error(write.executed))
        self._window = Window()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.listener = None
            self._caller.release(connection)
        self.watching.end()
        self._streams.lost()
        self._tell_change()
        runner = self._runner
        if runner is not None and runner is not asyncio.current_task():
            runner.cancel()

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, self._loop.create_future()
        changed.set_result(None)
