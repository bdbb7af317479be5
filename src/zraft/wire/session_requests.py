"""What a replicated session's client asks of a leader, what comes back, and what is pushed without being asked for.

    StartSession ─> Result([session, timeout, last])         SessionWrite ─> Result(index, value)
    ResumeSession ─> the same                                SessionQuery ─> Result(index, value) ... Triggered
    Ping ─> Result(index)                                    StopSession ─> Result(index)
    SessionWatch ─> Result(index, chunk), and after one without entries once: Streamed(chunk)
    Unwatch ─> Result(index)

All travel in the same REQUESTS and REPLIES frames as everything else. Each request is answered exactly once, by its
`id`; a `Triggered` bears the number of its watch and follows the Result of the query that set it, in the same stream.
Requests and watches of a connection draw their numbers from one counter, so that no two things under way share one.

Answered to every request here, besides what its own docstring says:

    NOT_LEADER (no)             it does not lead; `leader` is whom it follows. Nothing was done, nothing is kept here
    OVERLOADED (no)             refused before it had any effect: send it again, a write under the same sequence
    OUTCOME_UNKNOWN (maybe)     leadership was lost after it was appended: ask the next leader, under the same sequence
    PEER_UNAVAILABLE (no)       no such peer there, or it is down
    SESSION_EXPIRED (no)        there is no session with this id and this token: it ended, or never was. A wrong token
                                is answered the same. "no" is said of this copy of the request: whoever sent it before
                                cannot know what became of the earlier copy

A fresh leader keeps the requests until its own first entry is applied; then every session has its full timeout again.
The session's deadline at the leader moves with whatever its client asks with the right token, when that *arrives*. A
client counts from when it *sent* what was answered later by a Result, REJECTED or BACKEND_ERROR, and is never later.
While a session is being ended its requests wait for the outcome: SESSION_EXPIRED, or NOT_LEADER where leadership goes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from zraft.errors import ProtocolError
from zraft.limits import MAX_SESSION_TIMEOUT_MS, MAX_TERM
from zraft.wire.changes import Chunk

TOKEN_BYTES: Final = 16

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=MAX_TERM)]
_Session = Annotated[int, msgspec.Meta(ge=1, le=MAX_TERM)]
_Sequence = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
_Acknowledged = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Name = Annotated[str, msgspec.Meta(max_length=64)]
_Token = Annotated[bytes, msgspec.Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]
_Timeout = Annotated[int, msgspec.Meta(ge=1, le=MAX_SESSION_TIMEOUT_MS)]

UNWATCHED_AT_ONCE: Final = 1024
"""Numbers in one `Unwatch`."""

_Watches = Annotated[list[_Number], msgspec.Meta(min_length=1, max_length=UNWATCHED_AT_ONCE)]


class StartSession(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """Open a session that its client proves by `token`, 128 bits that it has drawn and keeps secret.

    Answered by `Result`, whose value `decode_opened` reads. Asked again with the same token while the session lives, it
    answers the same session, with the timeout that it was opened with: a retry is safe. A copy that arrives after the
    end of the session opens another one, which nobody uses and which ends by silence. OVERLOADED with reason "sessions"
    where the group has as many as it may have.
    """

    id: _Number
    peer: _Name
    token: _Token
    timeout_ms: _Timeout


class ResumeSession(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """A client that was restarted goes on with the session that it has the token of. Never opens one.

    Not for a connection that broke: a client that knows its sequences goes on where it was. Answered like StartSession;
    its first write afterwards has sequence `last + 1` and acknowledges `last`. Whatever an earlier life of the client
    has sent and is still under way does not run any more. `life` is a number drawn for this life of the client, the
    same in each retry. `session` is the id that it has to have, 0: any. SESSION_EXPIRED (no) where no living session
    has the token and that id; then nothing has happened to whichever has the token.
    """

    id: _Number
    peer: _Name
    token: _Token
    life: _Sequence
    session: _Index = 0


class SessionWrite(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """Run `command` exactly once, as write number `sequence` of the session (from 1, without gaps, in order).

    The client has the answers of all writes up to `acknowledged`, which is below `sequence`; nobody will ask for them
    again. `temporary`: the data goes when the session ends. Answered by `Result` with the index of the entry that ran
    it, also where that was an earlier copy; then the outcome is that of the earlier copy, REJECTED and BACKEND_ERROR
    included. Further answers:

        OVERLOADED (no), reason "order"        an earlier sequence did not run yet: send again from that one
        OVERLOADED (no), reason "unanswered"   1024 writes, or 16 MiB of replies, are not acknowledged
        REQUEST_ERROR (maybe)                  the client has acknowledged this sequence before, or has resumed since
        REQUEST_ERROR (no), TOO_LARGE (no)     not a command, or one above max_command_size: its sequence did not run,
                                               and is free for another command
    """

    id: _Number
    peer: _Name
    session: _Session
    token: _Token
    sequence: _Sequence
    acknowledged: _Acknowledged
    command: msgspec.Raw
    temporary: bool = False


class SessionQuery(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    """A linearizable query. Answered by `Result` with the index of the state that was read.

    `watch` is 0, or the number of a watch on what the query read: chosen by the client, unique among the open watches
    and unanswered requests of this connection, the query itself included (a watch whose number is used again is
    replaced). It fires once, by `Triggered`, for the first change after
    the state that was read. Only the Result says that it is set. WATCH_NOT_SUPPORTED (no): the backend offers none for
    this query. OVERLOADED (no) with reason "watches": too many are open on this connection, or at this peer.
    """

    id: _Number
    peer: _Name
    session: _Session
    token: _Token
    query: msgspec.Raw
    watch: _Number = 0


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=24, gc=False):
    """The client lives. Answered by `Result` once a majority has confirmed, after it came, that this peer leads."""

    id: _Number
    peer: _Name
    session: _Session
    token: _Token


class StopSession(msgspec.Struct, frozen=True, array_like=True, tag=25, gc=False):
    """End the session: its temporary data goes in the same moment. Answered by `Result` with the index of that entry.

    SESSION_EXPIRED (no): it had ended before, perhaps by an earlier copy of this.
    """

    id: _Number
    peer: _Name
    session: _Session
    token: _Token


class SessionWatch(msgspec.Struct, frozen=True, array_like=True, tag=26, gc=False):
    """The changes of `key`, or of every key that begins so, after the entry at index `after`; None: from now on.

    Answered by `Result`, whose value is a `changes.Chunk` up to its index. Where that has entries the next piece is to
    be asked for. Where it has none the stream is *set*: it gets one `Streamed`, under the number `watch`, when there is
    something to say, and is then set no more. So the client decides how much is on its way, and the leader keeps
    nothing for a client that does not read. While it is set the index of each Result of a `Ping` that follows on this
    connection, before the Streamed, is one up to which nothing was left out.

    `watch` is chosen as that of a query; asked again with the same number it takes the place of the earlier one. LAGGED
    (no): changes after `after` are gone, up to the index that it names. WATCH_NOT_SUPPORTED (no), REJECTED (no): the
    backend reports no changes, or says that this is no key. OVERLOADED (no), reason "watches", as for a query.
    """

    id: _Number
    peer: _Name
    session: _Session
    token: _Token
    watch: _Number
    key: msgspec.Raw
    is_prefix: bool = False
    after: _Index | None = None


class Unwatch(msgspec.Struct, frozen=True, array_like=True, tag=27, gc=False):
    """Nobody wants to know any more of what this session has set under these numbers of the connection.

    Also what was asked for before this and runs later is not set. Answered by `Result`; a trigger that was on its way
    comes before it. Numbers that nothing is set under are no error.
    """

    id: _Number
    peer: _Name
    session: _Session
    token: _Token
    watches: _Watches


class TriggerReason(IntEnum):
    """Why a watch fired."""

    CHANGE = 1
    """What was watched has changed."""
    CHANGE_LEADER = 2
    """The peer leads no longer: it does not see later changes."""


class Triggered(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """Pushed to whoever set watch number `id` on this connection; it is open no more.

    `index` is of the entry that changed something, above that of the state which was read; 0 for CHANGE_LEADER. Where
    the connection is lost, or the session that set it ended, nothing is pushed: the watch is gone with it.
    """

    id: _Number
    index: _Index
    reason: TriggerReason


class Streamed(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """Pushed to the stream that is set under number `id` of this connection: what follows the index it asked for.

    It is set no more: the next piece is to be asked for. A chunk without entries says that nothing changed up to its
    index, or, where that is the index asked for, that there is something to hear by asking: another leader, a refusal.
    """

    id: _Number
    chunk: Chunk


class Opened(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The value of the Result of StartSession and ResumeSession.

    `session` is the id: unique in the group, growing, larger than every index that was committed before.
    """

    session: _Session
    timeout_ms: _Timeout
    last: _Acknowledged = 0
    """Every sequence up to here ran, or never will: the next one to use is one more."""


_OPENED: Final = msgspec.msgpack.Decoder(Opened)


def decode_opened(value: msgspec.Raw | bytes) -> Opened:
    """What StartSession or ResumeSession brought. Raises `ProtocolError`."""
    try:
        return _OPENED.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not what opens a session: {error}") from error
