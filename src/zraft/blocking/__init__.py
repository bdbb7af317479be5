"""zraft without `async`: for threads, scripts and the REPL.

    Client, LightSession, Session   as in `zraft`, but each call waits in the calling thread
    create, write, query ... as in `zraft`, through one default client of the process
    Node                     a node in a thread of its own: a stalled application does not depose its leaders

    loops      threads with an event loop
    client     `Client`, over the one loop that all clients share
    light      `LightSession`
    session    `Session`
    recipes    what `zraft.recipes` has
    functions  the functions, with the default client
    node       `Node`

Everything may be used from many threads at once. Ctrl-C ends the wait and not the request. A thread is started when it
is first needed, ends when its last user is closed, and at the latest when the interpreter exits. After a fork the child
has nothing of it: it makes clients of its own. No call may be made from a loop's own thread: coroutines use `zraft`.
"""

from __future__ import annotations

from zraft.blocking.client import Client
from zraft.blocking.functions import (
    create,
    ensure,
    get_conf,
    light_session,
    query,
    query_local,
    remove,
    set_new_conf,
    start_session,
    stat,
    transfer_leadership,
    write,
)
from zraft.blocking.light import LightSession
from zraft.blocking.node import Node
from zraft.blocking.session import Session

__all__ = [
    "Client",
    "LightSession",
    "Node",
    "Session",
    "create",
    "ensure",
    "get_conf",
    "light_session",
    "query",
    "query_local",
    "remove",
    "set_new_conf",
    "start_session",
    "stat",
    "transfer_leadership",
    "write",
]
