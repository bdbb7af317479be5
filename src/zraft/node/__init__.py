"""One process, many peers: a `Host` over real sockets, a real disk and real time.

    sockets ──frames──> node.Node ──messages, requests──> peer.Host ──jobs──> disk.RealDisk (writer thread)
       ^                   │  one turn per pass of the event loop                    │
       └──────duties───────┘ <────────────────────── completions ───────────────────┘

Nothing is decided here: `node` carries out duties and tells the host what happened.
"""
