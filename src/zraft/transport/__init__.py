"""Connections between processes: made, proven, kept, bounded, closed.

    address   "host:port" as text
    counters  what happened, as numbers
    link      one connection: the handshake, frames in, frames out
    listener  accepts links
    dialer    makes one link, or keeps one up
    bulk      files of snapshots, over sockets and threads of their own: bulk_send, bulk_door, bulk_stream, bulk_landing

What a frame means is nobody's business here. Nothing waits without a bound and a rule for when it is reached:

| what                               | bound                       | beyond it                                  |
|------------------------------------|-----------------------------|--------------------------------------------|
| connections within the handshake   | UNAUTHENTICATED_CONNECTIONS | the oldest is closed                       |
| a handshake                        | HANDSHAKE_MS                | closed                                     |
| clients, peers                     | CLIENT_, PEER_CONNECTIONS   | refused as busy, after the proof           |
| bytes that wait to be sent         | LINK_BYTES in each lane     | `send` says no, a client's link is not read |
| a frame                            | `frame_bytes`               | closed before it is read                   |
| bytes that the other side leaves   | STALLED_MS                  | the kernel closes                          |
| strangers to the snapshot channel  | BULK_STRANGERS              | the oldest is closed                       |
| transfers that are expected        | BULK_TRANSFERS              | `Overloaded`                               |
| a transfer without progress        | STALLED_MS                  | ends, to be resumed                        |
| received bytes not on the disk yet | BULK_UNSYNCED_BYTES         | receiving waits                            |

A connection is authenticated when it begins; its frames are checked against damage, not against malice (that is TLS).
Links work on asyncio and on uvloop. Every task has an owner that awaits it; an error that nobody expected is handed to
`failed` of the owner's handlers, never only printed.
"""
