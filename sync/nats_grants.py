"""Rights as data: what the account of a site, and that of the centre, may do at the broker.

The account is the boundary. Subject permissions inside one account are none: a site can name any
subject as the reply to its requests, and the broker publishes there with the centre's rights. With
accounts, replies are mapped back into the account that asked. The permissions of the user stand
inside as a second fence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from shared.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Iterable

Claims = dict[str, Any]

#: The broker's limit for a message with its headers, equal to that of the streams.
MESSAGE_BYTES_MAX: Final = 1 << 20
_SITE_NAME: Final = re.compile(r"[A-Z0-9_-]{1,20}")
_SITE_CONNECTIONS_MAX: Final = 8
_SITE_LEAVES_MAX: Final = 2
_SITE_SUBSCRIPTIONS_MAX: Final = 200
_UNLIMITED: Final = -1


def check_site(site: str) -> str:
    """Return the name where it can stand in a subject, a stream's name and a path; else raise."""
    if not _SITE_NAME.fullmatch(site):
        msg = f"{site!r} can't name a site: use 1 to 20 of A-Z, 0-9, _ and -"
        raise BadSetting(msg)
    return site


def _question(subject: str, response: str) -> Claims:
    return {"name": subject, "subject": subject, "type": "service", "response_type": response}


def _central_exports() -> list[Claims]:
    return [
        _question("up.*.>", "Singleton"),
        _question("ctl.*.>", "Stream"),
        _question("pres.*", "Singleton"),
        _question("$JS.API.CONSUMER.MSG.NEXT.DOWN.*", "Stream"),
        _question("$JS.API.CONSUMER.INFO.DOWN.*", "Singleton"),
        # The two forms of an ack; which one a server uses is a flag of its own.
        _question("$JS.ACK.DOWN.*.>", "Singleton"),
        _question("$JS.ACK.*.*.DOWN.*.>", "Singleton"),
        {"name": "cmd.*.>", "subject": "cmd.*.>", "type": "stream"},
    ]


def _site_publishes(site: str) -> dict[str, str]:
    """Return the subjects a site publishes on, and where at the centre each one leads."""
    api = f"CONSUMER.MSG.NEXT.DOWN.site-{site}", f"CONSUMER.INFO.DOWN.site-{site}"
    same = (
        f"up.{site}.>",
        f"ctl.{site}.>",
        f"pres.{site}",
        f"$JS.ACK.DOWN.site-{site}.>",
        f"$JS.ACK.*.*.DOWN.site-{site}.>",
    )
    # Under a prefix of its own: $JS.API is taken in each account, by the broker itself.
    return {subject: subject for subject in same} | {
        f"hub.API.{name}": f"$JS.API.{name}" for name in api
    }


def _site_imports(site: str, central: str) -> list[Claims]:
    questions = [
        {
            "name": local,
            "subject": there,
            "local_subject": local,
            "account": central,
            "type": "service",
        }
        for local, there in _site_publishes(site).items()
    ]
    command = f"cmd.{site}.>"
    stream = {"name": command, "subject": command, "account": central, "type": "stream"}
    return [*questions, stream]


def account(limits: Claims, **grants: list[Claims]) -> Claims:
    """Return an account that is limited by `limits` only, and has these exports or imports."""
    unlimited = dict.fromkeys(
        ("subs", "data", "payload", "imports", "exports", "conn", "leaf"), _UNLIMITED
    )
    return {
        "type": "account",
        "version": 2,
        "limits": unlimited | {"wildcards": True} | limits,
        "default_permissions": {"pub": {}, "sub": {}},
        **grants,
    }


def central_account() -> Claims:
    """Return the account that holds the streams, and what it offers to the sites."""
    storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _UNLIMITED)
    return account(storage, exports=_central_exports())


def site_account(site: str, central: str) -> Claims:
    """Return the account of a site: it reaches its own subjects in the account `central`."""
    limits = {
        "subs": _SITE_SUBSCRIPTIONS_MAX,
        "payload": MESSAGE_BYTES_MAX,
        "exports": 0,
        "conn": _SITE_CONNECTIONS_MAX,
        "leaf": _SITE_LEAVES_MAX,
    }
    return account(limits, imports=_site_imports(site, central))


def user(publish: Iterable[str] = (), subscribe: Iterable[str] = ()) -> Claims:
    """Return a user who may publish and subscribe there; everywhere where nothing is named."""

    def allow(subjects: Iterable[str]) -> Claims:
        allowed = sorted(subjects)
        return {"allow": allowed} if allowed else {}

    return {
        "type": "user",
        "version": 2,
        "pub": allow(publish),
        "sub": allow(subscribe),
        "subs": _UNLIMITED,
        "data": _UNLIMITED,
        "payload": _UNLIMITED,
    }


def site_user(site: str) -> Claims:
    """Return the user of a site's agent."""
    return user(_site_publishes(site), ["_INBOX.>", f"cmd.{site}.>"])
