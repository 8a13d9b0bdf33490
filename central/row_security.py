"""Row-level security of the business tables: who sees and changes which rows, as policies.

There are three ways to say for whom one works. A program of the centre names its one site, whose
rows it also writes. The API names the sites that its user may see, and only reads. A login for
plain SQL names nothing: its sites stand in a table, since it could set any setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.catalog import Kind
from shared.changes import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.catalog import Table

#: Plain, not a sub-select: on tables split by site the planner then drops the partitions of all
#: others before it starts. A setting that was once set in a session is '' afterwards, not null.
SITE: Final = "nullif(current_setting('app.current_site_id', true), '')"


@dataclass(frozen=True, slots=True)
class Scope:
    """How a reader's sites are told: as SQL conditions on a column."""

    #: The column is one of the sites.
    holds: str
    #: The same, or all of them.
    holds_or_shared: str
    #: The column is a set, and one of the sites is in it.
    meets: str


#: Of whoever works for one site.
OF_ONE: Final = Scope(
    holds=f"{{column}} = {SITE}",
    holds_or_shared=f"{{column}} = {SITE} OR {{column}} = '{SHARED}'",
    meets=f"strpos({{column}}, to_json({SITE})::text) > 0",
)


def _of_some(sites: str) -> Scope:
    """Return the scope of several sites; the sub-select has them asked for once a query.

    It can't leave out partitions before the query starts: so the queries name their sites, too.
    One list has all that is shared as well: a second condition takes each row as long as the first.
    """
    among = f"(SELECT {sites})"
    return Scope(
        holds=f"{{column}} = ANY ({among}::text[])",
        holds_or_shared=(f"{{column}} = ANY ((SELECT array_append({sites}, '{SHARED}'))::text[])"),
        meets=(
            f"EXISTS (SELECT FROM unnest({among}) AS s(site)"
            " WHERE strpos({column}, to_json(s.site)::text) > 0)"
        ),
    )


#: Of the API, which names the sites of its user in each transaction.
OF_ASKED: Final = _of_some("mes.asked_sites()")
#: Of a login for plain SQL.
OF_READER: Final = _of_some("mes.reader_sites()")


def policy_statements(
    table: Table, *, of_one: tuple[str, ...], of_asked: str, of_reader: str
) -> Iterator[str]:
    """Give the statements that enforce it on a table, to be run any number of times."""
    one, own = ", ".join(of_one), f"site_id = {SITE}"
    policies = {
        "read_by_site": f"FOR SELECT TO {one} USING ({readable(table, OF_ONE)})",
        "insert_by_site": f"FOR INSERT TO {one} WITH CHECK ({own})",
        "update_by_site": f"FOR UPDATE TO {one} USING ({own}) WITH CHECK ({own})",
        "delete_by_site": f"FOR DELETE TO {one} USING ({own})",
        "read_by_asked": f"FOR SELECT TO {of_asked} USING ({readable(table, OF_ASKED)})",
        "read_by_reader": f"FOR SELECT TO {of_reader} USING ({readable(table, OF_READER)})",
    }
    yield from _enforced(f"mes.{table.name}", policies)


def reading_statements(
    name: str, *, of_one: tuple[str, ...], of_asked: str, of_reader: str
) -> Iterator[str]:
    """Give the statements by which everybody reads rows of their sites, and nobody writes any."""
    told = ((", ".join(of_one), OF_ONE), (of_asked, OF_ASKED), (of_reader, OF_READER))
    names = ("read_by_site", "read_by_asked", "read_by_reader")
    yield from _enforced(
        name,
        {
            policy: f"FOR SELECT TO {role} USING ({scope.holds.format(column='site_id')})"
            for policy, (role, scope) in zip(names, told, strict=True)
        },
    )


def _enforced(name: str, policies: Mapping[str, str]) -> Iterator[str]:
    yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
    for policy, rule in policies.items():
        yield f"DROP POLICY IF EXISTS {policy} ON {name}"
        yield f"CREATE POLICY {policy} ON {name} {rule}"


def read_by_asked(name: str, role: str, column: str = "site_id", only: str = "") -> tuple[str, ...]:
    """Return the statements that let the API read a table of ours, of the sites that it names.

    ``column`` tells whose a row is; where ``only`` names columns, it reads no others. The policies
    do not bind the owner, whose functions capture and sequence all rows.
    """
    shared = OF_ASKED.holds_or_shared.format(column=column)
    return (
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS read_by_asked ON {name}",
        f"CREATE POLICY read_by_asked ON {name} FOR SELECT TO {role} USING ({shared})",
        f"GRANT SELECT{only and f' ({only})'} ON {name} TO {role}",
    )


def readable(table: Table, scope: Scope) -> str:
    """Return the condition under which a row is read: of one of the sites, or in its share."""
    rules = [] if "site_id" in table.share else [scope.holds.format(column="site_id")]
    sets = {column.name for column in table.columns if column.type.kind is Kind.SET}
    for column in table.share:
        if column in sets:
            rules.append(scope.meets.format(column=column))
            rules.append(f"strpos({column}, '\"{SHARED}\"') > 0")
        else:
            rules.append(scope.holds_or_shared.format(column=column))
    return " OR ".join(rules)
