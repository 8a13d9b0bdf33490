"""A conflict as a person reads it, at the site and at the centre alike. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from shared.look import painted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.conflicts import Record, Review, Side, When

_CENTRE: Final = "*"


def brief(value: Mapping[str, Any] | None) -> str:
    """Return a side's value in a few characters; a lone column's without its name."""
    if value is None:
        return "-"
    if not value:
        return "deleted"
    return ", ".join("null" if v is None else str(v) for v in value.values())


def in_full(value: Mapping[str, Any] | None) -> str:
    """Return a side's value with the names of its columns."""
    if value is None:
        return "not known"
    if not value:
        return "no row"
    return "  ".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())


def effect(before: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return what a decision changes in the row that stands."""
    return "; ".join(
        f"{name} {json.dumps(before.get(name), ensure_ascii=False)} -> "
        f"{json.dumps(value, ensure_ascii=False)}"
        for name, value in changes.items()
    ) or "nothing, it stands already"  # fmt: skip


def portrait(
    row: str, conflict: Record[When], stands: Mapping[str, Any] | None,
    local: Callable[[When | None], str],
) -> Iterator[str]:  # fmt: skip
    """Yield what each side wrote, what came of it, and what stands; None where no row does.

    ``row`` is its name, ``local`` tells an instant in the time zone of whoever looks.
    """
    state = conflict.state
    said = f"{state}, {conflict.verdict}" if state == "decided" else state
    word = painted(said, "degraded" if state == "open" else "ok")
    yield f"{row}, {conflict.group}: {word}"
    yield f"  base     {in_full(conflict.base)}"
    yield _written("here", conflict.here, local)
    yield _written("central", conflict.central, local)
    if conflict.clock_clamped:
        yield "  clock    one ran ahead and was held to 5 min"
    when = local(conflict.decided_at)
    yield f"  verdict  {conflict.verdict} by policy {conflict.policy}, {when}"
    yield f"  result   {in_full(conflict.result)}"
    names = list(conflict.result or {}) or [*(conflict.here.value or {})]
    named = None if stands is None else {k: v for k, v in stands.items() if k in names}
    yield f"  stands   {'no row' if named is None else in_full(named)}"
    if conflict.review is not None and state != "open":
        yield from _decided(conflict.review, local)


def _written(name: str, side: Side[When], local: Callable[[When | None], str]) -> str:
    where = "at the centre" if side.site in (None, _CENTRE) else f"at {side.site}"
    who = f"by {side.writer} " if side.writer else ""
    when = f"  {local(side.at)}" if side.at else ""
    return f"  {name:<7}  {in_full(side.value)}  {who}{where}{when}"


def _decided(review: Review[When], local: Callable[[When | None], str]) -> Iterator[str]:
    who, when = review.decided_by or "somebody", local(review.decided_at)
    yield f"  decided  {review.take} by {who}, {when}: {review.reason or '-'}"
    yield f"  taken    {in_full(review.value)}"


def resolving(command: str, conflict: Record[Any]) -> str:
    """Return what can be typed to decide, but for the reason."""
    value = "" if conflict.policy == "delete" else "|value=..."
    return f"{command} conflicts resolve {conflict.short} --take here|central{value}"
