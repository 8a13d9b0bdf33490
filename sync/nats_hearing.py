"""Whether a broker is of use: one cut off from the others answers pings, and decides nothing.

What counts is JetStream. The centre may answer over such a broker, where it is connected to the
same one, and may be down where the broker is in order.
"""

from __future__ import annotations

from typing import Final

from sync.nats_errors import is_undecided

#: What begins the subjects of questions that the centre answers, and not JetStream.
_OF_THE_CENTRE: Final = "ctl."


class Hearing:
    """What JetStream answered of what one connection asked; times are of the loop's clock."""

    def __init__(self, gap_max_s: float) -> None:
        self._gap_max_s = gap_max_s
        self._heard_at = float("-inf")
        self._since: float | None = None
        self._until = float("-inf")

    @property
    def deaf_s(self) -> float:
        """For how long questions were asked in vain: from when the first was put, to the last."""
        return 0.0 if self._since is None else self._until - self._since

    def note(self, subject: str, answer: bytes | None, asked_at: float, now: float) -> None:
        """See what came of a question, None for no answer.

        Others may have been answered since it was asked. And where none was asked for long after
        one that was lost, nobody knows whether it would have been.
        """
        if subject.startswith(_OF_THE_CENTRE):
            return
        if answer is not None and not is_undecided(answer):
            self._heard_at, self._since = now, None
            return
        if self._since is None or asked_at > self._until + self._gap_max_s:
            self._since = max(asked_at, self._heard_at)
        self._until = now
