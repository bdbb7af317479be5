"""What two nodes say to each other about a snapshot that one of them fetches: the payload of a SNAPSHOTS frame.

    follower                                                leader
                     <- InstallSnapshot (a message of peers), which names an offer
    WantSnapshot     ->                                     sends the files to where it says, over the snapshot channel
                     <- Sending; NotSending, where it does not, or not any more

Whoever asks tells where its receiver listens and a token, which opens one connection there.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from zraft.errors import ProtocolError
from zraft.limits import SNAPSHOT_FILES
from zraft.wire.bulk import TOKEN_BYTES

OFFER_BYTES: Final = 16

_Offer = Annotated[bytes, msgspec.Meta(min_length=OFFER_BYTES, max_length=OFFER_BYTES)]
_Token = Annotated[bytes, msgspec.Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]
_Position = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class WantSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """Send the files of the offer to `address`, each from its position on, and open with `token`."""

    offer: _Offer
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    token: _Token
    positions: Annotated[tuple[_Position, ...], msgspec.Meta(max_length=SNAPSHOT_FILES)]


class NotSending(msgspec.Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """What was wanted with `token` is not sent, or not any more. `is_over`: nor will it be, the offer is taken back."""

    token: _Token
    why: Annotated[str, msgspec.Meta(max_length=1000)]
    is_over: bool


class Sending(msgspec.Struct, frozen=True, array_like=True, tag=3, forbid_unknown_fields=True):
    """What was wanted with `token` is on its way, or will be once there is a connection."""

    token: _Token


Word: TypeAlias = WantSnapshot | NotSending | Sending

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Word]] = msgspec.msgpack.Decoder(Word)


def encode_word(word: Word) -> bytes:
    """The payload of a SNAPSHOTS frame."""
    return _ENCODER.encode(word)


def decode_word(payload: bytes) -> Word:
    """What `encode_word` made. Raises `ProtocolError`."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a word about a snapshot: {error}") from error
