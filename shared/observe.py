"""What the outside sees of a process: one JSON object a log line.

A transaction is followed by its ``tx_id`` (and site, epoch, n): the edge logs it when it is drained
and sent, the centre when it is applied, the edge again when its ack comes back.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from time import gmtime
from typing import TextIO


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
