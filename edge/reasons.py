"""Every code that a status or an event may show: what it means, and what to do about it.

Codes are stable: scripts and people search for them. ``mes-sync explain CODE`` prints a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Page:
    """What is known of a code."""

    code: str
    title: str
    meaning: str
    todo: str
    #: When a status shows it; empty for codes of events.
    shown: str = ""


_PAGES: Final = (
    # --- of a status ---------------------------------------------------------------------------
    Page(
        "MES-STOPPED",
        "the agent has stopped for good: a person has to look",
        "This store's history and the centre's can't both be right, and nothing tells which is: the"
        " file was copied and both run, two lives of it were both decided on, it is older than all"
        " that the centre remembers, or it went back again and again. A plain restore of either end"
        " does not stop the agent. Going on could lose writes or send them twice, so it does not."
        " Programs at the site go on writing.",
        "Read the reason in `mes-sync status`. A file that was moved to another folder or host:"
        " `mes-edge moved`, on one machine only. A file that was restored or copied: keep it, find"
        " the original, and ask whoever runs the centre.",
        "critical: at once",
    ),
    Page(
        "MES-AGENT-DOWN",
        "no agent runs for this store",
        "Programs write, and every write is kept in the store; but nothing is sent or received.",
        "Start it: `systemctl start mes-edge`, or `mes-edge run`. Where it ends again at once, its"
        " last lines say why: `journalctl -u mes-edge -n 50`.",
        "critical: at once",
    ),
    Page(
        "MES-OFFLINE",
        "the centre can't be reached; the site works on its own",
        "There is no connection to any of the brokers. Nobody at the site is blocked: what they"
        " write is kept and goes out by itself when the line is back.",
        "Look at the line, the firewall (TCP to the brokers' port) and the name of the broker. The"
        " status shows the last error. Nothing has to be done here when the line is back.",
        "degraded: while it lasts",
    ),
    Page(
        "MES-REFUSED",
        "the broker does not let this site in",
        "It was reached, and refuses the credentials, or is too old. The agent goes on trying and"
        " takes up what programs write; it is sent when the broker lets us in.",
        "A node of a cluster may need a moment to learn of a new site. If it lasts, compare"
        " MES_NATS_CREDS with the one that the centre keeps for this site (`mes-central sites"
        " list`); where the broker is too old, have it upgraded.",
        "critical: at once",
    ),
    Page(
        "MES-CENTRE-SILENT",
        "the broker is reached, but nobody at the centre answers",
        "The link stands, and the centre's control service has answered no hello for 3 minutes."
        " What is written goes to the broker and is decided on when the centre is back.",
        "Ask whoever runs the centre for `mes-central status`: is its feed process running?",
        "degraded: 3 min",
    ),
    Page(
        "MES-NOT-AGREED",
        "the centre answers, and it and the store do not agree yet",
        "One of them went back to an older copy of itself, and what the other knows is being told;"
        " the message says what was found. Nothing is sent or applied meanwhile, and nobody at the"
        " site is blocked: what they write is kept. All that a site knows may take minutes to come"
        " home.",
        "Wait. Where the same is shown for longer than that, look at the last lines of `journalctl"
        " -u mes-edge` (`trying again`), and at the log of the feed process at the centre. See"
        " docs/restores.md.",
        "degraded: 3 min",
    ),
    Page(
        "MES-AGENT-FAILED",
        "the agent met an error that it did not foresee",
        "It goes on, and tries the same again after a pause; nothing is lost. But an error of its"
        " own is a mistake of the program, or of the machine under it.",
        "Send the lines of `journalctl -u mes-edge -p err` to whoever maintains mes-sync.",
        "degraded: for an hour after it",
    ),
    Page(
        "MES-BACKLOG-OLD",
        "a write has waited too long for the centre's decision",
        "The oldest transaction without a decision of the centre is older than 10 minutes (critical"
        " after 60) although the link stands: the line is slow for what is written, or the centre's"
        " ingest is behind. Where the broker does not take what is sent, the message says why.",
        "Ask the centre for `mes-central status`: does an ingest run, are other sites behind, too?"
        " Where only this site is, look at the line and at MES_BYTES_PER_S_MAX.",
        "degraded: 10 min; critical: 60 min; only while connected",
    ),
    Page(
        "MES-DRAIN-STUCK",
        "writes of programs are not being taken up",
        "The agent runs, and yet a committed write has not been packed for sending for more than a"
        " minute: another program holds the store locked, or the disk is full.",
        "Find the program that keeps a transaction open (`fuser` on the store names the"
        " candidates); look at the agent's log and the free space.",
        "critical: 60 s while the agent runs",
    ),
    Page(
        "MES-SNAPSHOT",
        "the store is loading the centre's state",
        "A new store, or one that was away for longer than the feeds reach back, fetches all of its"
        " rows. Programs may write meanwhile; what they write goes up at the same time.",
        "Wait. An interrupted load goes on where it was.",
        "degraded: while it lasts",
    ),
    Page(
        "MES-FEED-WAITS",
        "what came in one feed waits for the other one",
        "What the centre changed at once in rows of this site and in shared rows is shown at once,"
        " and all in the order in which it happened; part of it has not arrived yet.",
        "If it lasts for minutes, restart the agent: it asks for what is missing. Then ask the"
        " centre whether its feed runs (`mes-central status`).",
        "degraded: 60 s",
    ),
    Page(
        "MES-REVIEWS",
        "conflicts wait for a person",
        "Two sides wrote the same thing at once, and its policy is review: the site runs on the"
        " safer value until somebody decides, here or at the centre.",
        "`mes-sync conflicts list`, then `mes-sync conflicts show ID` and `mes-sync conflicts"
        " resolve ID --take here|central|value=... --reason ...`.",
        "degraded: at once",
    ),
    Page(
        "MES-PARKED",
        "rows could not be applied at the centre",
        "The centre could not take a row: a rule of the catalogue is broken, a key is taken, a"
        " parent is missing. It is kept there in full; everything else went on.",
        "`mes-sync parked list` and `mes-sync parked show ID` tell the reason. Mend the cause; the"
        " centre then tries again (`mes-central parked retry`).",
        "degraded: at once",
    ),
    Page(
        "MES-ASIDE",
        "rows stand aside at this site",
        "A row of the centre has taken a unique key that a local row had, or could not be stored:"
        " the row is kept beside the tables and comes back when its place is free. Or a trigger of"
        " this plant's did not let a row be put or be deleted (refused): a row that the centre"
        " deleted stands here still. Or a write is too large for any message (too_large): it was"
        " not sent, and what the centre sends may take its place.",
        "`mes-sync parked list` shows them. Give one of the two rows another key; change the"
        " trigger that refuses, it is tried again then (docs/conflicts.md); shorten what is too"
        " large.",
        "degraded: at once",
    ),
    Page(
        "MES-DIFFERS",
        "rows of this store are not what the centre has",
        "The last comparison found rows that both ends had time to agree on and that are not the"
        " same: somebody wrote past the triggers, at the site or at the centre, or a disk failed.",
        "`mes-sync verify` names them, with both values. `mes-sync verify --repair` sends the"
        " centre's rows down and what only this site has up, and keeps what it overwrites in the"
        " conflict history. Find out who writes past the triggers.",
        "degraded: at once",
    ),
    Page(
        "MES-CAPTURE-LOST",
        "programs may have written past our triggers",
        "A table was rebuilt (new table, copy, drop, rename, as migration tools do), or somebody"
        " dropped our triggers. They are put back. What was written until then is not captured and"
        " not sent. Until a comparison finds the table the same at both ends, each row whose place"
        " a row of the centre's takes is kept aside as it stood (uncaptured).",
        "`mes-sync verify --repair`: it sends what only this site has, and keeps what it overwrites"
        " in the conflict history. Look through `mes-sync parked list` for rows that are"
        " uncaptured, enter again what is missing, and forget them with `mes-sync parked discard"
        " TICKET`. Have tools change tables with ALTER TABLE, while the agent runs.",
        "degraded: until the table is the same at both ends",
    ),
    Page(
        "MES-CLOCK",
        "this machine's clock differs from the centre's",
        "Writes are dated by the local clock and corrected by the offset measured at each hello. A"
        " clock that runs ahead can't win conflicts: times beyond 5 minutes are held to that bound"
        " and marked.",
        "Let the machine take its time from a server: `timedatectl set-ntp true`.",
        "degraded: 5 s; critical: 5 min",
    ),
    Page(
        "MES-DISK-LOW",
        "the store's disk is filling up",
        "What the centre has not secured yet is never thrown away. So before the disk is full, new"
        " rows of append-only tables are refused (MES-DISK-FULL); a full disk stops all writes.",
        "Make room on the disk. `mes-sync status` shows how much the store keeps, and since when.",
        "degraded: under 10 % free; critical: under 2 % or 200 MB",
    ),
    Page(
        "MES-DISK-FULL",
        "new facts are refused: the store's disk is nearly full",
        "There was less room than MES_FACTS_STOP_BYTES, so programs can't add rows to append-only"
        " tables, nearly all that is written. All other writes, sending and receiving go on, and"
        " nothing that is owed was thrown away. Room is what is free on the disk, and in the"
        " store's own file.",
        "Make room on the disk, or move the store to a larger one. When there is as much as"
        " MES_FACTS_GO_BYTES the agent lets them through again, within seconds; an agent must run"
        " for it. An import that was stopped by it goes on by the same command.",
        "critical: while it lasts",
    ),
    Page(
        "MES-DISK-READ-ONLY",
        "the store's disk is read-only",
        "Linux makes a file system read-only when it has met errors of the disk. No program can"
        " write, and the agent neither drains nor applies. What was committed is there.",
        "`dmesg` tells what was met. Copy the store away with its -wal before the disk is repaired"
        " (`fsck`) and mounted for writing again; then start the agent.",
        "critical: while it lasts",
    ),
    Page(
        "MES-BACKUP-OLD",
        "the centre warns of its backups",
        "Everything that the newest backup of the centre lacks is only at the centre and here, and"
        " what the oldest lacks is kept here. The newest is too old, none is left, or nobody said"
        " how one ended: more and more is kept, and fills the disk.",
        "Tell whoever runs the centre: `mes-central backup list` shows it there. Don't restore or"
        " throw away this store meanwhile.",
        "degraded: at the centre's word, while connected",
    ),
    Page(
        "MES-KEPT-LONG",
        "transactions are kept for very long",
        "Transactions are kept until they are within the oldest backup that the centre might be"
        " restored from. The oldest is more than 14 days old, and no backup is being marked there.",
        "Ask whoever runs the centre when its last backup was marked.",
        "degraded: 14 days while connected; not where backups are marked",
    ),
    Page(
        "MES-STORE-UNREADABLE",
        "the store can't be read",
        "There is no store at this place, this account may not read it, or the file is damaged.",
        "Check MES_STORE. A damaged file: stop the programs, copy it away, and ask before anything"
        " is restored; what was not sent yet is only in it.",
        "critical: at once",
    ),
    Page(
        "MES-STORE-DAMAGED",
        "the store's file is damaged",
        "The agent has met a page of the file that is no page, or bytes in the outbox that are not"
        " those that were written, and has ended: nothing wrong was sent, and nothing more is"
        " written. The cause is the disk, the memory, or somebody who copied over the file.",
        "Stop the programs and keep a copy of the file with its -wal: what was not sent is only in"
        " it. Look at the disk. Then put the newest copy of the file in its place and start the"
        " agent: it takes home what the centre has beyond it. Without a copy, start with a new"
        " store, which the centre fills.",
        "critical: at once",
    ),
    # --- of events -----------------------------------------------------------------------------
    Page(
        "MES-FEED-UNREADABLE",
        "an entry of the feed could not be read",
        "A message of the centre was damaged, or of a newer release. It was not applied; it is"
        " asked for again.",
        "If it comes again and again, upgrade this site's mes-sync to the centre's release.",
    ),
    Page(
        "MES-FEED-FOREIGN",
        "an entry of another site's feed arrived",
        "It was not applied. The broker's permissions should make this impossible.",
        "Tell whoever runs the broker: compare its accounts with `mes-central keys`.",
    ),
    Page(
        "MES-FEED-FORK",
        "the centre's feed has another history than the one followed",
        "The centre knows this place in the feed under another hash: one side was restored. The"
        " next hello mends it.",
        "Nothing, where MES-RESTORED follows; else see MES-STOPPED.",
    ),
    Page(
        "MES-FEED-DAMAGED",
        "an entry of the feed does not fit its hash",
        "It was not applied, and is asked for again from the centre's database.",
        "Nothing, unless it comes again and again: then see to the broker's disk.",
    ),
    Page(
        "MES-FEED-UNORDERED",
        "part of a change of the centre was applied without the rest",
        "The other feed does not bring the rest, and the centre, which was asked, can't give it. A"
        " row may refer to one that is not here.",
        "The message names the entry that is missing, and why. What it holds is found by the next"
        " comparison (`mes-sync verify`), and the centre's database needs a look: the entry is"
        " damaged there.",
    ),
    Page(
        "MES-COLUMN-REFUSED",
        "a value kept for a column of a newer catalogue does not fit it",
        "It was kept while this store had no such column. Now it has, and the value breaks its"
        " rule, or a trigger of the plant's does not allow it. The row stands without it.",
        "Correct the row at the centre; or the trigger, and have the row sent again: `mes-sync"
        " verify --repair`.",
    ),
    Page(
        "MES-ROW-TOO-LARGE",
        "a row is too large to be sent",
        "It stays in the store and is not sent: no message can hold it. `mes-sync parked list`"
        " shows it until it is settled.",
        "Shorten the long text or bytes of the row that the event names; of a fact, insert a"
        " shorter one.",
    ),
    Page(
        "MES-JOURNAL-RESTARTED",
        "the newest facts of a table were deleted",
        "Somebody got past the guard of an append-only table. What is there was sent once more and"
        " has no second effect; facts that were deleted before they were sent are lost.",
        "Look for the program that deletes facts; retention leaves the newest one of each table.",
    ),
    Page(
        "MES-INDEX-UNWATCHED",
        "a unique index of the plant's can't be watched",
        "It is on an expression, or compares otherwise than its column. Rows that an OR REPLACE"
        " displaces through it are gone here and stay at the centre.",
        "Make the index on plain columns, or without UNIQUE; or don't write OR REPLACE.",
    ),
    Page(
        "MES-ROW-ASIDE",
        "a row was set aside",
        "See MES-ASIDE.",
        "`mes-sync parked list`",
    ),
    Page(
        "MES-REPAIR-REFUSED",
        "the plant's rules keep a row from being repaired",
        "A comparison found it to differ. To send a fact once more, or to give a row the date and"
        " the site that the centre has, it has to be changed here; a trigger or an index of the"
        " plant's does not allow that, in the words that the event has. All else is repaired.",
        "Change the trigger, and compare again: `mes-sync verify --repair`.",
    ),
    Page(
        "MES-RULE-ROLLS-BACK",
        "a trigger of the plant's keeps rows that are set aside from coming back",
        "It rolls back all that is done along with such a row, instead of refusing the one row. All"
        " the rest was done anew; the table's rows that stand aside wait until tables or triggers"
        " change. A row of the centre's that is on its way can't wait: there such a trigger ends"
        " the agent.",
        "Let the trigger that the event names use RAISE(ABORT) in place of RAISE(ROLLBACK), or drop"
        " it. docs/conflicts.md",
    ),
    Page(
        "MES-RESTORED",
        "the store went back to an older copy of itself, and goes on",
        "Somebody put an older copy of the file in its place, or began with a new one. What the"
        " centre had of the time in between came home; what was written then and never sent is lost"
        " with the file.",
        "Nothing is to be done. Ask who restored it, and why. docs/restores.md",
    ),
    Page(
        "MES-SENT-BEFORE",
        "a write that the copy still held, and that had been sent before the restore",
        "The centre has it already, so it was not sent twice. It is named here in full, since a"
        " clock that went back in between could make a newer write look like one of these.",
        "Compare what is named with the row; where it is missing there, write it again.",
    ),
    Page(
        "MES-CENTRE-RESTORED",
        "the centre went back to an older backup, and goes on",
        "What this store knew of the time in between was brought home to it; where somebody at the"
        " centre wrote the same rows before that, the conflict history holds both values.",
        "Nothing is to be done here; `mes-sync conflicts list` shows what was decided.",
    ),
    Page(
        "MES-SNAPSHOT-WANTED",
        "the store asks for the centre's state as a whole",
        "It is new, or the feed no longer reaches back to where it was.",
        "Nothing: see MES-SNAPSHOT.",
    ),
)

PAGES: Final = {page.code: page for page in _PAGES}
