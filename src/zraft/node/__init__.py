"""One process, many peers: a `Host` over real sockets, a real disk and real time.

    sockets ──frames──> node.Node ──messages, requests──> peer.Host ──jobs──> disk.RealDisk (writer thread)
       ^                   │  one turn per pass of the event loop                    │
       └──────duties───────┘ <────────────────────── completions ───────────────────┘

Nothing is decided here: `node` carries out duties and tells the host what happened.

    node        the node's life: start, turns, the way down
    timekeeper  when turns happen, and which time they are told: sockets before deadlines
    outlet      a turn's duties leave: messages, answers, log lines
    neighbours  connections to other nodes, as long as somebody needs them
    events      what applications that act when they lead are told
    disk        the Disk port on a real folder
    logs        what a process was told to log, written by a thread of its own
    log_files   files that rotate, and that stop nobody
"""
