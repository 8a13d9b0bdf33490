"""What the outside sees of a process: one JSON object a log line.

A transaction is followed by its ``tx_id``: the edge logs it when it is drained and when it is sent,
the centre when it is applied, the edge again when its ack comes back, each at the level ``info``.
Where many are sent, applied or acked at once the line names the first and the last of them, and
their numbers ``n``, which have no gaps within a site's epoch, tell those between.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from time import gmtime
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Transactions that one line names each by its id.
NAMED_MAX: Final = 16


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: time, level, event, and the fields given."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        fields |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(fields, ensure_ascii=False, default=str)


def start_logging(level: str, stream: TextIO | None = None) -> None:
    """Send all logs of this process to the stream (standard error by default) as JSON lines."""
    lines = logging.StreamHandler(stream or sys.stderr)
    formatter = JsonLines()
    formatter.converter = gmtime
    lines.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[lines], force=True)
    # The client logs every reconnect with a traceback; the link says it in one line of ours.
    logging.getLogger("nats").setLevel(logging.CRITICAL)


def note(
    logger: logging.Logger, event: str, *, level: int = logging.INFO, **fields: object
) -> None:
    """Log an event with its fields."""
    logger.log(level, event, extra={"fields": fields})


def span(transactions: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Return the fields that name transactions, (n, tx_id) in order; at least one."""
    (first, tx_id), (last, last_id) = transactions[0], transactions[-1]
    if first == last:
        return {"n": first, "tx_id": tx_id}
    few = len(transactions) <= NAMED_MAX
    tx_ids = [each for _, each in transactions] if few else [tx_id, last_id]
    return {"first_n": first, "last_n": last, "tx_ids": tx_ids}
