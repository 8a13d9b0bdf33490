"""The campaign on the real stores, and one run of the whole system under faults.

``world.py`` takes the steps of a seed: sites' programs (``programs.py``) write real SQLite stores
(``site.py``), programs of the centre (``clients.py``) write PostgreSQL (``centre.py``), a broker in
this process (``broker.py``) loses, repeats, swaps, delays and refuses, machines are killed and lose
their power at any statement or fsync (``disk.py``), connections are cut anywhere. All between is
the product's own code: the agent's methods, the pump, the ingest's inbox, apply, sequencer, relay's
lanes, control service, snapshots. Left out are the loops around them, which the world steps in
their place: those of the agent, of the relay, and of the ingest's worker, of whose inbox ``_take``
is called: the wait for a hello around it would not end.

``oracle.py`` tells from the order in which the centre took transactions, and from policies that are
written a second time (``verdicts.py``, ``cases.py``), which rows, versions, history, parked rows
and facts must stand; ``sight.py`` watches the sites: what is drained is what programs changed,
based on what had come, and stays in sight until it is decided. ``checks.py`` compares at rest.

``make sim RUNS=2000`` runs many, ``make sim SEED=4711 STORES=1`` one; a run that fails is
shortened, and prints the command that repeats it. Stores go back to older copies and are copied
(rule 19). Servers are started again, and in a fifth of the runs the centre goes back to a backup
(rule 20, ``starts.py``): from then on rows are not foretold any more (``blind.py``), and what must
hold all the same is checked (``afterwards.py``). ``test_restores.py`` tells such runs step by
step, and ``test_stores_that_went_back.py`` those of stores alone.
"""

from __future__ import annotations
