"""A model of the protocol in memory, with a switch for each of its rules.

With every rule on, no run of any seed may break an invariant; with one rule off, some must: so
neither a rule that nobody needs nor a check that can't fail goes unnoticed. The decisions on rows
are those of the product (``sync.resolve``), everything around them is modelled.

Half done: of the first 2,000 seeds four still break an invariant, and of the rules only those in
``test_model.NEEDED`` were seen to be needed. Restores and clones (``Breakage.of_a_restore``) are in
the model, but runs with them still break invariants: partly by mistakes of the model, partly since
the protocol has no answer yet (a copy with undrained writes counts a sum twice). They are left out
unless asked for.

``python -m tests.model --runs 2000`` runs seeds, ``--off RULE`` shows what a rule is for, and
``--seed N --trace`` replays a run, step by step; ``--restores`` adds those.
"""
