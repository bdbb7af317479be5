"""Bytes between processes, and nothing else: values, frames, the messages of peers and clients, the handshake.

    values     a user's commands, queries and results                      <-> MessagePack
    frames     length, type, checksum, payload                             <-> a stream of bytes
    peering    many messages of many groups in one frame                   <-> core.messages
    requests   what clients ask and nodes answer, many in one frame        <-> structs
    failures   the errors that travel, with their fields                   <-> zraft.errors
    bulk       the snapshot channel: openings, headers of parts       <-> tokens, positions
    handshake  who talks to whom, before anything else is believed         a state machine without a socket

Everything remote is judged here: what leaves this room as an object is well formed and within its bounds, and what is
not raises `ProtocolError` and changes nothing. Sizes and counts are checked before anything is allocated for them.
The formats are described byte by byte in `docs/formats/wire.md` and `docs/formats/transfer.md`.
"""
