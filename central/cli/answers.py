"""How the answer of a report looks: a table, and below it how fresh it is and what it lacks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from central.cli.look import COLUMNS, local, table
from shared.look import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.reports.answer import Answer

#: Digits of a number, after the point above all; --json and --csv have all of them.
DIGITS: Final = 4


def lines_of(answer: Answer) -> list[str]:
    """Return the lines of an answer, and of what it lacks."""
    lines = _table(answer) if answer.rows else ["no rows"]
    return [*lines, fresh(answer), *lacking(answer)]


def _table(answer: Answer) -> list[str]:
    """Return rows as a table; one row that is too wide for it is told down the page.

    Words give way where that makes lines fit, and nothing is cut where it does not.
    """
    columns = {name: [row[name] for row in answer.rows] for name in answer.columns}
    numbers = [name for name, values in columns.items() if _are_numbers(values)]
    words = [name for name in columns if name not in numbers]
    rows = list(zip(*map(_shown, columns.values()), strict=True))
    whole = table(answer.columns, rows, right=numbers)
    if _fit(whole):
        return whole
    if len(rows) == 1:
        width = max(map(len, columns))
        return [f"{name:<{width}}  {text}" for name, text in zip(columns, rows[0], strict=True)]
    cut = table(answer.columns, rows, shrink=words, right=numbers)
    return cut if _fit(cut) else whole


def _fit(lines: Sequence[str]) -> bool:
    return all(len(line) <= COLUMNS for line in lines)


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


def lacking(answer: Answer) -> list[str]:
    """Return in which respect an answer is not all of it."""
    lines = []
    if answer.cursor:
        lines.append(
            "there are more rows: --limit gives up to 10 000, --cursor goes on with `next` (--json)"
        )
    if aside := answer.archived_not_counted:
        lines.append(f"not counted: {counted(aside, 'month', 'months')} of sites in the archive")
    return lines


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in values
    )


def _shown(values: Sequence[Any]) -> list[str]:
    """Return the cells of a column: numbers with the same digits, so that their points align."""
    if _are_numbers(values):
        known = [value for value in values if value is not None]
        largest = max((abs(value) for value in known), default=0)
        most = max(DIGITS - len(f"{int(largest)}") if largest > 1 else DIGITS, 1)
        digits = max((len(f"{value:.{most}f}".rstrip("0").partition(".")[2]) for value in known),
                     default=0)  # fmt: skip
        return [
            "-" if value is None else f"{value:,.{digits}f}".replace(",", " ") for value in values
        ]
    return [_word(value) for value in values]


def _word(value: Any) -> str:
    if isinstance(value, datetime):
        return local(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
