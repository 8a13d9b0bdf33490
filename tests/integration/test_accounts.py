"""One account a site, against a real server: what works."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.local.servers import NatsServer
from shared.errors import NoResponder, NotAuthorised, SyncError
from sync.accounts import (
    ServerSettings,
    account_token,
    creds_path,
    ensure_keys,
    push_account,
    server_config,
    trust_config,
)
from sync.nats_grants import account, user
from sync.nats_keys import (
    ACCOUNT,
    OPERATOR,
    USER,
    creds_text,
    new_key,
    read_claims,
    read_or_make_key,
    sign_token,
)
from sync.streams import desired, provision
from sync.transport import Delivery, Link, LinkSettings
from tests.integration.accounts_world import (  # noqa: F401, the fixtures among them
    LIMITS,
    SITES,
    TURNED_AWAY_S,
    broker,
    central,
    keys,
    lyo,
    rot,
    settings,
)
from tests.integration.transport_world import served

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.nats


async def test_a_site_stores_takes_and_acks_its_own_asks_and_hears_commands(central, rot):
    batch = [b"%d" % n for n in range(300)]
    last = await rot.publish_batch("up.ROT.o", batch, expected_last=0, over="up.ROT.>")
    assert last == 300
    await central.publish_batch("down.ROT", [b"mine"], expected_last=0, over="down.ROT")
    await central.publish_batch("down.LYO", [b"not mine"], expected_last=0, over="down.LYO")
    await central.publish_batch("down.all", [b"for all"], expected_last=0, over="down.all")
    got = []
    pulled = rot.pull("DOWN", "site-ROT")
    async with asyncio.timeout(5):
        async for deliveries in pulled:
            got += [(delivery.subject, delivery.payload) for delivery in deliveries]
            await rot.ack(deliveries)
            if len(got) == 2:
                break
    await pulled.aclose()
    assert got == [("down.ROT", b"mine"), ("down.all", b"for all")]
    await nothing_waits(central)


async def nothing_waits(central: Link) -> None:
    """Return when ROT has acked all that there is."""
    async with asyncio.timeout(10):
        while True:
            answer = await central.request("$JS.API.CONSUMER.INFO.DOWN.site-ROT", b"")
            durable = json.loads(answer)
            if (durable["num_ack_pending"], durable["num_pending"]) == (0, 0):
                return
            await asyncio.sleep(0.01)


async def test_questions_presence_and_commands_cross_between_site_and_centre(central, rot):
    async def answer(subject: str, question: bytes) -> bytes:
        return subject.encode() + b" " + question

    serving = asyncio.create_task(central.serve("ctl.*.>", answer, queue="control"))
    heard = asyncio.ensure_future(anext(rot.listen("cmd.ROT.>")))
    present = asyncio.ensure_future(anext(central.listen("pres.*")))
    await served(rot, "ctl.ROT.hello")
    assert await rot.request("ctl.ROT.hello", b"hi") == b"ctl.ROT.hello hi"
    async with asyncio.timeout(10):
        while not (heard.done() and present.done()):  # once they listen
            await central.publish("cmd.ROT.rewind", b"7")
            await rot.publish("pres.ROT", b"here")
            await asyncio.sleep(0.01)
    assert heard.result() == ("cmd.ROT.rewind", b"7")
    assert present.result() == ("pres.ROT", b"here")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_pull_through_the_account_ends_when_the_durable_is_gone(central, rot):
    waiting = asyncio.ensure_future(anext(rot.pull("DOWN", "site-ROT")))
    await asyncio.sleep(0.1)
    await central.request("$JS.API.CONSUMER.DELETE.DOWN.site-ROT", b"")
    with pytest.raises(SyncError, match="declares it again"):
        await asyncio.wait_for(waiting, 5)


async def test_a_site_added_while_the_server_runs_works_at_once(broker, keys, central):
    ensure_keys(keys, [*SITES, "NEW"])
    async with Link(settings(broker, keys, "NEW")) as new:
        with pytest.raises(NotAuthorised, match="refuses the credentials of NEW"):
            await new.wait_connected(TURNED_AWAY_S)
        async with Link(settings(broker, keys, "sys")) as system:
            await system.wait_connected(5)
            await push_account(system, account_token(keys, "NEW"))
        await new.wait_connected(5)
        await provision(central, desired([*SITES, "NEW"], limits=LIMITS))
        batch = {"expected_last": 0, "over": "up.NEW.>"}
        assert await new.publish_batch("up.NEW.o", [b"a", b"b"], **batch) == 2


async def test_an_account_taken_back_stops_working_while_connected(broker, keys, central, lyo):
    holder = read_or_make_key(keys / "sites" / "LYO" / "account.seed", ACCOUNT)
    operator = read_or_make_key(keys / "operator.seed", ACCOUNT)
    now_s = time.time_ns() // 10**9
    shut = sign_token(operator, holder.public, "LYO", account({}), issued_at_s=now_s)
    opened = sign_token(operator, holder.public, "LYO", _grant(keys, "LYO"), issued_at_s=now_s + 1)
    async with Link(settings(broker, keys, "sys")) as system:
        await system.wait_connected(5)
        await push_account(system, shut)
        with pytest.raises(NoResponder):
            await lyo.publish_batch("up.LYO.o", [b""], expected_last=0, over="up.LYO.>")
        await push_account(system, opened)
        await lyo.publish_batch("up.LYO.o", [b""], expected_last=0, over="up.LYO.>")


def _grant(keys: Path, who: str) -> dict[str, Any]:
    grant: dict[str, Any] = read_claims(account_token(keys, who))["nats"]
    return grant


async def test_an_account_that_the_operator_did_not_sign_lets_nobody_in(broker, keys, tmp_path):
    forger, holder, login = new_key(OPERATOR), new_key(ACCOUNT), new_key(USER)
    token = sign_token(forger, holder.public, "EVIL", _grant(keys, "ROT"), issued_at_s=0)
    async with Link(settings(broker, keys, "sys")) as system:
        await system.wait_connected(5)
        await push_account(system, token)  # the server keeps it, and believes it not
    creds = tmp_path / "evil.creds"
    evil = sign_token(holder, login.public, "evil", user(), issued_at_s=0)
    creds.write_bytes(creds_text(evil, login))
    async with Link(LinkSettings(servers=(broker.url,), name="evil", creds_file=creds)) as link:
        with pytest.raises(NotAuthorised):
            await link.wait_connected(1)


async def test_what_is_no_account_is_refused_when_it_is_pushed(broker, keys, central):
    async with Link(settings(broker, keys, "sys")) as system:
        await system.wait_connected(5)
        with pytest.raises(NotAuthorised, match="refuses the account"):
            await push_account(system, account_token(keys, "ROT")[:-9])
    with pytest.raises(NoResponder):  # nobody but `sys` can tell the server of accounts
        await push_account(central, account_token(keys, "ROT"))


async def test_a_user_whom_the_operator_does_not_know_is_turned_away(broker, tmp_path):
    ensure_keys(tmp_path / "keys", ["ROT"])
    async with Link(settings(broker, tmp_path / "keys", "ROT")) as link:
        with pytest.raises(NotAuthorised):
            await link.wait_connected(TURNED_AWAY_S)
        with pytest.raises(NotAuthorised):
            await link.publish("pres.ROT", b"")


async def test_credentials_that_are_not_there_are_named(broker, tmp_path):
    missing = tmp_path / "user.creds"
    link = Link(LinkSettings(servers=(broker.url,), name="ROT", creds_file=missing))
    async with link:
        with pytest.raises(NotAuthorised, match=str(missing)):
            await link.wait_connected(0.5)


@pytest.fixture
def configured(keys: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server that was told nothing but `server_config`."""
    server = ServerSettings(name="hub-1", store_dir=tmp_path / "store", file_bytes_max=1 << 30)
    config = tmp_path / "nats.conf"
    config.write_text(server_config(keys, server))
    binary = Path(sys.executable).with_name("nats-server")
    running = subprocess.Popen(
        [binary, "-c", config, "--ports_file_dir", tmp_path, "-l", tmp_path / "log"]
    )
    try:
        until_s = time.monotonic() + 10
        # The file is there before it is written.
        while not (
            ports := [text for file in tmp_path.glob("*.ports") if (text := file.read_text())]
        ):
            assert time.monotonic() < until_s, (tmp_path / "log").read_text()
            time.sleep(0.02)
        yield json.loads(ports[0])["nats"][0]
    finally:
        running.kill()
        running.wait()


async def test_the_configuration_for_a_real_server_starts_one_that_knows_all(configured, keys):
    for who in ("sys", "central", *SITES):
        link = Link(LinkSettings(servers=(configured,), name=who, creds_file=creds_path(keys, who)))
        async with link:
            await link.wait_connected(5)
            if who == "central":
                await provision(link, desired(SITES, limits=LIMITS))
            if who in SITES:
                batch = {"expected_last": 0, "over": f"up.{who}.>"}
                assert await link.publish_batch(f"up.{who}.o", [b"a", b"b"], **batch) == 2


@pytest.fixture
def with_new_acks(keys: Path, tmp_path: Path) -> Iterator[NatsServer]:
    """A server with the second form of ack subjects, which a later release makes the usual one."""
    config = trust_config(keys, tmp_path / "accounts") + "feature_flags { js_ack_fc_v2: true }\n"
    with NatsServer(tmp_path / "nats", config=config) as server:
        yield server


async def test_a_site_acks_in_either_form_that_a_server_may_use(with_new_acks, keys):
    async with (
        Link(settings(with_new_acks, keys, "central")) as central,
        Link(settings(with_new_acks, keys, "ROT")) as rot,
    ):
        await central.wait_connected(5)
        await rot.wait_connected(5)
        await provision(central, desired(SITES, limits=LIMITS))
        await central.publish_batch("down.ROT", [b"a", b"b"], expected_last=0, over="down.ROT")
        got: list[Delivery] = []
        async with asyncio.timeout(5), contextlib.aclosing(rot.pull("DOWN", "site-ROT")) as pulled:
            while len(got) < 2:
                got += await anext(pulled)
        first, second = got
        assert first.reply.count(".") > 9, "the flag has no effect any more"
        assert (first.stream_seq, second.stream_seq, first.redelivered) == (1, 2, False)
        assert abs(first.stored_at_ms - time.time_ns() // 10**6) < 60_000
        await rot.ack(got)
        await nothing_waits(central)
