"""The project's streams and durable consumers as data, and the step that makes a broker have them.

Nothing here is ever lost for good: a stream is a pipe, and what it held stays with the sender until
the receiver has committed it. So a stream that was wiped is simply declared again.

The JSON is built here, field by field, because nats-py drops fields that it does not know when it
reads a configuration, and would reset them when it writes it back.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from shared.errors import BrokerUnreachable, ConsumerGone, Fatal, Transient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECOND: Final = 1_000_000_000  # JetStream counts in nanoseconds
_DAY_S: Final = 24 * 3600
_API_TIMEOUT_S: Final = 5.0

#: Marks one life of a stream: another value means that it was wiped and declared again.
EPOCH: Final = "mes_epoch"
DOWN: Final = "DOWN"
#: The durable of the centre on the stream of each site.
APPLY: Final = "apply"

#: What JetStream never changes on an existing stream or durable.
_FIXED: Final = frozenset(
    {"storage", "ack_policy", "deliver_policy", "replay_policy", "durable_name", "max_waiting"}
)

_NAME_IN_USE: Final = 10058

Config = dict[str, Any]


class StreamRefused(Fatal):
    """The broker refuses the stream or durable as it is wanted."""


class StreamUnavailable(BrokerUnreachable):
    """The broker answers that it can't do this now: it elects a leader, or has no room for it."""


class Asker(Protocol):
    """What can put a question to the broker."""

    async def request(self, subject: str, payload: bytes, *, timeout_s: float = ...) -> bytes:
        """Return the answer."""
        ...


#: Messages that a site has sent before purging begins: one must be left.
_PURGE_MIN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What the streams may hold."""

    #: Bytes of one site's upstream. Reserved at once, so the sum must fit the broker's `max_file`.
    up_bytes_max: int = 1 << 30
    down_bytes_max: int = 1 << 30
    #: Longer than the worst outage of the centre plus the interval of its backups.
    age_max_s: int = 14 * _DAY_S
    #: One message with its headers; equal to the broker's own max_payload.
    message_bytes_max: int = 1 << 20
    apply_ack_pending_max: int = 5000
    site_ack_pending_max: int = 1000
    ack_wait_s: int = 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Streams by name, and durables by stream and name, as JetStream configurations."""

    streams: Mapping[str, Config]
    durables: Mapping[tuple[str, str], Config]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the broker is not as wanted."""

    kind: Literal["missing", "differs", "fixed", "extra"]
    #: `UP_ROT` or `UP_ROT/apply`.
    name: str
    #: Field, what the broker has, what is wanted.
    fields: tuple[tuple[str, Any, Any], ...] = ()
    #: Why it stays as it is; empty where it was mended, or nothing was tried.
    refused: str = ""

    def __str__(self) -> str:
        """Return the difference as one line for an operator."""
        changes = ", ".join(f"{field}: {is_!r} -> {want!r}" for field, is_, want in self.fields)
        words = {
            "missing": f"+ {self.name}",
            "differs": f"~ {self.name}  {changes}",
            "fixed": f"! {self.name}  {changes}  (can't be changed)",
            "extra": f"? {self.name}  (not ours to have; delete it if the site is gone)",
        }
        return words[self.kind] + (f"  REFUSED {self.refused}" if self.refused else "")


def up_stream(site: str) -> str:
    """Return the name of the stream that a site fills."""
    return f"UP_{site}"


def site_durable(site: str) -> str:
    """Return the name of the durable by which a site reads DOWN."""
    return f"site-{site}"


def desired(
    sites: Iterable[str], *, replicas: int = 1, limits: StreamLimits | None = None
) -> Layout:
    """Return what a broker of these sites must have."""
    limits = limits or StreamLimits()
    streams = {DOWN: _stream(DOWN, ["down.>"], limits.down_bytes_max, replicas, limits)}
    durables = {}
    for site in sorted(sites):
        up = up_stream(site)
        streams[up] = _stream(up, [f"up.{site}.>"], limits.up_bytes_max, replicas, limits)
        durables[up, APPLY] = _durable(APPLY, [], limits.apply_ack_pending_max, limits)
        filters = [f"down.{site}", "down.all"]
        name = site_durable(site)
        durables[DOWN, name] = _durable(name, filters, limits.site_ack_pending_max, limits)
    return Layout(streams, durables)


def _stream(
    name: str, subjects: list[str], bytes_max: int, replicas: int, limits: StreamLimits
) -> Config:
    return {
        "name": name,
        "subjects": subjects,
        "storage": "file",
        "retention": "limits",
        # What goes up is refused when the stream is full, never dropped. What goes down may be: the
        # edges fetch what they miss from the database.
        "discard": "old" if name == DOWN else "new",
        "max_age": limits.age_max_s * _SECOND,
        "duplicate_window": _SECOND,  # nothing of ours uses it
        "max_bytes": bytes_max,
        "max_msg_size": limits.message_bytes_max,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_consumers": -1,
        "num_replicas": replicas,
        "compression": "s2",
        "allow_atomic": True,
        "deny_delete": True,
        # A site must be able neither to purge nor to schedule by a header.
        "allow_rollup_hdrs": False,
        "allow_msg_ttl": False,
        "allow_msg_schedules": False,
        "allow_msg_counter": False,
    }


def _durable(name: str, filters: list[str], ack_pending_max: int, limits: StreamLimits) -> Config:
    return {
        "durable_name": name,
        "name": name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": limits.ack_wait_s * _SECOND,
        "max_deliver": -1,  # what can't be applied is parked by the receiver, not dropped here
        "max_ack_pending": ack_pending_max,
    } | ({"filter_subjects": filters} if filters else {})


# --- comparing ------------------------------------------------------------------------------


def diff(current: Layout, wanted: Layout) -> list[Difference]:
    """Return in what a broker differs from what is wanted, in the order to mend it."""
    found = _diff_kind(current.streams, wanted.streams)
    extra_streams = {name for name in current.streams if name not in wanted.streams}
    ours = {key: config for key, config in current.durables.items() if key[0] not in extra_streams}
    return found + _diff_kind(_by_path(ours), _by_path(wanted.durables))


def _by_path(durables: Mapping[tuple[str, str], Config]) -> dict[str, Config]:
    return {f"{stream}/{name}": config for (stream, name), config in durables.items()}


def _diff_kind(current: Mapping[str, Config], wanted: Mapping[str, Config]) -> list[Difference]:
    differences = []
    for name, want in wanted.items():
        if name not in current:
            differences.append(Difference("missing", name))
        elif fields := _fields_that_differ(current[name], want):
            fixed = any(_is_fixed(field, is_) for field, is_, _ in fields)
            differences.append(Difference("fixed" if fixed else "differs", name, fields))
    differences += [Difference("extra", name) for name in current if name not in wanted]
    return differences


def _fields_that_differ(current: Config, want: Config) -> tuple[tuple[str, Any, Any], ...]:
    # The broker leaves out what is false or empty, and adds what we do not ask for.
    return tuple(
        (field, current.get(field), value)
        for field, value in want.items()
        if (current.get(field) or None) != (value or None)
    )


def _is_fixed(field: str, is_: object) -> bool:
    return field in _FIXED or (field in {"deny_delete", "allow_msg_ttl"} and bool(is_))


# --- making it so ---------------------------------------------------------------------------


async def provision(asker: Asker, layout: Layout, *, dry_run: bool = False) -> list[Difference]:
    """Make the broker have the layout; return what differed before. Harmless to repeat.

    What the broker refuses is returned as refused, and all else is mended nevertheless. Raises
    BrokerUnreachable, at once where it does not answer, at the end where it says "not now".
    Streams that are not in the layout are reported and left alone.
    """
    current = await read_layout(asker)
    differences = diff(current, layout)
    if dry_run:
        return differences
    done: list[Difference] = []
    absent: set[str] = set()
    passing: Transient | None = None
    for each in differences:
        stream, _, durable = each.name.partition("/")
        if durable and stream in absent:
            continue  # said of the stream already
        try:
            mended = await _mended(asker, current, layout, each)
        except (StreamUnavailable, ConsumerGone) as why:
            passing, mended = passing or why, replace(each, refused=str(why))
        if mended.refused and each.kind == "missing":
            absent.add(each.name)
        done.append(mended)
    if passing is not None:
        raise passing
    return done


async def _mended(
    asker: Asker, current: Layout, layout: Layout, difference: Difference
) -> Difference:
    """Mend a difference, where it can be, and return it with why it could not be."""
    if difference.kind == "fixed":
        return replace(difference, refused=_DELETE_IT)
    if difference.kind == "extra":
        return difference
    try:
        await _mend(asker, current, layout, difference)
    except StreamRefused as why:
        return replace(difference, refused=str(why))
    return difference


_DELETE_IT: Final = (
    "Delete it (nats stream rm, or nats consumer rm), it is made again: the senders still hold what"
    " was not applied, and send it again"
)


async def _mend(asker: Asker, current: Layout, layout: Layout, difference: Difference) -> None:
    stream, _, durable = difference.name.partition("/")
    create = difference.kind == "missing"
    if durable:
        config = current.durables.get((stream, durable), {}) | layout.durables[stream, durable]
        order = {
            "stream_name": stream,
            "config": config,
            "action": "create" if create else "update",
        }
        await _api(asker, f"CONSUMER.CREATE.{stream}.{durable}", order)
        return
    config = current.streams.get(stream, {"metadata": {EPOCH: str(uuid.uuid4())}})
    verb = "CREATE" if create else "UPDATE"
    await _api(asker, f"STREAM.{verb}.{stream}", config | layout.streams[stream])


async def purge_applied(asker: Asker, site: str) -> int:
    """Drop what the centre has applied from a site's stream; return the number of messages.

    The site keeps its own copy until it is safe, so the stream need not. The last message stays:
    its sequence is what the site's next batch is held against.
    """
    stream = up_stream(site)
    consumer = await _api(asker, f"CONSUMER.INFO.{stream}.{APPLY}", {})
    applied = int(consumer["ack_floor"]["stream_seq"])
    if applied < _PURGE_MIN:
        return 0
    purged = await _api(asker, f"STREAM.PURGE.{stream}", {"seq": applied})
    return int(purged["purged"])


async def redeliver(asker: Asker, site: str) -> bool:
    """Have what is with a worker that is gone delivered again at once, not after its wait.

    Also what would still come to it: the requests of one that stands still go on taking messages,
    every second of them, until they expire. The durable is made anew with its own settings; what
    was applied is skipped when it comes again.
    """
    stream = up_stream(site)
    consumer = await _api(asker, f"CONSUMER.INFO.{stream}.{APPLY}", {})
    if not consumer["num_ack_pending"] and not consumer["num_waiting"]:
        return False
    await _api(asker, f"CONSUMER.DELETE.{stream}.{APPLY}", {})
    order = {"stream_name": stream, "config": consumer["config"], "action": "create"}
    await _api(asker, f"CONSUMER.CREATE.{stream}.{APPLY}", order)
    return True


async def read_layout(asker: Asker) -> Layout:
    """Return the streams of ours that the broker has, and their durables."""
    streams: dict[str, Config] = {}
    durables: dict[tuple[str, str], Config] = {}
    for stream in await _listed(asker, "STREAM.LIST", "streams"):
        config = stream["config"]
        name = config["name"]
        if name == DOWN or name.startswith("UP_"):
            streams[name] = config
            for consumer in await _listed(asker, f"CONSUMER.LIST.{name}", "consumers"):
                if "durable_name" in consumer["config"]:
                    durables[name, consumer["name"]] = consumer["config"]
    return Layout(streams, durables)


async def stream_epoch(asker: Asker, stream: str) -> str:
    """Return which life of the stream this is."""
    answer = await _api(asker, f"STREAM.INFO.{stream}", {})
    return str(answer["config"].get("metadata", {}).get(EPOCH, answer["created"]))


async def _listed(asker: Asker, subject: str, kind: str) -> list[Config]:
    found: list[Config] = []
    while True:
        page = await _api(asker, subject, {"offset": len(found)})
        found += page.get(kind) or []
        if len(found) >= page.get("total", 0) or not page.get(kind):
            return found


async def _api(asker: Asker, subject: str, order: Config) -> Config:
    text = json.dumps(order).encode()
    raw = await asker.request(f"$JS.API.{subject}", text, timeout_s=_API_TIMEOUT_S)
    answer: Config = json.loads(raw)
    if refusal := answer.get("error"):
        raise _refused(subject, refusal)
    return answer


def _refused(subject: str, refusal: Config) -> Fatal | Transient:
    code, text = refusal.get("err_code"), refusal.get("description")
    # 10058: a stream that it has, and did not list: a cluster that has just lost a node does so.
    if refusal.get("code") == 503 or code == _NAME_IN_USE:
        return StreamUnavailable(f"{subject}: {text}")
    if refusal.get("code") == 404:
        return ConsumerGone(f"{subject}: {text}")
    if code == 10047:
        return StreamRefused(
            f"{subject}: {text}. The streams' max_bytes are reserved: lower them, or raise the"
            " broker's max_file"
        )
    if code == 10074:
        return StreamRefused(f"{subject}: {text}. Replicas need a cluster of as many servers")
    return StreamRefused(f"{subject}: {text} ({code})")
