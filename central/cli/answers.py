"""How the answer of a report looks: a table, and below it how fresh it is and what it lacks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from central.cli.look import COLUMNS, local, table
from shared.look import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.reports.answer import Answer

#: Digits after the point; --json and --csv have all.
DIGITS_MAX: Final = 4


def lines_of(answer: Answer, left_out: int) -> list[str]:
    """Return the lines of an answer that lacks so many archived months."""
    shown = [_shown([row[name] for row in answer.rows]) for name in answer.columns]
    rows = list(zip(*shown, strict=True)) if answer.rows else []
    numbers = [name for name in answer.columns if _are_numbers([row[name] for row in answer.rows])]
    words = [name for name in answer.columns if name not in numbers]
    lines = table(answer.columns, rows, shrink=words, right=numbers)
    if len(rows) == 1 and any(len(line) > COLUMNS for line in lines):
        width = max(map(len, answer.columns))
        lines = [
            f"{name:<{width}}  {text}"
            for name, text in zip(answer.columns, rows[0], strict=True)
        ]  # fmt: skip
    return [*(lines if rows else ["no rows"]), fresh(answer), *lacking(answer, left_out)]


def fresh(answer: Answer) -> str:
    """Return how fresh an answer is, by the site that was heard longest ago."""
    known = answer.complete_through
    unheard = [site for site, at in known.items() if at is None]
    at, site = min(((at, site) for site, at in known.items() if at), default=(None, ""))
    if unheard:
        more = f" and {len(unheard) - 1} more" if len(unheard) > 1 else ""
        through = f"- (nothing came from {unheard[0]}{more})"
    else:
        through = local(at) + (f" ({site}, oldest of {len(known)})" if len(known) > 1 else "")
    parts = [f"as_of {local(answer.as_of)}", f"complete_through {through}"]
    parts += ["provisional"] if answer.provisional else []
    parts += [f"restated_at {local(answer.restated_at)}"] if answer.restated_at else []
    parts += [f"as_known_at {local(answer.as_known_at)}"] if answer.as_known_at else []
    return "  ".join(parts)


def lacking(answer: Answer, left_out: int) -> list[str]:
    """Return in which respect an answer is not all of it."""
    lines = []
    if answer.cursor:
        lines.append(
            "there are more rows: --limit gives up to 10 000, --cursor goes on with `next` (--json)"
        )
    if left_out:
        lines.append(f"not counted: {counted(left_out, 'month', 'months')} of sites in the archive")
    return lines


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in values
    )


def _shown(values: Sequence[Any]) -> list[str]:
    """Return the cells of a column: numbers with the same digits, so that their points align."""
    if _are_numbers(values):
        digits = max((_digits(value) for value in values if value is not None), default=0)
        return [
            "-" if value is None else f"{value:,.{digits}f}".replace(",", " ") for value in values
        ]
    return [_word(value) for value in values]


def _digits(value: float) -> int:
    return len(f"{value:.{DIGITS_MAX}f}".rstrip("0").partition(".")[2])


def _word(value: Any) -> str:
    if isinstance(value, datetime):
        return local(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
