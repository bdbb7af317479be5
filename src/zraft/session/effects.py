"""What entries did, and what a machine's state is then, as numbers that replicas compare (BM-119).

The effect of an entry is its outcome and the keys that it changed. Both are there for every backend, so that one that
offers no digest is compared, too. What a backend names in an order of its own, a set perhaps, is put in order first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import google_crc32c
import msgspec

from zraft.errors import BackendError, Rejected, RequestError, TooLarge, UsageError
from zraft.machine.backend import Change
from zraft.session.machine import Changed, ReplicatedMachine
from zraft.session.outcomes import Outcome, attempted, encode_result
from zraft.session.replies import Replayed
from zraft.types import Index
from zraft.wire.values import encode_value

_METHOD: Final = 1
"""Of all numbers here, those of the built-in backends among them: raised where a version counts in another way."""

_MASK: Final = (1 << 63) - 1


def method_of(machine: ReplicatedMachine) -> int:
    """Replicas are compared where this is the same: while a group is upgraded, two versions may count differently."""
    return _METHOD << 32 | machine.backend.version & 0xFFFFFFFF


def effects_of(first: Index, outcomes: Sequence[Outcome], changes: Iterable[Changed]) -> list[int]:
    """A number of 32 bits for each entry from `first` on that has one of these outcomes."""
    changed: dict[Index, list[bytes]] = {}
    for index, keys in changes:
        changed.setdefault(index, []).extend(map(_bytes_of, keys))
    return [
        google_crc32c.value(b"\0".join([_outcome_bytes(outcome), *sorted(changed.get(index, ()))]))
        for index, outcome in enumerate(outcomes, first)
    ]


def _outcome_bytes(outcome: Outcome) -> bytes:
    if type(outcome) is Replayed:
        outcome = outcome.outcome
    try:
        return encode_result(outcome)
    except Rejected as refusal:
        return _bytes_of([refusal.code, refusal.detail])
    except BackendError as error:
        return error.type.encode()
    except RequestError as error:
        return type(error).__name__.encode()


def _bytes_of(value: Any) -> bytes:
    """A key need not be able to travel: what cannot counts by its type only."""
    try:
        return encode_value(value)
    except (UsageError, TooLarge):
        return type(value).__name__.encode()


def digest_of(machine: ReplicatedMachine, changed: Sequence[Any], effects: Sequence[int]) -> int:
    """63 bits over the state at `last_applied`: what of it the backend samples, and what surrounds that.

    `changed` are the keys that the entries with these `effects` changed. Raises `ReplicaFault` where the backend's
    `sample` raises what `FATAL` lists.
    """
    keys = [key.key if type(key) is Change else key for key in changed]
    index = machine.last_applied
    sampled = attempted(f"sample at index {index}", machine.backend.sample, keys, index)
    state = sampled & _MASK if type(sampled) is int else None
    parts = (index, machine.term, machine.time, machine.version, len(machine.sessions), effects, state)
    data = msgspec.msgpack.encode(parts)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") & _MASK
