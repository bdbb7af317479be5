"""Who talks to whom: the first bytes of a connection, as two state machines without a socket.

    dialer                                              listener
    "ZRAFT" min max, HELLO(role, cluster, node, to, nonce)  →
                             ←  "ZRAFT" min max, CHALLENGE(version, cluster, node, nonce)
    PROOF(mac)                                          →
                             ←  WELCOME(mac)            or, instead of any answer, REFUSED(reason)

Both sides prove that they know the secret of the dialer's role without sending it: an HMAC-SHA256 over everything that
was said, with the direction in it, so that a proof is worth nothing in another connection, role, cluster or direction.
Peers use the cluster's secret, clients the clients' secret; where none is configured the key is empty and the same
exchange runs, so there is no message that could be left out. A missing or empty field is a refusal, never a default.

A peer proves that it belongs to the cluster, not which of its nodes it is: whoever has the cluster's secret may claim
any node. Frames after the handshake are not authenticated one by one; both need TLS. The 32-byte nonces are passed in.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Annotated, Final, TypeVar

import msgspec

from zraft import limits
from zraft.errors import HandshakeRefused, ProtocolError, UsageError
from zraft.types import PeerId
from zraft.wire.frames import FrameKind, FrameReader, encode_frame

T = TypeVar("T")

MAGIC: Final = b"ZRAFT"
OLDEST_VERSION: Final = 1
NEWEST_VERSION: Final = 1
NONCE_BYTES: Final = 32
MAC_BYTES: Final = 32
_PREAMBLE_BYTES: Final = len(MAGIC) + 2

ANY_CLUSTER: Final = "*"
"""What a client says that takes any cluster: its secret is what admits it. Of a peer it is a name like any other."""


class Role(IntEnum):
    """What the dialer wants to be."""

    PEER = 1
    CLIENT = 2


class Refusal(StrEnum):
    """Why no connection was made. The order is the number on the wire; new ones go to the end."""

    MAGIC = "magic"
    VERSION = "version"
    CLUSTER = "cluster"
    ROLE = "role"
    NODE = "node"
    SECRET = "secret"  # noqa: S105 - a word, not one
    MALFORMED = "malformed"
    BUSY = "busy"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    UNKNOWN = "unknown"


_REFUSALS: Final = tuple(Refusal)

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Nonce = Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
_Mac = Annotated[bytes, msgspec.Meta(min_length=MAC_BYTES, max_length=MAC_BYTES)]
_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Cap = Annotated[int, msgspec.Meta(ge=limits.FRAME_BYTES_HANDSHAKE, le=(1 << 32) - 1)]


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Of the dialer. `node`: its address, or a client's label; `to`: the address that it believes to have dialed."""

    role: Role
    cluster: _Text
    node: _Text
    to: _Text
    nonce: _Nonce


class Challenge(msgspec.Struct, frozen=True, array_like=True):
    """Of the listener: the version to be spoken, its cluster and address, and the largest frame that it takes.

    The last is said only where it is another than the default, so that who does not know of it can be talked to.
    """

    version: _Byte
    cluster: _Text
    node: _Text
    nonce: _Nonce
    frame_bytes: _Cap = limits.FRAME_BYTES


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """The dialer's, and as `WELCOME` the listener's."""

    mac: _Mac


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """The last frame of a listener."""

    reason: _Byte


class Established(msgspec.Struct, frozen=True):
    """Who is at the other end. `node`: its address, or the label that a client gave itself."""

    role: Role
    node: str
    version: int
    frame_bytes: int = limits.FRAME_BYTES
    """The largest frame that the listener takes: told to the dialer, and at the listener its own."""


class Secrets:
    """What a node expects of peers and of clients; None: nothing. Raises `UsageError` for secrets that protect nothing.

    A node with a client secret and without a cluster secret takes no peers: every client could call itself one.
    """

    __slots__ = ("_client", "_cluster")

    def __init__(self, *, cluster: bytes | None = None, client: bytes | None = None) -> None:
        if cluster == b"" or client == b"":
            raise UsageError("a secret must not be empty; leave it out to have none")
        if cluster is not None and cluster == client:
            raise UsageError("cluster_secret and client_secret must differ: a client's must not make it a peer")
        self._cluster, self._client = cluster, client

    def __repr__(self) -> str:
        return "Secrets(...)"

    def admits(self, role: Role) -> bool:
        """The role can be proven, or needs no proof."""
        return role is Role.CLIENT or self._client is None or self._cluster is not None

    def key(self, role: Role) -> bytes:
        """The key of the role's proofs; empty where it needs none."""
        return (self._cluster if role is Role.PEER else self._client) or b""


class _Handshake:
    """What both sides share: the preamble, frames one by one, and the two proofs."""

    __slots__ = ("_cluster", "_head", "_node", "_nonce", "_theirs", "_version", "established", "farewell", "reader")

    def __init__(self, *, cluster: str, node: str, nonce: bytes) -> None:
        if len(nonce) != NONCE_BYTES:
            raise UsageError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
        self._cluster, self._node, self._nonce = cluster, node, nonce
        self._head = b""
        self._theirs = b""
        """The other side's preamble, once it is complete."""
        self._version = 0
        self.established: Established | None = None
        """Set when the handshake is done; whatever follows belongs to `reader`, whose cap is the owner's to raise."""
        self.farewell = b""
        """What to send before closing, once `feed` has raised."""
        self.reader = FrameReader()

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; the bytes to send. Raises `HandshakeRefused`. Not to be called after that or when done."""
        if not self._theirs:
            self._head += data
            if not MAGIC.startswith(self._head[: len(MAGIC)]):
                raise self._refuse(Refusal.MAGIC, "these are not the first bytes of this protocol")
            if len(self._head) < _PREAMBLE_BYTES:
                return b""
            self._theirs, data, self._head = self._head[:_PREAMBLE_BYTES], self._head[_PREAMBLE_BYTES:], b""
            self._version = self._agree(oldest=self._theirs[-2], newest=self._theirs[-1])
        answer = b""
        while self.established is None:
            try:
                frames = self.reader.feed(data)
            except ProtocolError as error:
                raise self._refuse(Refusal.MALFORMED, str(error)) from error
            if not frames:
                break
            answer += self._take(*frames[0])
            data = b""
        return answer

    def _agree(self, *, oldest: int, newest: int) -> int:
        version = min(newest, NEWEST_VERSION)
        if version < max(oldest, OLDEST_VERSION):
            ours = f"{OLDEST_VERSION} to {NEWEST_VERSION}"
            raise self._refuse(Refusal.VERSION, f"the other side speaks {oldest} to {newest}, this one {ours}")
        return version

    def _take(self, kind: int, payload: bytes) -> bytes:
        raise NotImplementedError

    def _refuse(self, reason: Refusal, message: str) -> HandshakeRefused:
        return HandshakeRefused(reason.value, message)

    def _decode(self, type: type[T], payload: bytes) -> T:
        try:
            return msgspec.msgpack.decode(payload, type=type)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._refuse(Refusal.MALFORMED, f"{type.__name__}: {error}") from error

    def _unexpected(self, kind: int) -> HandshakeRefused:
        return self._refuse(Refusal.MALFORMED, f"a frame of type {kind} out of turn")


class Dialing(_Handshake):
    """The side that opens the connection. `opening()` goes out first.

    `node` is the own address as `role` peer, any printable label as client; `to` the address that is dialed.
    """

    __slots__ = ("_expected", "_hello", "_key", "_opening", "_said")

    def __init__(
        self, *, role: Role, cluster: str, node: str, to: str, nonce: bytes, secret: bytes | None = None
    ) -> None:
        super().__init__(cluster=cluster, node=node, nonce=nonce)
        if secret == b"":
            raise UsageError("a secret must not be empty; leave it out to have none")
        self._key = secret or b""
        self._hello = Hello(role, cluster, node, to, nonce)
        self._opening = msgspec.msgpack.encode(self._hello)
        self._said: Challenge | None = None
        self._expected = b""

    def opening(self) -> bytes:
        """The first bytes of the connection."""
        return _PREAMBLE + encode_frame(FrameKind.HELLO, self._opening)

    def _take(self, kind: int, payload: bytes) -> bytes:
        if kind == FrameKind.REFUSED:
            number = self._decode(Refused, payload).reason
            reason = _REFUSALS[number] if number < len(_REFUSALS) else Refusal.UNKNOWN
            raise HandshakeRefused(reason.value, f"said {self._hello.to}", remote=True)
        if self._said is None and kind == FrameKind.CHALLENGE:
            return self._answer(self._decode(Challenge, payload), payload)
        if self._said is not None and kind == FrameKind.WELCOME:
            return self._finish(self._said, self._decode(Proof, payload))
        raise self._unexpected(kind)

    def _answer(self, said: Challenge, challenge: bytes) -> bytes:
        hello = self._hello
        if said.version != self._version:
            raise self._refuse(Refusal.VERSION, f"{said.version} was chosen, not {self._version}")
        if said.cluster != hello.cluster and not _takes_any(hello):
            raise self._refuse(Refusal.CLUSTER, f"{hello.to} is of another cluster")
        if not said.node.isprintable() or (hello.role is Role.PEER and said.node != hello.to):
            raise self._refuse(Refusal.NODE, f"who answers at {hello.to} is another node: {said.node!r}")
        self._said = said
        proof, self._expected = _macs(self._key, (_PREAMBLE, self._opening, self._theirs, challenge))
        return encode_frame(FrameKind.PROOF, msgspec.msgpack.encode(Proof(proof)))

    def _finish(self, said: Challenge, welcome: Proof) -> bytes:
        if not hmac.compare_digest(welcome.mac, self._expected):
            raise self._refuse(Refusal.SECRET, f"{said.node} does not know the secret")
        self.established = Established(self._hello.role, said.node, self._version, said.frame_bytes)
        return b""


class Accepting(_Handshake):
    """The side that was dialed. `node` is its own address; `admit` may refuse a proven role when there is no room.

    `frame_bytes`: the largest frame that it takes afterwards, at least that of a handshake.
    """

    __slots__ = ("_admit", "_expected", "_frame_bytes", "_greeted", "_hello", "_secrets", "_welcome")

    def __init__(
        self,
        *,
        cluster: str,
        node: str,
        nonce: bytes,
        secrets: Secrets,
        admit: Callable[[Role], bool] = lambda _role: True,
        frame_bytes: int = limits.FRAME_BYTES,
    ) -> None:
        super().__init__(cluster=cluster, node=node, nonce=nonce)
        self._frame_bytes = frame_bytes
        self._secrets, self._admit = secrets, admit
        self._hello: Hello | None = None
        self._greeted = False
        self._expected = self._welcome = b""

    def _take(self, kind: int, payload: bytes) -> bytes:
        if self._hello is None and kind == FrameKind.HELLO:
            return self._challenge(self._decode(Hello, payload), payload)
        if self._hello is not None and kind == FrameKind.PROOF:
            return self._verify(self._hello, self._decode(Proof, payload))
        raise self._unexpected(kind)

    def _challenge(self, hello: Hello, opening: bytes) -> bytes:
        if hello.cluster != self._cluster and not _takes_any(hello):
            raise self._refuse(Refusal.CLUSTER, "the dialer is of another cluster")
        if not self._secrets.admits(hello.role):
            raise self._refuse(Refusal.ROLE, "peers need a cluster_secret where clients have a secret")
        if hello.role is Role.PEER and (hello.to != self._node or hello.node == self._node):
            raise self._refuse(Refusal.NODE, f"{hello.node!r} wants {hello.to!r}, this is {self._node}")
        if not (_is_address(hello.node) if hello.role is Role.PEER else hello.node.isprintable()):
            raise self._refuse(Refusal.NODE, f"no {hello.role.name.lower()} is called {hello.node!r}")
        self._hello = hello
        cap = () if self._frame_bytes == limits.FRAME_BYTES else (self._frame_bytes,)
        challenge = msgspec.msgpack.encode((self._version, self._cluster, self._node, self._nonce, *cap))
        said = (self._theirs, opening, _PREAMBLE, challenge)
        self._expected, self._welcome = _macs(self._secrets.key(hello.role), said)
        self._greeted = True
        return _PREAMBLE + encode_frame(FrameKind.CHALLENGE, challenge)

    def _verify(self, hello: Hello, proof: Proof) -> bytes:
        if not hmac.compare_digest(proof.mac, self._expected):
            raise self._refuse(Refusal.SECRET, f"{hello.node} does not know the secret of a {hello.role.name.lower()}")
        if not self._admit(hello.role):
            raise self._refuse(Refusal.BUSY, f"no room for another {hello.role.name.lower()}")
        self.established = Established(hello.role, hello.node, self._version, self._frame_bytes)
        return encode_frame(FrameKind.WELCOME, msgspec.msgpack.encode(Proof(self._welcome)))

    def _refuse(self, reason: Refusal, message: str) -> HandshakeRefused:
        """Who spoke the first bytes right is told the reason's number; who did not is told nothing."""
        if reason is not Refusal.MAGIC:
            refused = msgspec.msgpack.encode(Refused(_REFUSALS.index(reason)))
            preamble = b"" if self._greeted else _PREAMBLE
            self.farewell = preamble + encode_frame(FrameKind.REFUSED, refused)
        return super()._refuse(reason, message)


_PREAMBLE: Final = MAGIC + bytes((OLDEST_VERSION, NEWEST_VERSION))


def _macs(key: bytes, said: tuple[bytes, bytes, bytes, bytes]) -> tuple[bytes, bytes]:
    """The dialer's proof and the listener's, over what both said: preamble and HELLO, preamble and CHALLENGE."""
    proof, welcome = (
        hmac.digest(key, msgspec.msgpack.encode(("zraft handshake", side, *said)), "sha256")
        for side in ("dialer", "listener")
    )
    return proof, welcome


def _takes_any(hello: Hello) -> bool:
    return hello.role is Role.CLIENT and hello.cluster == ANY_CLUSTER


def _is_address(node: str) -> bool:
    try:
        PeerId("peer", node)
    except UsageError:
        return False
    return True
