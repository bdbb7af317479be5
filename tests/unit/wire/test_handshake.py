"""The handshake: who may speak, as what, with which proof, and that nothing left out is forgiven."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft import limits
from zraft.errors import HandshakeRefused, UsageError
from zraft.wire.frames import FrameKind, encode_frame
from zraft.wire.handshake import MAGIC, Accepting, Dialing, Established, Refusal, Role, Secrets

FUZZ = settings(derandomize=True, max_examples=100, deadline=None, database=None)
A, B = "127.0.0.1:7101", "127.0.0.1:7102"
PREAMBLE = MAGIC + b"\x01\x01"
PAYLOAD_AT = len(PREAMBLE) + 9


@dataclass
class Pair:
    dialer: Dialing
    listener: Accepting
    told: HandshakeRefused | None = None


def pair(
    role: Role = Role.PEER,
    *,
    cluster: str = "c",
    node: str = A,
    to: str = B,
    secret: bytes | None = None,
    secrets: Secrets | None = None,
    full: bool = False,
) -> Pair:
    dialer = Dialing(role=role, cluster=cluster, node=node, to=to, nonce=b"d" * 32, secret=secret)
    listener = Accepting(
        cluster="c", node=B, nonce=b"l" * 32, secrets=secrets or Secrets(), admit=lambda _role: not full
    )
    return Pair(dialer, listener)


def talk(both: Pair) -> None:
    """Until nobody has anything to say, or one refuses; a refusal is delivered first."""
    to_listener = both.dialer.opening()
    while to_listener:
        try:
            to_dialer = both.listener.feed(to_listener)
        except HandshakeRefused:
            with pytest.raises(HandshakeRefused) as told:
                both.dialer.feed(both.listener.farewell)
            both.told = told.value
            raise
        to_listener = both.dialer.feed(to_dialer) if to_dialer else b""


def refused(both: Pair) -> str:
    with pytest.raises(HandshakeRefused) as refusal:
        talk(both)
    assert both.listener.established is None
    assert both.told is not None
    assert both.told.remote
    assert both.told.reason == refusal.value.reason
    return refusal.value.reason


def hello(*fields: object) -> bytes:
    return PREAMBLE + encode_frame(FrameKind.HELLO, msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("secret", [None, b"peers"])
def test_a_peer_with_the_secret_of_the_cluster_is_a_peer(secret: bytes | None) -> None:
    """Both sides know each other's address and the version afterwards."""
    both = pair(secret=secret, secrets=Secrets(cluster=secret))
    talk(both)
    assert both.listener.established == Established(Role.PEER, A, 1)
    assert both.dialer.established == Established(Role.PEER, B, 1)


def test_a_client_with_the_secret_of_clients_is_a_client() -> None:
    """It need not know the address under which the node knows itself."""
    both = pair(Role.CLIENT, node="client", to="localhost:1", secret=b"k", secrets=Secrets(cluster=b"p", client=b"k"))
    talk(both)
    assert both.listener.established == Established(Role.CLIENT, "client", 1)
    assert both.dialer.established == Established(Role.CLIENT, B, 1)


@pytest.mark.parametrize("cap", [limits.FRAME_BYTES_HANDSHAKE, 12 * limits.MIB, (1 << 32) - 1])
def test_the_dialer_hears_what_the_listener_takes(cap: int) -> None:
    """Within the proofs, so that nobody on the way can lower or raise it."""
    both = pair(secret=b"s", secrets=Secrets(cluster=b"s"))
    both.listener = Accepting(cluster="c", node=B, nonce=b"l" * 32, secrets=Secrets(cluster=b"s"), frame_bytes=cap)
    talk(both)
    for established in (both.listener.established, both.dialer.established):
        assert established is not None
        assert established.frame_bytes == cap


def test_the_first_bytes_do_not_change() -> None:
    """Other versions must understand them well enough to be refused politely."""
    both = pair(secret=b"s", secrets=Secrets(cluster=b"s"))
    opening = both.dialer.opening()
    challenge = both.listener.feed(opening)
    proof = both.dialer.feed(challenge)
    welcome = both.listener.feed(proof)
    assert opening.hex() == GOLDEN_OPENING
    assert challenge.hex() == GOLDEN_CHALLENGE
    assert proof.hex() == GOLDEN_PROOF
    assert welcome.hex() == GOLDEN_WELCOME


def test_a_handshake_may_arrive_byte_by_byte() -> None:
    """And nothing is answered before it is complete."""
    both = pair()
    answer = b"".join(both.listener.feed(bytes((byte,))) for byte in both.dialer.opening())
    proof = b"".join(both.dialer.feed(bytes((byte,))) for byte in answer)
    welcome = both.listener.feed(proof)
    assert both.dialer.feed(welcome) == b""
    assert both.dialer.established is not None


def test_what_follows_the_welcome_belongs_to_the_reader() -> None:
    """The listener may speak at once, in frames that a stranger could not send."""
    both = pair()
    proof = both.dialer.feed(both.listener.feed(both.dialer.opening()))
    both.dialer.feed(both.listener.feed(proof) + encode_frame(FrameKind.PEER, b"x" * 5000))
    both.dialer.reader.open(10_000)
    assert both.dialer.reader.feed(b"") == [(FrameKind.PEER, b"x" * 5000)]


@pytest.mark.parametrize(
    ("both", "reason"),
    [
        (pair(cluster="other"), Refusal.CLUSTER),
        (pair(to="127.0.0.1:9999"), Refusal.NODE),
        (pair(node=B), Refusal.NODE),
        (pair(node="not an address"), Refusal.NODE),
        (pair(Role.CLIENT, node="nul\x00"), Refusal.NODE),
        (pair(secret=b"wrong", secrets=Secrets(cluster=b"right")), Refusal.SECRET),
        (pair(secrets=Secrets(cluster=b"right")), Refusal.SECRET),
        (pair(secret=b"unexpected"), Refusal.SECRET),
        (pair(secret=b"k", secrets=Secrets(cluster=b"p", client=b"k")), Refusal.SECRET),
        (pair(Role.CLIENT, secret=b"p", secrets=Secrets(cluster=b"p", client=b"k")), Refusal.SECRET),
        (pair(Role.CLIENT, secrets=Secrets(client=b"k")), Refusal.SECRET),
        (pair(secrets=Secrets(client=b"k")), Refusal.ROLE),
        (pair(full=True), Refusal.BUSY),
        (pair(cluster=""), Refusal.MALFORMED),
        (pair(node=""), Refusal.MALFORMED),
        (pair(to=""), Refusal.MALFORMED),
        (pair(cluster="c" * 256), Refusal.MALFORMED),
    ],
)
def test_the_listener_refuses_and_says_why(both: Pair, reason: Refusal) -> None:
    """Another cluster, node, secret or role; an empty field is a wrong one; a client's secret makes no peer."""
    assert refused(both) == reason


@pytest.mark.parametrize("first", [b"G", b"GET / HTTP/1.1\r\n\r\n", b"ZRAFX\x01\x01", b"\x80\x04\x95", b"\x16\x03\x01"])
def test_who_does_not_know_the_first_bytes_is_told_nothing(first: bytes) -> None:
    """A browser, a pickle, a TLS client, at the first byte that differs."""
    listener = pair().listener
    with pytest.raises(HandshakeRefused) as refusal:
        listener.feed(first)
    assert refusal.value.reason == Refusal.MAGIC
    assert listener.farewell == b""


@pytest.mark.parametrize("versions", [b"\x02\x03", b"\x00\x00", b"\x05\x01"])
def test_versions_that_do_not_meet_are_refused_on_both_sides(versions: bytes) -> None:
    """Also a range that is empty."""
    both = pair()
    with pytest.raises(HandshakeRefused, match="speaks") as refusal:
        both.listener.feed(MAGIC + versions)
    assert refusal.value.reason == Refusal.VERSION
    assert both.listener.farewell.startswith(PREAMBLE)
    with pytest.raises(HandshakeRefused) as refusal:
        both.dialer.feed(MAGIC + versions)
    assert refusal.value.reason == Refusal.VERSION


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (1,),
        (1, "c", A, B),
        (1, "c", A, B, None),
        (1, "c", A, B, b""),
        (1, "c", A, B, b"n" * 31),
        (0, "c", A, B, b"n" * 32),
        (3, "c", A, B, b"n" * 32),
        (None, "c", A, B, b"n" * 32),
        (1, None, A, B, b"n" * 32),
        (1, "c", None, B, b"n" * 32),
        (1, "c", A, None, b"n" * 32),
        (1, "", A, B, b"n" * 32),
        (1, "c", "", B, b"n" * 32),
        (1, "c", A, "", b"n" * 32),
    ],
)
def test_a_missing_or_empty_field_is_a_refusal(fields: tuple[object, ...]) -> None:
    """Never a default that opens the door (CVE-2023-44981)."""
    listener = pair().listener
    with pytest.raises(HandshakeRefused) as refusal:
        listener.feed(hello(*fields))
    assert refusal.value.reason == Refusal.MALFORMED


@pytest.mark.parametrize("kind", [FrameKind.PROOF, FrameKind.WELCOME, FrameKind.REFUSED, FrameKind.PEER, 99])
def test_only_the_frame_whose_turn_it_is_is_taken(kind: int) -> None:
    """A request or a peer's message before the proof ends the connection, unread."""
    with pytest.raises(HandshakeRefused, match="out of turn"):
        pair().listener.feed(PREAMBLE + encode_frame(kind, b"\xc0"))
    both = pair()
    both.listener.feed(both.dialer.opening())
    with pytest.raises(HandshakeRefused):
        both.listener.feed(encode_frame(FrameKind.HELLO, b"\xc0"))


def test_a_welcome_before_the_challenge_is_out_of_turn() -> None:
    """The dialer believes nobody that has not said who it is."""
    with pytest.raises(HandshakeRefused, match="out of turn"):
        pair().dialer.feed(PREAMBLE + encode_frame(FrameKind.WELCOME, msgspec.msgpack.encode([b"m" * 32])))


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        ((2, "c", B, b"l" * 32), Refusal.VERSION),
        ((1, "other", B, b"l" * 32), Refusal.CLUSTER),
        ((1, "c", A, b"l" * 32), Refusal.NODE),
        ((1, "c", B, b"l" * 31), Refusal.MALFORMED),
        ((1, "c", B), Refusal.MALFORMED),
        ((1, "c", B, b"l" * 32, 4095), Refusal.MALFORMED),
        ((1, "c", B, b"l" * 32, 1 << 32), Refusal.MALFORMED),
        ((1, "c", B, b"l" * 32, None), Refusal.MALFORMED),
    ],
)
def test_the_dialer_refuses_an_answer_that_it_did_not_ask_for(challenge: tuple[object, ...], reason: Refusal) -> None:
    """The node that answers must be the one that was dialed, of the same cluster."""
    with pytest.raises(HandshakeRefused) as refusal:
        pair().dialer.feed(PREAMBLE + encode_frame(FrameKind.CHALLENGE, msgspec.msgpack.encode(challenge)))
    assert refusal.value.reason == reason
    assert not refusal.value.remote


def test_a_listener_that_does_not_know_the_secret_is_refused_by_the_dialer() -> None:
    """The proof is mutual: whoever answers in a node's place learns nothing and is not believed."""
    both = pair(secret=b"right", secrets=Secrets(cluster=b"right"))
    both.dialer.feed(both.listener.feed(both.dialer.opening()))
    for mac in (b"m" * 32, b""):
        with pytest.raises(HandshakeRefused):
            both.dialer.feed(encode_frame(FrameKind.WELCOME, msgspec.msgpack.encode([mac])))


def test_a_proof_is_no_welcome() -> None:
    """What the dialer said cannot be sent back to it: the direction is part of the proof."""
    both = pair(secret=b"s", secrets=Secrets(cluster=b"s"))
    proof = both.dialer.feed(both.listener.feed(both.dialer.opening()))
    reflected = encode_frame(FrameKind.WELCOME, proof[9:])
    with pytest.raises(HandshakeRefused) as refusal:
        both.dialer.feed(reflected)
    assert refusal.value.reason == Refusal.SECRET


def test_a_recorded_handshake_is_worth_nothing() -> None:
    """Each side's nonce is in both proofs (S-18)."""
    both = pair(secret=b"s", secrets=Secrets(cluster=b"s"))
    opening = both.dialer.opening()
    proof = both.dialer.feed(both.listener.feed(opening))
    again = Accepting(cluster="c", node=B, nonce=b"m" * 32, secrets=Secrets(cluster=b"s"))
    again.feed(opening)
    with pytest.raises(HandshakeRefused) as refusal:
        again.feed(proof)
    assert refusal.value.reason == Refusal.SECRET


@FUZZ
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_whatever_bit_of_the_hello_is_changed_the_proof_fails(position: int, bit: int) -> None:
    """Role, names, nonce and versions are all bound: a hello changed on the way, checksum mended, admits nobody."""
    both = pair(secret=b"s", secrets=Secrets(cluster=b"s"))
    opening = both.dialer.opening()
    payload = bytearray(opening[PAYLOAD_AT:])
    payload[position % len(payload)] ^= 1 << bit
    try:
        challenge = both.listener.feed(PREAMBLE + encode_frame(FrameKind.HELLO, bytes(payload)))
        both.listener.feed(both.dialer.feed(challenge))
    except HandshakeRefused:
        pass
    assert both.listener.established is None


@FUZZ
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_are_only_ever_refused(data: bytes, after_preamble: bool) -> None:
    """No other exception, and nobody is admitted, on either side."""
    both = pair()
    for side in (both.listener, both.dialer):
        try:
            side.feed(PREAMBLE * after_preamble + data)
        except HandshakeRefused:
            pass
        assert side.established is None


@FUZZ
@given(st.integers(1, 5), st.binary(min_size=1, max_size=300))
def test_well_framed_nonsense_is_only_ever_refused(kind: int, payload: bytes) -> None:
    """The checksum is no obstacle to a stranger, the decoder is."""
    both = pair()
    for side in (both.listener, both.dialer):
        with pytest.raises(HandshakeRefused):
            side.feed(PREAMBLE + encode_frame(kind, payload))
        assert side.established is None


def test_a_refusal_with_a_number_that_is_not_known_is_still_a_refusal() -> None:
    """A newer listener may have reasons that this version has no word for."""
    with pytest.raises(HandshakeRefused) as refusal:
        pair().dialer.feed(PREAMBLE + encode_frame(FrameKind.REFUSED, b"\x91\xcc\xff"))
    assert refusal.value.reason == Refusal.UNKNOWN
    assert refusal.value.remote


def test_a_frame_above_four_kibibytes_is_refused() -> None:
    """Before its bytes have arrived."""
    with pytest.raises(HandshakeRefused, match="4097 bytes"):
        pair().listener.feed(PREAMBLE + b"\x00\x00\x10\x01\x01\x00\x00\x00\x00")


@pytest.mark.parametrize("settings_", [{"cluster": b""}, {"client": b""}, {"cluster": b"same", "client": b"same"}])
def test_secrets_that_protect_nothing_are_a_usage_error(settings_: dict[str, bytes]) -> None:
    """An empty one, or one secret for both roles."""
    with pytest.raises(UsageError):
        Secrets(**settings_)


def test_secrets_are_not_shown() -> None:
    """Neither by repr nor by str."""
    assert "canary" not in f"{Secrets(cluster=b'canary')!r} {Secrets(client=b'canary')}"


def test_misuse_is_a_usage_error() -> None:
    """A short nonce, an empty secret."""
    with pytest.raises(UsageError, match="32 bytes"):
        Accepting(cluster="c", node=B, nonce=b"short", secrets=Secrets())
    with pytest.raises(UsageError, match="empty"):
        Dialing(role=Role.PEER, cluster="c", node=A, to=B, nonce=b"d" * 32, secret=b"")


GOLDEN_OPENING = (
    "5a5241465401010000004401b0f2eb5d9501a163ae3132372e302e302e313a37313031ae3132372e302e302e313a37313032"
    "c4206464646464646464646464646464646464646464646464646464646464646464"
)
GOLDEN_CHALLENGE = (
    "5a524146540101000000350205d6e39a9401a163ae3132372e302e302e313a37313032c4206c6c6c6c6c6c6c6c6c6c6c6c6c"
    "6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6c"
)
GOLDEN_PROOF = "00000023032a86be4e91c420857c8f1f4f25c9029799daadb0075a2fb50386c2147c1f07642680af8081c9f3"
GOLDEN_WELCOME = "00000023041cfcc09c91c420fc51790a0aa22eb68de9c26cc96ee0182ead7ee3726cfdd9a1bd62c8d913c8df"
