"""``mes-central explain``: what a code of the status means, and what to do."""

from __future__ import annotations

from typing import Final

import click

from central.cli import exits
from central.cli.look import as_json, say, say_json, table, wrapped

#: Code, when it comes, and what to know of it.
REASONS: Final[dict[str, tuple[str, str]]] = {
    "MES-NO-INGEST": (
        "critical: at once",
        "No ingest process has shown itself for the time of a lease, so nothing that sites send"
        " is decided. They go on by themselves, and keep it. Start `mes-central run`; look for"
        " why it ended in its log.",
    ),
    "MES-NO-FEED": (
        "critical: at once",
        "No feed process is connected to PostgreSQL: sites are neither told nor answered. Start"
        " `mes-central run`, or `mes-central feed` on one host. Its connections are named"
        " 'mes-central feed' in pg_stat_activity.",
    ),
    "MES-BROKER": (
        "critical: at once",
        "The broker did not answer this command. What it holds of each site is then not known"
        " ('?'). Start it, or mend MES_NATS_SERVERS and MES_NATS_CREDS. Nothing is lost: what"
        " sites have sent and nobody has decided, they send again.",
    ),
    "MES-STREAMS": (
        "critical: at once",
        "The broker refuses a stream or durable as it must be, for the reason that is given: no"
        " room for what it reserves, a field that it never changes, too few servers for the"
        " copies. A site without a stream works on its own and keeps what it writes; all other"
        " sites go on. The feed process tries again every 5 s: mend the cause.",
    ),
    "MES-FEED-BEHIND": (
        "degraded: over 10 000 rows",
        "Rows that changed at the centre wait to be put into the feeds. It passes by itself"
        " after a large import; else look at the log of the feed process.",
    ),
    "MES-BACKUP-OLD": (
        "degraded: newest older than MES_BACKUP_HOURS",
        "Once backups are marked, sites keep what the oldest one lacks, and what is newer than the"
        " newest is only here and at them. Look why none was taken or marked since; `mes-central"
        " backup run` does both. With none left that may be restored sites keep all that they"
        " send, and their disks fill.",
    ),
    "MES-BACKUP-UNENDED": (
        "degraded: begun more than MES_BACKUP_HOURS ago",
        "Nobody said how a backup ended, so sites keep what it lacks, for it may be restored."
        " Is it complete, or is this centre restored from it: `mes-central backup mark NAME"
        " --finished`. Did it fail: `mes-central backup mark NAME --failed`.",
    ),
    "MES-CATALOGUE": (
        "degraded: at once",
        "The database was migrated to another catalogue than this program has: run `mes-central"
        " migrate --dry-run` and read the steps, or upgrade this program. Is MES_CATALOGUE_DIRS"
        " the same everywhere?",
    ),
    "MES-STOPPED": (
        "critical: at once",
        "The site's history and ours can't both be right, and nothing tells which is: its store"
        " was copied and both run, two lives of one store were both decided on, it is older than"
        " all that we remember, or it went back again and again. A plain restore does not stop a"
        " site. Nothing of it is applied until a person has found out which store is the right"
        " one, stopped the other, and run `mes-central sites release SITE`.",
    ),
    "MES-NEVER-SEEN": (
        "degraded: at once",
        "The site is registered and its agent has never said hello. Install the agent with the"
        " credentials that `mes-central sites list SITE` names.",
    ),
    "MES-AWAY": (
        "degraded: after 3 min",
        "The site's agent has not said hello (it does every 15 s). The plant works on its own;"
        " what it writes comes when the link is back. `mes-sync status` at the site tells more.",
    ),
    "MES-UNVERIFIED": (
        "degraded: while it lasts",
        "PostgreSQL was started, perhaps as an older copy of itself. What the site sends waits"
        " until it has said hello since: seconds where its agent runs. docs/restores.md",
    ),
    "MES-TWO-STORES": (
        "degraded: until the right one has said hello",
        "A copy of the site's store runs elsewhere, or the store was moved. The one that the centre"
        " knows goes on, the other was sent away. Was it moved: `mes-edge moved` there. Is it to"
        " take the other's place: `mes-central sites release SITE`, after the other one was"
        " switched off.",
    ),
    "MES-TWO-LIVES": (
        "critical: until the right one has said hello",
        "The store that stands at the site is another life of the one that the centre knows: a"
        " newer copy was put in its place after an older one, and the centre had gone back in"
        " between. It was sent away, and its agent has stopped; nothing else of the site is stopped"
        " here. Put back the file that stood there before, or put this one aside and begin with a"
        " new store: start the agent, and its hello ends this. `mes-edge moved` and `sites release`"
        " can't tell the two lives apart. docs/restores.md",
    ),
    "MES-CLOCK": (
        "degraded: beyond 5 min",
        "The site's clock differs from the centre's. Times are corrected by the difference"
        " measured at the last hello; a clock that runs ahead of what was measured counts up to"
        " 5 min, and the conflict says so. Let the site's host follow a time server.",
    ),
    "MES-UNDECIDED": (
        "degraded: 1 min; critical: 15 min",
        "The broker holds messages of the site and nothing was decided meanwhile. Look for"
        " errors in the log of the worker that has the site.",
    ),
    "MES-STREAM-FULL": (
        "degraded: over 80 %",
        "The site's stream at the broker is nearly full. A full stream refuses, nothing is"
        " lost: the edge keeps and sends again. Is the ingest behind?",
    ),
    "MES-FEED-LAG": (
        "degraded: over 1 000 entries",
        "The site is in touch and has not taken what the centre decided. `mes-sync status` at"
        " the site tells more.",
    ),
    "MES-REVIEWS": (
        "degraded: at once",
        "Conflicts that no policy decides wait for a person, here or at the site; the site runs"
        " on the safer value meanwhile: `mes-central conflicts list`.",
    ),
    "MES-PARKED": (
        "degraded: at once",
        "Rows that the site sent could not be applied. They are kept as they were sent: mend"
        " the cause and run `mes-central parked retry`, or give them up with `parked discard`."
        " Rows that only wait for another row are not counted here.",
    ),
    "MES-WITHHELD": (
        "degraded: at once",
        "After a restore of the centre the site told of rows of other sites that by the backup it"
        " does not get, or that others get. Its word alone does not count there. It is kept: look"
        " with `mes-central withheld list`, then `withheld take` what was right, or `discard` it."
        " docs/restores.md",
    ),
    "MES-DIFFERS": (
        "degraded: at once",
        "The site compared its store with what the centre holds of it, and rows are not the same"
        " that both ends had time to agree on: somebody wrote past the triggers, at the site or"
        " here, or a disk failed. `mes-central verify --site SITE` names them, with both values;"
        " `--repair` sends the centre's rows down and takes what only the site has.",
    ),
    "MES-SUMS": (
        "degraded: at once",
        "Sums that reports are made of were held against the facts, as each site's are once in"
        " MES_ROLLUP_CHECK_HOURS, and were not what these come to. `mes-central rollups verify"
        " --site SITE` shows which, with both values: keep what it says, for a sum is wrong by a"
        " fault of the program or by somebody's hand. With --repair they are made anew.",
    ),
    "MES-SUMS-UNSEEN": (
        "degraded: until the next check that can look",
        "The sums that reports are made of could not be held against the facts: the reason is told."
        " Mostly it took too long, or files of the archive could not be read. What was found before"
        " stands. `mes-central rollups verify --site SITE` looks now.",
    ),
    "MES-REFUSED": (
        "degraded: for a day",
        "Messages that nobody could read: damaged, forged for another site, or of a later"
        " release. `mes-central refused list` tells why. The site sends what it still owes"
        " again.",
    ),
}


@click.command()
@click.argument("code", required=False, metavar="[CODE]")
@as_json
def explain(code: str | None, *, json_wanted: bool) -> int:
    """Tell what a code of the status means and what to do; without one, list them."""
    if code is not None and code.upper() not in REASONS:
        raise click.BadParameter(f"no code {code}; mes-central explain lists them")
    asked = {code.upper(): REASONS[code.upper()]} if code else REASONS
    if json_wanted:
        codes = {name: {"when": when, "text": text} for name, (when, text) in asked.items()}
        say_json({"schema": "mes-central.explain/v1", "codes": codes})
        return exits.OK
    if code:
        ((name, (when, text)),) = asked.items()
        lines = [f"{name}  {when}", *wrapped(f"  {text}", 2)]
    else:
        lines = table(("CODE", "WHEN"), [(name, when) for name, (when, _) in asked.items()])
    for line in lines:
        say(line)
    return exits.OK
