"""Values of any kind that a message, a map or a catalogue may hold."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

ID: Final = "018f4b7e-0000-7000-8000-000000000001"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
#: What is nearly right: the right kind with a value that no field should take.
numbers = st.sampled_from(
    [0, 1, -1, 2**31, 2**31 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 10**10]
)
odd = st.one_of(
    st.none(), st.booleans(), numbers, st.integers(-5, 5), st.floats(), texts,
    st.binary(max_size=40),
    st.sampled_from([ID, ID.upper(), "", "*", "SITE_001", "SITE_002", "\x00", "x" * 5_000]),
    st.sampled_from([bytes(32), bytes(31), bytes(33), b""]),
)  # fmt: skip
anything = st.recursive(
    odd,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def toml(value: Any) -> str:
    """Return a value as TOML writes it; what TOML has no word for as a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_of(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return key_of("" if value is None else str(value))


def key_of(name: str) -> str:
    """Return a text in quotes."""
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def changed(draw: Any, right: dict[str, Any], others: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Return the fields with some left out, replaced by anything, or added."""
    fields = dict(right)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(right)) | texts) if right else draw(texts)
        if draw(st.integers(0, 3)):
            fields[name] = draw(others)
        else:
            fields.pop(name, None)
    return fields
