"""Errors, sorted by what the receiver should do: try again, set it aside, or stop.

Raise a leaf, catch a branch. The docstring of a class is the sentence an operator reads when the
raiser adds no message of its own; a message names the next step where there is one.
"""

from __future__ import annotations


class SyncError(Exception):
    """Something went wrong in mes-sync."""

    def __str__(self) -> str:
        """Return the message, or the first line of the docstring where none was given."""
        return super().__str__() or (self.__doc__ or "").strip().splitlines()[0]


class Transient(SyncError):
    """It may work when it is tried again."""


class Poison(SyncError):
    """No retry will ever make this input acceptable; set it aside and go on."""


class Fatal(SyncError):
    """The process can't go on until a person changes something."""


# --- Transient: the link and the stores -----------------------------------------------------


class BrokerUnreachable(Transient):
    """The broker can't be reached, or did not answer in time."""


class NoResponder(Transient):
    """Nobody at the centre answers; the control service may be down."""


class ConsumerGone(Transient):
    """The stream or its durable consumer does not exist; the centre declares it again."""


class StreamFull(Transient):
    """The stream has reached its limit; it takes new messages when the centre has applied some."""


class WrongLastSequence(Transient):
    """The stream's last sequence is not the one expected: a lost ack, or lost messages."""

    def __init__(self, actual: int) -> None:
        super().__init__(f"the stream's last sequence is {actual}")
        self.actual = actual


class StaleSnapshot(Transient):
    """The snapshot can't be loaded from here; a new one is asked for."""


class StoreBusy(Transient):
    """The store is locked by another writer; the transaction is tried again."""


class StoreFull(Transient):
    """The store's disk is nearly full; facts are taken again when there is room."""


class Unverified(Transient):
    """The site has not said hello since the server was started; it is asked to."""


class LeaseLost(Transient):
    """Another worker has taken this site; this one must let go of it."""


# --- Poison: what can never be accepted -----------------------------------------------------


class InvalidValue(Poison):
    """A value breaks the rule that the catalogue gives for its column."""


class UnknownTable(Poison):
    """The catalogue has no table of this name."""


class UnknownColumn(Poison):
    """The catalogue has no column of this name in that table."""


class MalformedMessage(Poison):
    """The bytes are not a message of ours: truncated, damaged, or random."""


class UnknownWireVersion(Poison):
    """The sender speaks a wire version newer than this receiver; upgrade this side."""


class ForeignSite(Poison):
    """The message speaks for a site other than the one whose subject it came on."""


class Fenced(Poison):
    """It was sent before the site's store went back to an older copy, and came after that."""


class PayloadTooLarge(Poison):
    """The message is larger than the broker accepts."""


# --- Fatal: a person is needed --------------------------------------------------------------


class CatalogError(Fatal):
    """The catalogue is not valid."""


class SchemaMismatch(Fatal):
    """The store was written by another release; migrate it or upgrade the program."""


class ServerTooOld(Fatal):
    """A server is older than the oldest release that is supported."""


class StoreDamaged(Fatal):
    """The store's file is damaged; stop its programs and keep a copy of it."""


class NotAuthorised(Fatal):
    """The server refuses the credentials of this process."""


class ForkedHistory(Fatal):
    """Both ends know the same number under different hashes: one of them was restored or cloned."""


class WrongSite(Fatal):
    """The store belongs to another site, or is held by another agent."""


class BadSetting(Fatal):
    """A setting is missing or can't be read."""


class WaitsBehind(Fatal):
    """The change waits behind another one of its row, which has to be decided on first."""


class BadImport(Fatal):
    """The file, its map and the store don't fit together; nothing of the file was taken."""
