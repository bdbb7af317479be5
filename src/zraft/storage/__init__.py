"""The data of one node on disk: a journal and two state files, decided here, performed by a Disk port.

Relies on the disk doing what `disk` says and on nothing else. Guarantees that what `SaveDone` reported is there after
any crash, in order and without a hole, or that the replica is at fault (D1 to D6). Leaves snapshots to others.

    store         the door: what is collected, the next job, what a completion means
    logs          one replica: its promises, its log, which records a change needs
    journal       records get their number and place            records   one record as bytes
    segments      the files of the journal                      index     where each batch stands
    cleaning      old segments are emptied                      reading   batches back, verified
    scan          torn or rotten: a verdict on every byte       replay    what the records add up to
    recovery      from what a crash left to a clean folder      hard_state   the two state files
    inspect       the same for people                           disk, replica   the vocabulary

Every byte, and what a crash can leave of it: docs/formats/disk.md.
"""
