"""Mutants: the product with one rule broken by hand, and the tests that have to notice.

``python -m tests.mutants`` (``make mutants``) breaks a copy of the tree, one mutant at a time, and
runs the tests that are named beside it. A mutant that no test kills is a promise that nobody holds:
the missing test is to be written, the mutant never made easier.
"""
