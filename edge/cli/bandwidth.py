"""``mes-edge bandwidth``: how much of the line the agent may take, changed while it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from edge.beat import read_limit, write_limit
from edge.cli import exits, given, look
from edge.status import looking, read_agent
from shared.errors import BadSetting

if TYPE_CHECKING:
    from pathlib import Path

_RATE: Final = re.compile(r"([1-9][0-9]{0,11})([kMG]?)")
_UNITS: Final = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
#: Less would not even carry the hellos.
LEAST: Final = 1_000


@click.command()
@click.argument("limit", required=False)
@given.store_option
@look.as_json
def bandwidth(*, limit: str | None, store: Path, json_wanted: bool) -> int:
    """Limit what the agent sends, and what it receives, to LIMIT bytes a second.

    LIMIT is a number such as 64000, 256k or 2M, `off` for no limit, or `unset` for the one of
    MES_BYTES_PER_S_MAX. A running agent takes it within a second, and keeps it when it starts anew.
    Without LIMIT, tell which one holds.
    """
    with looking(store):  # there is a store, and it is one of ours
        pass
    if limit is not None:
        write_limit(store, _read(limit))
    chosen, agent = read_limit(store), read_agent(store)
    if json_wanted:
        document = {"schema": "mes-edge.bandwidth/v1", "bytes_per_s_max": chosen}
        look.say_json(document | {"agent_bytes_per_s_max": agent.bytes_per_s_max})
        return exits.OK
    look.say(f"chosen here  {_said(chosen)}")
    if limit is None and agent.running:
        look.say(f"agent keeps  {_said(agent.bytes_per_s_max)}")
    return exits.OK


def _read(text: str) -> int | None:
    if text in ("off", "unset"):
        return 0 if text == "off" else None
    found = _RATE.fullmatch(text)
    rate = int(found[1]) * _UNITS[found[2]] if found else 0
    if rate < LEAST:
        raise BadSetting(
            f"{text}: bytes a second are expected, such as 64000, 256k or 2M and at least"
            f" {LEAST}, or `off`, or `unset`"
        )
    return rate


def _said(bytes_per_s_max: int | None) -> str:
    if bytes_per_s_max is None:
        return "nothing: MES_BYTES_PER_S_MAX holds"
    return f"{look.size(bytes_per_s_max)}/s in each direction" if bytes_per_s_max else "no limit"
