"""A model of the protocol in memory, with a switch for each rule that it follows.

Rules that it does not follow are named in ``REPORT.md``, each with the test that holds it.

With every rule on, no run of any seed may break an invariant; with one rule off, some must: so
neither a rule that nobody needs nor a check that can't fail goes unnoticed. The decisions on rows
are those of the product (``sync.resolve``), everything around them is modelled: two sites with
their agents, a broker that is trusted with nothing, the centre and its backups.

It reads from the rules to the checks: ``rules`` (the switches), ``vocabulary`` (what is said),
``drains``, ``fold`` and ``landing`` (a site), ``edge`` (its handshake), ``decisions``, ``feeds``,
``parking`` and ``centre`` (the centre), ``restores`` and ``handshake`` (who went back, and what
comes home), ``writers``, ``breakage``, ``scenes`` and ``bias`` (what happens), ``ghosts`` (what was
ever written) and ``checks`` (the invariants). What it shows and what it leaves out stands in
``REPORT.md``.

``python -m tests.model --runs 2000 --restores`` runs seeds, ``--off RULE`` shows what a rule is
for, and ``--seed N --trace`` replays a run step by step.
"""
