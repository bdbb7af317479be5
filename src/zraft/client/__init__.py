"""What programs use to talk to nodes: connections, the search for the leader, groups made and changed.

    views          what users are given: `PeerStatus`, `Configuration`, `Answered`
    waiting        timeouts as users write them
    routing        whom to ask next, when to stop, what to say   decides only: no clock, no socket
    connection     one node: requests out, replies to those who wait, deadlines
    caller         every connection of one client, and one request from its first attempt to its answer
    rotation       whom a light session asks next                decides only
    light_session  `LightSession`: the short way to whoever leads, and the long one
    session        `Session`: exactly-once writes, temporary data, watches
    upkeep         one session's connection and clock: pings, the leader, what is sent again
    session_state  what lives, what to send, what is answered  decides only
    session_calls  what a session has asked for and waits for
    triggers       its watches and who is told                 decides only
    watching       those who wait for triggers, as futures
    groups         requests in several steps: make a group, change it, delete peers
    ensuring       a group that is to exist, whoever asks for it
    client         `Client`, the methods that users call
    functions      the same as functions of the package, with one client for each event loop

A request is tried again only while no earlier attempt of it may have run; reads always may be tried again. Whoever is
cancelled abandons the wait and not the request.
"""
