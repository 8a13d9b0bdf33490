"""Which time of ISO 22400-2 each state of a machine is: the one place where that is said.

Pure. A state is a word of the plant (``equipment_state_events.state`` is free text). The words
below mean one thing in every plant; they are those of the demo, of ANSI/ISA-TR88.00.02 (PackML)
and of common controllers, in upper or lower case. A word that is not among them is counted as
``UNMAPPED`` and shown as that: a guess would make sites comparable that are not.

Why a machine stands is known better by the reason than by the state. So where an event bears a
reason to which the centre gave a time element (``reason_codes.time_element``, of the reason itself
or of its parent), that goes before the word, but for a machine that produces: it does, whatever
reason is noted beside.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Element(StrEnum):
    """A part of the time of a machine, by its names in ISO 22400-2:2014."""

    APT = "APT"  #: actual production time
    AUST = "AUST"  #: actual unit setup time
    ADET = "ADET"  #: actual unit delay time: malfunctions and minor stops while an order runs
    ADOT = "ADOT"  #: actual unit down time: available, and no order is worked on
    PLANNED = "PLANNED"  #: planned down time, which is no part of planned busy time
    UNSCHEDULED = "UNSCHEDULED"  #: nobody means to produce
    UNMAPPED = "UNMAPPED"  #: nobody said what it is


#: Words in which a machine has failed and waits to be mended: failure events and time to repair.
FAILURES: Final = (
    "DOWN", "FAULT", "FAULTED", "FAILURE", "BREAKDOWN", "ERROR", "ABORTED", "ABORTING",
)  # fmt: skip
#: What each word is, in upper case and without blanks at its ends.
STATES: Final = {
    **dict.fromkeys(("RUNNING", "RUN", "PRODUCING", "PRODUCTION", "EXECUTE"), Element.APT),
    **dict.fromkeys(("SETUP", "CHANGEOVER"), Element.AUST),
    **dict.fromkeys(FAILURES, Element.ADET),
    **dict.fromkeys(
        ("HELD", "SUSPENDED", "BLOCKED", "STARVED", "MINOR_STOP"), Element.ADET
    ),
    **dict.fromkeys(("IDLE", "STANDBY", "READY"), Element.ADOT),
    **dict.fromkeys(("PLANNED_DOWN", "MAINTENANCE", "BREAK"), Element.PLANNED),
    **dict.fromkeys(("OFF", "UNSCHEDULED"), Element.UNSCHEDULED),
}  # fmt: skip

#: Each word with its element, and whether it is a failure, as rows of SQL.
WORDS: Final = ", ".join(
    f"('{word}', '{element}', {str(word in FAILURES).lower()})" for word, element in STATES.items()
)
#: The element of an event: ``q`` is the row of its word, ``y`` that of its reason.
ELEMENT: Final = (
    f"CASE WHEN q.element = '{Element.APT}' THEN q.element"
    f" ELSE coalesce(y.element, q.element, '{Element.UNMAPPED}') END"
)
#: Whether it is a failure: a word of one, and no reason says that it is anything but a delay.
IS_FAILURE: Final = (
    f"coalesce(q.is_failure AND coalesce(y.element, q.element) = '{Element.ADET}', false)"
)
