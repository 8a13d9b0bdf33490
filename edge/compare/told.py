"""Which end was altered: what old messages say of a row under the version that both ends name.

What the site sent stands in its outbox until it is safe; what the centre decided stands in its
feeds for some days. Beyond that, nobody can tell.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from edge.differences import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.compare.scope import Scope
    from edge.differences import Judged
    from shared.changes import Value

#: Rows of a table that messages are looked through for.
ROWS_MAX: Final = 50


async def what_was_told(scope: Scope, rows: Mapping[str, Judged]) -> dict[str, Mapping[str, Value]]:
    """Return what messages say of rows that were altered, by id and column, as far as they do."""
    altered = {
        row_id: each.there
        for row_id, each in rows.items()
        if each.state is State.DIFFERENT and each.there.version == each.here.version is not None
    }
    some = dict(islice(altered.items(), ROWS_MAX))
    if not some:
        return {}
    versions = {row_id: str(there.version) for row_id, there in some.items()}
    sent = await scope.run(scope.looker.sent, scope.table, versions)
    asked = [(there.site_id, row_id, versions[row_id]) for row_id, there in some.items()]
    told = await scope.centre.told(scope.table.name, asked)
    names = [column.name for column in scope.columns]
    found: dict[str, Mapping[str, Value]] = dict(sent)
    for row_id, values in told.items():
        found[row_id] = dict(zip(names, values, strict=True))
    return found
