"""What a task that tries again and again has to look out for."""

from __future__ import annotations

import asyncio


def end_if_cancelled() -> None:
    """Raise CancelledError where the task of now was told to end.

    Libraries make other errors of a cancellation now and then (psycopg an AssertionError, where it
    comes between two steps of a pipeline); who took these for failures that pass would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
