"""From when until when a machine was in each state, as far as that is known, by its events.

Pure. A state holds from its event's ``since`` until the next event of that machine. What holds last
is known until the moment through which the site is complete (``sync.complete_through``), and not
until now: what a site that is behind has done meanwhile nobody knows, and time that nobody knows is
in no state. Nor is time before the first event of a machine.

Of several events of one machine at one instant the one with the greatest id counts, which ids
of version 7 make the one that was noted last. So a wrong event is corrected by another one with its
``since``; the table has no other correction. An event that repeats the state goes on with it.

Months in the archive are not read. Nothing is known of them, nor of what a machine went into
before and was in through them: the state ends where such a month begins, and the next event after
it is the first that is known again. A month is that of ``since`` here; ``created_at``, by which
months are archived, is the same moment.

The state in which a window begins may be months old. It is looked up for each machine by the index
``equipment_state_events_latest``, one look a month of its site; the same index tells of
which machines there are events, known ones or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.reports.annotated import annotated_steps
from central.reports.clipped import bound
from central.reports.dimensions import DIMENSIONS, JOINS
from central.reports.paging import literals
from central.reports.planned import planned_time
from central.reports.question import BadQuestion, By, Match
from central.reports.statement import condition
from central.reports.time_model import ELEMENT, IS_FAILURE, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from central.reports.paging import Statement
    from central.reports.question import Filter, Question

TABLE: Final = "equipment_state_events"
#: What machines can be grouped and filtered by; what they are known by is looked up once for each.
OF_MACHINES: Final = ("site", "region", "line", "machine", "machine_class")
#: Days of a window.
DAYS_MAX: Final = 400

_MACHINE: Final = (
    "SELECT e.equipment_id FROM mes.equipment_state_events AS e WHERE e.site_id = {of}.site_id"
    " AND e.site_id IN ({sites}){after} ORDER BY e.equipment_id LIMIT 1"
)
_EVENT: Final = (
    "SELECT e.state, e.source, e.reason_code, e.since, e.id FROM mes.equipment_state_events AS e"
    " WHERE e.site_id = n.site_id AND e.site_id IN ({sites})"
    " AND e.equipment_id = n.equipment_id AND e.since {when}"
)


def check_window(question: Question) -> None:
    """Raise BadQuestion where a window has no end, or is too long to be cut."""
    window = question.window
    if window.start is None or window.end is None:
        raise BadQuestion("from", "a day or an instant, and in `to` the one after the last")
    if (window.end - window.start).days > DAYS_MAX:
        raise BadQuestion("to", f"at most {DAYS_MAX} days after from")


def span_steps(
    question: Question, groups: Iterable[str], made: Statement, *, with_plan: bool = False
) -> list[str]:
    """Return the steps of a statement (``WITH RECURSIVE``) that end in ``n`` and ``h``.

    ``n`` is each machine with its names (``by_…``) and what is ``known`` of its site, as far as the
    filters of machines leave it; with its planned time within the window (``planned``) where that
    is asked for. ``h`` is each of its states: ``begins`` and ``ends`` within what is known,
    ``since``, and whether the machine went into it (``enters``), or into a failure (``fails``),
    then. Where the reason that counts changes within a state that is one for each part, which
    begins at ``starts``.
    """
    sites = _asked(question)
    before = _EVENT.format(sites=sites, when="< lower(n.known)")
    within = _EVENT.format(sites=sites, when=">= lower(n.known) AND e.since < upper(n.known)")
    return [
        f"w AS ({_sites(question, made, sites)})",
        f"m AS ({_machines(sites)})",
        f"n AS ({_named(question, groups, made, sites, with_plan=with_plan)})",
        f"a AS ({_archived(sites)})",
        f"y AS ({_reasons(sites)})",
        "f AS (SELECT DISTINCT ON (n.site_id, n.equipment_id, f.since) n.site_id, n.equipment_id,"
        " n.known, f.state, f.source, f.reason_code, f.since FROM n"
        f" CROSS JOIN LATERAL (({before} ORDER BY e.since DESC, e.id DESC LIMIT 1)"
        f" UNION ALL ({within})) AS f ORDER BY n.site_id, n.equipment_id, f.since, f.id DESC)",
        *annotated_steps(sites),
        f"c AS (SELECT t.*, {ELEMENT} AS element, {IS_FAILURE} AS is_failure FROM t"
        f" LEFT JOIN (VALUES {WORDS}) AS q (word, element, is_failure)"
        " ON q.word = upper(btrim(t.state))"
        " LEFT JOIN y ON y.site_id = t.site_id AND y.code = t.reason_code WHERE NOT EXISTS"
        " (SELECT FROM a WHERE a.site_id = t.site_id AND t.since >= a.first"
        " AND t.since < a.after))",
        "x AS (SELECT c.*, lag(c.state) OVER o IS DISTINCT FROM c.state AS enters,"
        " c.is_failure AND lag(c.is_failure) OVER o IS NOT TRUE AS fails,"
        " lead(c.starts) OVER o AS next FROM c"
        " WINDOW o AS (PARTITION BY c.site_id, c.equipment_id ORDER BY c.starts))",
        f"h AS ({_HELD})",
    ]


# What is known of a machine's site comes along from ``n``: joined by the site PostgreSQL would
# expect next to nothing, and go through all machines for each of their states.
_HELD: Final = (
    "SELECT x.*, greatest(x.starts, lower(x.known)) AS begins, t.ends"
    " FROM x CROSS JOIN LATERAL (SELECT least(x.next, upper(x.known), (SELECT min(a.first) FROM a"
    " WHERE a.site_id = x.site_id AND a.first > x.since)) AS ends) AS t"
    " WHERE greatest(x.starts, lower(x.known)) < t.ends"
)


def called(question: Question, groups: Iterable[str]) -> dict[str, str]:
    """Return the columns of what machines are grouped by, each with its SQL; ids beside codes."""
    found = {}
    for name in groups:
        dimension = DIMENSIONS[name]
        found[name] = f'({dimension.code}) COLLATE "C"'
        if question.by is By.ID and dimension.id:
            found[f"{name}_id"] = f'({dimension.id}) COLLATE "C"'
    return found


def _compared(question: Question, one: Filter) -> str:
    """Return what a filter's values are compared with: codes, and ids where it goes by them."""
    dimension = DIMENSIONS[one.dimension]
    by_id = question.by is By.ID and dimension.id and one.match is not Match.CONTAINS
    return dimension.id if by_id else dimension.code


def _asked(question: Question) -> str:
    """Return the sites that an answer is about, as literals: of others nothing is looked up."""
    found = set(question.sites)
    for each in question.filters:
        if each.dimension == "site" and each.match is Match.IS:
            found &= set(each.values)
    return literals(sorted(found)) or "NULL"


def _sites(question: Question, made: Statement, sites: str) -> str:
    """Return the query of each site that was ever heard: its days, and what is known of the window.

    A site of which the window has nothing that is known is in no answer.
    """
    window = question.window
    begins, ends = bound(window.start, made.take), bound(window.end, made.take)
    return (
        "SELECT e.site AS site_id, z.zone, z.day_start, t.begins, t.ends FROM"
        " (SELECT site, to_timestamp(through_ms / 1000.0) AS through FROM sync.complete_through"
        f" WHERE site IN ({sites}) AND through_ms IS NOT NULL) AS e"
        " LEFT JOIN sync.site_day AS d ON d.site = e.site"
        " CROSS JOIN LATERAL (SELECT coalesce(d.zone, 'UTC') AS zone,"
        " coalesce(d.day_start, '00:00'::time) AS day_start) AS z"
        f" CROSS JOIN LATERAL (SELECT {begins} AS begins, least({ends}, e.through) AS ends) AS t"
        " WHERE t.begins < t.ends"
    )


def _machines(sites: str) -> str:
    """Return the query of each machine of which there are events: the next greater id each time."""
    first = _MACHINE.format(of="w", sites=sites, after="")
    following = _MACHINE.format(of="m", sites=sites, after=" AND e.equipment_id > m.equipment_id")
    return (
        "SELECT w.site_id, tstzrange(w.begins, w.ends) AS known, v.equipment_id"
        f" FROM w CROSS JOIN LATERAL ({first}) AS v UNION ALL"
        f" SELECT m.site_id, m.known, v.equipment_id FROM m CROSS JOIN LATERAL ({following}) AS v"
    )


def _named(
    question: Question, groups: Iterable[str], made: Statement, sites: str, *, with_plan: bool
) -> str:
    found = [each for each in question.filters if each.dimension in OF_MACHINES]
    of_machines = [name for name in groups if name in OF_MACHINES]
    used = [*of_machines, *(each.dimension for each in found)]
    joins = dict.fromkeys(join for name in used for join in DIMENSIONS[name].joins)
    columns = [f"{of} AS by_{name}" for name, of in called(question, of_machines).items()]
    conditions = [condition(each, _compared(question, each), made) for each in found]
    text = "".join(f" {JOINS[join].format(sites=sites)}" for join in joins)
    if with_plan:
        window = (bound(each, made.take) for each in (question.window.start, question.window.end))
        columns.append("p.planned * multirange(i.known) AS planned")
        text += (
            f" LEFT JOIN ({planned_time(sites, *window)}) AS p"
            " ON p.site_id = i.site_id AND p.id = i.equipment_id"
        )
    text += f" WHERE {' AND '.join(conditions)}" if conditions else ""
    shown = ", ".join(["i.site_id", "i.equipment_id", "i.known", *columns])
    return f"SELECT {shown} FROM m AS i{text}"


def _archived(sites: str) -> str:
    """Return the query of months of events that are not in their table, as instants."""
    first = "(a.month || '-01')::timestamp AT TIME ZONE 'UTC'"
    after = "((a.month || '-01')::timestamp + interval '1 month') AT TIME ZONE 'UTC'"
    return (
        f"SELECT a.site_id, {first} AS first, {after} AS after FROM sync.archive AS a"
        f" WHERE a.table_name = '{TABLE}' AND a.state <> 'attached' AND a.site_id IN ({sites})"
    )


def _reasons(sites: str) -> str:
    """Return the query of the time element of each reason at each site.

    The site's own word for it goes before the shared one, where it says anything.
    """
    element = "coalesce(r.time_element, p.time_element)"
    return (
        f"SELECT DISTINCT ON (w.site_id, r.code) w.site_id, r.code, {element} AS element"
        " FROM w JOIN mes.reason_codes AS r ON r.site_id IN (w.site_id, '*')"
        f" AND r.site_id IN ({sites}, '*') AND r.kind = 'DOWNTIME'"
        " LEFT JOIN mes.reason_codes AS p ON p.kind = r.kind AND p.code = r.parent_code"
        f" AND p.site_id IN (r.site_id, '*') AND p.site_id IN ({sites}, '*')"
        f" ORDER BY w.site_id, r.code, {element} IS NULL, r.site_id = '*', p.site_id = '*'"
    )
