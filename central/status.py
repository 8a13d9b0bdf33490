"""How the centre and its sites are: a verdict in words, with reasons and what to type next.

Pure: ``central.picture`` reads what is judged here. A site that is away is no fault of the centre:
it is a plant that works on its own. Critical is what needs a person before anything goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.backups import why_late, why_unended
from central.picture import TOUCHED_MAX
from shared.clock import DRIFT_MAX_MS
from shared.look import lasting
from shared.verdict import Level, Reason, gravest_first, worst
from sync.streams import DOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from central.picture import CentrePicture, Picture, SitePicture

SCHEMA: Final = "mes-central.status/v1"

#: Agents say hello every 15 s; after this they are away.
AWAY: Final = timedelta(minutes=3)
#: How long messages may wait at the broker without a decision.
UNDECIDED_MAX: Final = timedelta(minutes=1)
UNDECIDED_CRITICAL: Final = timedelta(minutes=15)
#: Entries of the feeds that an edge in touch may not have passed yet.
FEED_LAG_MAX: Final = 1_000
#: Share of a site's stream beyond which the broker is soon full.
STREAM_FULL: Final = 0.8


_STREAMS: Final = "mend what it names, then mes-central streams"


# --- what is said of it --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SiteVerdict:
    """A site and what is said of it."""

    picture: SitePicture
    level: Level
    words: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole status, worst site first."""

    picture: Picture
    level: Level
    words: str
    reasons: tuple[Reason, ...] = ()
    sites: tuple[SiteVerdict, ...] = ()


def judge(picture: Picture) -> Verdict:
    """Return the verdict on the centre and each site."""
    sites = [judge_site(site, picture) for site in picture.sites]
    sites.sort(key=lambda each: (-each.level, -len(each.reasons), each.picture.site))
    reasons = (*_centre_reasons(picture.centre), *_backup_reasons(picture))
    level = max([worst(reasons), *(each.level for each in sites)])
    return Verdict(picture, level, _words(reasons, sites), reasons, tuple(sites))


def judge_site(site: SitePicture, picture: Picture) -> SiteVerdict:
    """Return the verdict on one site."""
    reasons = gravest_first(_site_reasons(site, picture))
    return SiteVerdict(site, worst(reasons), _site_words(site, picture.at, reasons), reasons)


def _words(reasons: tuple[Reason, ...], sites: list[SiteVerdict]) -> str:
    if not sites:
        return "no sites are registered"
    if reasons:
        return gravest_first(reasons)[0].message
    bad = sum(site.level > Level.OK for site in sites)
    if not bad:
        return "all sites are in step" if len(sites) > 1 else "the site is in step"
    need = "needs" if bad == 1 else "need"
    return f"{bad} of {counted(len(sites), 'site', 'sites')} {need} a look"


def _site_words(site: SitePicture, now: datetime, reasons: tuple[Reason, ...]) -> str:
    hello = site.hello
    if hello is None:
        return "stopped" if site.stopped_because else "never seen"
    codes = {reason.code for reason in reasons}
    waits = site.backlog is not None and site.backlog.messages > 0
    words = (
        (bool(site.stopped_because or site.claimed_because), "stopped"),
        (now - hello.at > AWAY, "away"),
        (hello.needs_snapshot, "takes a snapshot"),
        (not site.verified, "unverified"),
        (bool(codes & {"MES-UNDECIDED", "MES-FEED-LAG"}), "behind"),
        (bool(codes), "needs a look"),
        (waits or hello.n > site.last_n, "sending"),
    )
    return next((word for applies, word in words if applies), "in step")


# --- reasons of the centre -------------------------------------------------------------------


def _centre_reasons(centre: CentrePicture) -> Iterator[Reason]:
    if not centre.workers:
        yield Reason(
            "MES-NO-INGEST", Level.CRITICAL, "no ingest is running: nothing is decided",
            "mes-central run",
        )  # fmt: skip
    if not centre.feed_runs:
        yield Reason(
            "MES-NO-FEED", Level.CRITICAL, "no feed is running: sites are told nothing",
            "mes-central run",
        )  # fmt: skip
    if centre.broker_away_because:
        yield Reason(
            "MES-BROKER", Level.CRITICAL,
            f"the broker does not answer: {centre.broker_away_because}",
            "start it, or mend MES_NATS_SERVERS and MES_NATS_CREDS; sites go on by themselves",
        )  # fmt: skip
    if centre.stream_refused:
        yield Reason("MES-STREAMS", Level.CRITICAL, f"{DOWN}: {centre.stream_refused}", _STREAMS)
    if centre.touched > TOUCHED_MAX:
        yield Reason(
            "MES-FEED-BEHIND", Level.DEGRADED, f"over {TOUCHED_MAX} changed rows are in no feed yet"
        )
    if not centre.catalogue_is_ours:
        yield Reason(
            "MES-CATALOGUE", Level.DEGRADED,
            f"the database has catalogue {centre.catalogue}, this program another one",
            "mes-central migrate --dry-run",
        )  # fmt: skip


def _backup_reasons(picture: Picture) -> Iterator[Reason]:
    backups, listed = picture.centre.backups, "mes-central backup list"
    if late := why_late(backups, picture.at):
        yield Reason("MES-BACKUP-OLD", Level.DEGRADED, late, listed)
    if unended := why_unended(backups, picture.at):
        yield Reason("MES-BACKUP-UNENDED", Level.DEGRADED, unended, listed)


# --- reasons of a site -----------------------------------------------------------------------


def _site_reasons(site: SitePicture, picture: Picture) -> Iterator[Reason]:
    yield from _link_reasons(site, picture.at)
    yield from _backlog_reasons(site, picture.at)
    yield from _feed_reasons(site, picture)
    yield from _left_reasons(site)


def _link_reasons(site: SitePicture, now: datetime) -> Iterator[Reason]:
    name = site.site
    yield from _store_reasons(site)
    if site.stream_refused:
        yield Reason("MES-STREAMS", Level.CRITICAL, site.stream_refused, _STREAMS)
    if site.hello is None:
        yield Reason(
            "MES-NEVER-SEEN", Level.DEGRADED, f"its agent has not said hello since {_day(site)}",
            f"install the agent; its credentials: mes-central sites list {name}",
        )  # fmt: skip
        return
    if now - site.hello.at > AWAY:
        yield Reason(
            "MES-AWAY", Level.DEGRADED, f"no hello for {age(now - site.hello.at)}",
            "at the site: mes-sync status",
        )  # fmt: skip
    if not site.verified:
        yield Reason(
            "MES-UNVERIFIED", Level.DEGRADED,
            "PostgreSQL was started; what the site sends waits for its hello",
        )  # fmt: skip
    if abs(site.clock_offset_ms) > DRIFT_MAX_MS:
        side = "behind" if site.clock_offset_ms > 0 else "ahead"
        yield Reason(
            "MES-CLOCK", Level.DEGRADED,
            f"its clock is {age(timedelta(milliseconds=abs(site.clock_offset_ms)))} {side}; times "
            "beyond 5 min ahead are held to that bound",
            "at the site: let the host follow a time server",
        )  # fmt: skip


def _store_reasons(site: SitePicture) -> Iterator[Reason]:
    """Give what is wrong with the store that speaks for it."""
    if site.stopped_because:
        yield Reason(
            "MES-STOPPED", Level.CRITICAL, site.stopped_because,
            f"find out which store is the right one, then mes-central sites release {site.site}",
        )  # fmt: skip
    if site.claimed_because:
        yield Reason(
            "MES-TWO-LIVES", Level.CRITICAL, site.claimed_because,
            "at the site: put back the file that stood there before; docs/restores.md",
        )  # fmt: skip
    elif site.claimed_by:
        yield Reason(
            "MES-TWO-STORES", Level.DEGRADED, f"another store speaks for it: {site.claimed_by}",
            "use the right one alone; docs/restores.md",
        )  # fmt: skip


def _day(site: SitePicture) -> str:
    return f"{site.registered_at:%Y-%m-%d}"


def _backlog_reasons(site: SitePicture, now: datetime) -> Iterator[Reason]:
    backlog = site.backlog
    if backlog is None or site.stopped_because:
        return
    since = now - (site.decided_at or site.registered_at)
    if backlog.messages and since > UNDECIDED_MAX:
        level = Level.CRITICAL if since > UNDECIDED_CRITICAL else Level.DEGRADED
        who = f"worker {site.worker}" if site.worker else "no worker has the site"
        yield Reason(
            "MES-UNDECIDED", level,
            f"{counted(backlog.messages, 'message waits', 'messages wait')}, nothing decided for"
            f" {age(since)} ({who})",
            "look for errors in the log of mes-central ingest",
        )  # fmt: skip
    if backlog.filled > STREAM_FULL:
        yield Reason(
            "MES-STREAM-FULL", Level.DEGRADED,
            f"its stream is {backlog.filled:.0%} full; a full one refuses, and the edge keeps",
            "is the ingest behind? mes-central status",
        )  # fmt: skip


def _feed_reasons(site: SitePicture, picture: Picture) -> Iterator[Reason]:
    lag = site.feed_lag(picture.centre.shared_pos)
    hello = site.hello
    if lag is None or hello is None or hello.needs_snapshot or picture.at - hello.at > AWAY:
        return  # who is away is behind, and that is said already
    if lag > FEED_LAG_MAX:
        yield Reason(
            "MES-FEED-LAG", Level.DEGRADED, f"{lag} entries of the feed are still to be taken",
            "at the site: mes-sync status",
        )  # fmt: skip


def _left_reasons(site: SitePicture) -> Iterator[Reason]:
    """Give what waits for a person."""
    name = site.site
    if site.reviews_open:
        waiting = counted(site.reviews_open, "conflict waits", "conflicts wait")
        yield Reason(
            "MES-REVIEWS", Level.DEGRADED, f"{waiting} for a person",
            f"mes-central conflicts list --open --site {name}",
        )  # fmt: skip
    if site.parked:
        yield Reason(
            "MES-PARKED", Level.DEGRADED,
            f"{counted(site.parked, 'row', 'rows')} could not be applied",
            f"mes-central parked list --site {name}",
        )  # fmt: skip
    if site.withheld:
        yield Reason(
            "MES-WITHHELD", Level.DEGRADED,
            f"{counted(site.withheld, 'row', 'rows')} of others that it told of did not come home",
            f"mes-central withheld list --site {name}",
        )  # fmt: skip
    if site.differing:
        yield Reason(
            "MES-DIFFERS", Level.DEGRADED,
            f"{counted(site.differing, 'row differs', 'rows differ')} from what the centre has",
            f"mes-central verify --site {name} --repair",
        )  # fmt: skip
    yield from _sums_reasons(site)
    if site.refused:
        yield Reason(
            "MES-REFUSED", Level.DEGRADED,
            f"{counted(site.refused, 'message', 'messages')} of the last day could not be read",
            f"mes-central refused list --site {name}",
        )  # fmt: skip


def _sums_reasons(site: SitePicture) -> Iterator[Reason]:
    name = site.site
    if site.sums_differing:
        yield Reason(
            "MES-SUMS", Level.DEGRADED,
            f"{counted(site.sums_differing, 'sum', 'sums')} of reports differ from the facts",
            f"mes-central rollups verify --site {name}, then with --repair",
        )  # fmt: skip
    if site.sums_why:
        yield Reason(
            "MES-SUMS-UNSEEN", Level.DEGRADED,
            f"the sums of reports could not be held against the facts: {site.sums_why}",
            f"mes-central rollups verify --site {name}",
        )  # fmt: skip


def counted(count: int, one: str, many: str) -> str:
    """Return a number with what is counted."""
    return f"{count} {one if count == 1 else many}"


def age(span: timedelta) -> str:
    """Return a span of time in its two largest units: ``12 s``, ``3 min 10 s``, ``2 h 46 min``."""
    return lasting(max(0, int(span.total_seconds())))


# --- as a document ---------------------------------------------------------------------------


def document(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON-ready values; within v1 fields are only added."""
    picture = verdict.picture
    return {
        "schema": SCHEMA,
        "generated_at": picture.at,
        "status": verdict.level.word,
        "exit_code": int(verdict.level),
        "verdict": verdict.words,
        "reasons": _listed(verdict),
        "centre": asdict(picture.centre) | {"broker": not picture.centre.broker_away_because},
        "sites": [_site_document(site, picture.centre) for site in verdict.sites],
    }


def _listed(verdict: Verdict) -> list[dict[str, Any]]:
    own = [_reason(reason) | {"site": None} for reason in verdict.reasons]
    return own + [
        _reason(reason) | {"site": site.picture.site}
        for site in verdict.sites
        for reason in site.reasons
    ]


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "code": reason.code,
        "severity": reason.level.word,
        "message": reason.message,
        "hint": reason.hint,
    }


def _site_document(verdict: SiteVerdict, centre: CentrePicture) -> dict[str, Any]:
    site = verdict.picture
    return asdict(site) | {
        "status": verdict.level.word,
        "verdict": verdict.words,
        "reasons": [_reason(reason) for reason in verdict.reasons],
        "feed_lag": site.feed_lag(centre.shared_pos),
        #: Transactions that the edge still keeps, since no backup holds them yet.
        "unsafe": max(0, site.last_n - site.safe_n),
    }
