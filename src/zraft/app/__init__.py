"""Programs for people: the command line, the server, the demonstration.

    cli         `zraft`: finds the command, runs it, turns errors into one line
    advice      what that line says
    options     what commands have in common
    output      values and tables, as text and as JSON
    entries     put, get, delete
    membership  create, status, conf, set-conf, transfer
    dev         a local cluster of server processes
    devfile     how other commands find it
    server      one node in the foreground
    logs        log inspect, log verify
    snapshots   snapshot list, snapshot verify, snapshot restore
    simulation  sim: replay a seed, or run many
    bench, load how fast a group is
    processes   servers as child processes, and ports for them
    writers     writers that remember what was acknowledged
    registers   clients that share keys, and whether what they saw was linearizable
    demo        a cluster that loses its leader, to watch

Each command loads the rooms that it needs when it is run, so that `--help` is fast. Everything but `sim` and the
demonstration needs click.
"""
