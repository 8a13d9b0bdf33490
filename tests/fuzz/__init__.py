"""Whatever comes in from outside is taken or refused in words, in bounded time and memory.

``pytest tests/fuzz`` is the short run of ``make test``. ``python -m tests.fuzz`` (``make fuzz``)
goes on with other seeds, each printed and each repeatable.
"""
