"""The exam of a backend: what a replicated state machine must hold to, tried on anybody's `Backend` (BM-119).

    exam        what is asked, in which order;  report    what came of it
    script      the commands as a log, as a leader would make it
    trial       a machine that is taken through a script, and what is written down of it
    view        a backend's state as numbers, field by field
    rules       refusals, queries, watches, hooks;  shots     snapshots
    guard       clocks, chance and their like, seen in the moment in which they are asked
    reading     the order of sets, as far as a source shows it
    processes   the same in processes with another hash seed, time zone and locale: the only file that meets the world

A backend that passes has shown nothing wrong with these commands. So give it commands that do everything that it can.
"""
