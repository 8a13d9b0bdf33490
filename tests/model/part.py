"""What the parts of the model's world have of it: all is there when they are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable

    from tests.model.bias import Bias
    from tests.model.book import Book
    from tests.model.centre import Centre
    from tests.model.edge import Edge
    from tests.model.rules import Rule
    from tests.model.vocabulary import Entry, Link


class Part:
    """Declares what ``World`` makes and more than one of its parts uses."""

    chance: random.Random
    bias: Bias
    now: int
    centre: Centre
    edges: dict[str, Edge]
    clones: dict[str, Edge]
    ghosts: Any  #: ``Ghosts``, which look at the whole world
    up: dict[str, list[Link]]
    down: dict[str, list[Entry]]
    limbo: list[Link]
    open: list[Callable[[], None]]
    backups: list[tuple[int, Book, Counter[str]]]
    count: int
    name: Callable[[str], str]
    note: Callable[[str], None]
    on: Callable[[Rule], bool]
    sequence: Callable[[], None]
    drain_whole: Callable[[Edge], None]
