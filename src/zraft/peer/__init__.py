"""One node's replicas without any I/O: what the core wants becomes ordered work, what was done becomes events.

    requests, messages, completions ──> host.Host ──> per replica: peer.Peer (core + machine), desk.Desk (clients)
                                             │        at the door: admin.Admin; who does not run: down
                                             └──> duties.Duties: messages to send, replies, notes, the next deadline
                                             └──> storage.Store: jobs for the Disk port, shared by all replicas

`node` runs a `Host` over sockets and a real disk, `sim` over simulated ones: the same object, byte for byte. The rule
that makes it safe stands in `peer.Peer`: nothing is sent before the save that it promises is reported durable (§3.8).
"""
