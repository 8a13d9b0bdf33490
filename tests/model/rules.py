"""The rules of the protocol, each of which can be switched off."""

from __future__ import annotations

from enum import Enum


class Rule(Enum):
    """A rule, and what it is there for; the number is that of the protocol."""

    # capture and drain
    NO_ECHO = "3: what the agent applies is not taken for a write of the site"
    FOLD_FIRST_OLD = "1: of several touches the first tells what was seen, the last what is wanted"
    TIMES_OF_TOUCH = "1, 14d: a write is dated when it was made, by the offset of its drain"
    WHOLE_TRANSACTIONS = "5: a drain takes whole user transactions only"
    DRAIN_BEFORE_APPLY = "5: what was written is drained before anything else is applied"
    BASE_IS_DECIDED = "5: own undecided writes never move the base"
    TIME_OF_COLUMN = "5: each column is dated by its own last touch"
    # versions
    FRESH_ID = "6: a version that the centre made by merging has an id of its own"
    OWN_IS_SEEN = "6: a site's own earlier versions are not concurrent with its writes"
    OVERRULED_IS_UNSEEN = "6: but the columns in which they were overruled are"
    AFTER_IS_CLEAN = "6: a write right after the site's own last one, which stands, is clean"
    OWN_BY_LINEAGE = "6, 19: versions beyond a fork are not the site's own any more"
    BASE_IS_AN_ID = "6: the base is an id that is never used again"
    # outbox
    FROZEN = "7: what has a hash is never packed anew, by an upgrade neither"
    KEEP_UNTIL_DECIDED = "8: the broker's ack ends nothing"
    KEEP_UNTIL_SAFE = "8: nor does the centre's commit, as long as a backup may be restored"
    # apply
    WATERMARK = "9: a transaction is applied only as the next of its chain"
    HASH_CHAIN = "9: and only where its predecessor is the one that is known"
    TX_ID_ONCE = "9: a known transaction has no second effect, whatever its number"
    SITE_BOUNDARY = "10: a site writes no row of another"
    BASE_CHECK = "11: what was written onto another head than the writer's is in conflict"
    HISTORY = "11: both values of a conflict are kept"
    ID_ALONE = "12: of facts only the id makes a duplicate"
    OTHER_CONTENT = "12: a fact of a known id and other content is parked, and not passed over"
    HEADS_WITH_ACK = "13: what the site can't know from the ack comes with it"
    PARK = "14: what can't be applied is parked, and the queue goes on"
    PARK_BEHIND = "14: what is built on a parked change waits behind it"
    WAIT_FOR_PARENT = "14: a row waits for the row that it refers to"
    LATTICE_WHEN_CLEAN = "14c: a state goes back by no write, be it clean"
    RETRY_IS_LATE = "14a: a retry never beats a later write of the same site"
    FENCE = "14b: one worker at a time applies what a site sends"
    CHUNKS_WHOLE = "7: a transaction in parts is applied when it is whole"
    CLAMP = "6: a clock that is ahead may not win for ever"
    # feed
    COMMIT_ORDER = "15: a number drawn early and committed late is not passed over"
    SHARE_LEAVES = "16: a site is told of rows that leave its share"
    FEED_CHAIN = "16: entries are applied without gaps"
    CURSOR_WITH_EFFECT = "17: the cursor is stored with what it stands for"
    OVERLAY = "17: undecided writes stay over what comes from the centre"
    CLASH_ASIDE = "17: an own row gives way to one that comes and has its code"
    SNAPSHOT_ACK = "18: a snapshot carries the ack that it includes"
    NOT_BACKWARDS = "18: nothing older than what is there is applied"
    TAKE_MISSING = "18, 21: what a snapshot does not hold is taken away"
    UNKNOWN_ASIDE = "22: values of columns that are not known yet are kept for the migration"
    # a site that went back
    INSTANCE = "19: a copied file does nothing until a person says that it was moved"
    HELLO_FIRST = "19: a started agent neither drains nor sends before its hello is answered"
    NOTHING_IN_FLIGHT = "19: which waits until what the broker holds of the site is applied"
    SESSION = "19: and what was sent before it counts no more, should it come after all"
    NEW_EPOCH = "19: a store that went back goes on in a new epoch"
    CLOSE_FIRST = "19: and the old one is closed before"
    KEEP_TX_IDS = "19: transactions that move keep their ids"
    DROP_SENT = "19: what the lost life of a store has sent is not sent again"
    FACTS_HOME = "19: facts that the lost life of a store has sent come home"
    LINEAGE = "19: each hello tells of all epochs and where they were closed"
    PARENT_FIRST = "19: an epoch goes on only when the one before is there up to the fork"
    # a centre that went back
    UNVERIFIED = "20: a centre that started takes nothing of a site before its hello"
    FURTHEST = "20: a hello tells of the furthest place of ours that anything was taken from"
    LOST_ENTRIES = "20: what is still under way of the lost history is not taken after the hello"
    SALVAGE = "20: what only the edges still have comes home from them"
    INCLUDED = "20: and what it includes is not applied once more"
    MERGED_AFTER = "20: what a salvage merges has a version of its own, after the one that was lost"
    PARKED_HOME = "20: what was parked is parked again"
    FORGET_ORDERS = "20: the orders of the lost history count no more"
