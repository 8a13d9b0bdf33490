"""``mes-sync explain``: what a code means."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

import click

from edge.cli import exits, look
from edge.reasons import PAGES

if TYPE_CHECKING:
    from edge.reasons import Page

_INDENT: Final = " " * 10


@click.command()
@click.argument("code", required=False, type=click.Choice(list(PAGES), case_sensitive=False))
@look.as_json
def explain(*, code: str | None, json_wanted: bool) -> int:
    """Explain a code such as MES-BACKLOG-OLD; without one, list all."""
    pages = [PAGES[code]] if code else list(PAGES.values())
    if json_wanted:
        look.say_json({
            "schema": "mes-sync.explain/v1",
            "codes": [
                {"code": page.code, "title": page.title, "meaning": page.meaning,
                 "todo": page.todo, "shown": page.shown or None}
                for page in pages
            ],
        })  # fmt: skip
    elif code:
        for line in _page(pages[0]):
            look.say(line)
    else:
        for line in look.table(("CODE", "WHAT"), [(page.code, page.title) for page in pages]):
            look.say(line)
    return exits.OK


def _page(page: Page) -> list[str]:
    found = [f"{page.code}: {page.title}"]
    for name, text in (("meaning", page.meaning), ("to do", page.todo), ("shown", page.shown)):
        if text:
            head = f"  {name:<{len(_INDENT) - 2}}"
            found += textwrap.wrap(
                text, look.COLUMNS, initial_indent=head, subsequent_indent=_INDENT,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return found
