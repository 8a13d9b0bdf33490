"""One account a site, against a real server: what works, and every attack that we know of.

Each attack is made twice: with the credentials of the site, and by a rogue in the site's account
whose user has no restrictions, because the account alone must hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client, RawCredentials

from deploy.local.servers import NatsServer
from shared.errors import BrokerUnreachable, NoResponder, NotAuthorised, SyncError
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
from sync.streams import StreamLimits, desired, provision
from sync.transport import Delivery, Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.nats

SITES = ["LYO", "ROT"]
#: The server asks its cluster for an account that it does not know, and that takes two seconds.
TURNED_AWAY_S = 3.0
LIMITS = StreamLimits(up_bytes_max=16 << 20, down_bytes_max=16 << 20)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("broker") / "keys"
    ensure_keys(path, SITES)
    return path


@pytest.fixture(scope="module")
def broker(keys: Path) -> Iterator[NatsServer]:
    root = keys.parent / "nats"
    with NatsServer(root, config=trust_config(keys, root / "accounts")) as server:
        yield server


def settings(broker: NatsServer, keys: Path, who: str) -> LinkSettings:
    prefix = "$JS.API" if who in ("central", "sys") else "hub.API"
    return LinkSettings(
        servers=(broker.url,), name=who, creds_file=creds_path(keys, who), prefix=prefix
    )


@pytest.fixture
async def central(broker: NatsServer, keys: Path) -> AsyncIterator[Link]:
    async with Link(settings(broker, keys, "central")) as link:
        await link.wait_connected(5)
        for stream in ("DOWN", "UP_LYO", "UP_ROT"):
            with contextlib.suppress(NoResponder):
                await link.request(f"$JS.API.STREAM.DELETE.{stream}", b"")
        await provision(link, desired(SITES, limits=LIMITS))
        yield link


@pytest.fixture
async def rot(broker: NatsServer, keys: Path, central: Link) -> AsyncIterator[Link]:
    async with Link(settings(broker, keys, "ROT")) as link:
        await link.wait_connected(5)
        yield link


@pytest.fixture
async def lyo(broker: NatsServer, keys: Path, central: Link) -> AsyncIterator[Link]:
    async with Link(settings(broker, keys, "LYO")) as link:
        await link.wait_connected(5)
        yield link


@pytest.fixture(params=["the site's own user", "a rogue without restrictions"])
async def attacker(
    request: pytest.FixtureRequest, broker: NatsServer, keys: Path, central: Link
) -> AsyncIterator[Client]:
    """A bare client in the account of ROT."""
    if request.param == "the site's own user":
        creds = creds_path(keys, "ROT").read_text()
    else:
        holder = read_or_make_key(keys / "sites" / "ROT" / "account.seed", ACCOUNT)
        rogue = new_key(USER)
        token = sign_token(holder, rogue.public, "rogue", user(), issued_at_s=0)
        creds = creds_text(token, rogue).decode()

    async def quiet(error: Exception) -> None:
        """Refusals are expected."""

    client = await nats.connect(
        broker.url, user_credentials=RawCredentials(creds), error_cb=quiet, allow_reconnect=False
    )
    yield client
    await client.close()


async def stored(central: Link, stream: str) -> int:
    answer = json.loads(await central.request(f"$JS.API.STREAM.INFO.{stream}", b""))
    return int(answer["state"]["last_seq"])


async def ask(client: Client, subject: str, order: object = None) -> dict[str, Any]:
    """Return the answer, empty where there was none."""
    text = b"" if order is None else json.dumps(order).encode()
    try:
        answer = await client.request(subject, text, timeout=0.3)
    except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
        return {}
    return json.loads(answer.data) if answer.data else {"status": answer.headers}


# --- what works -----------------------------------------------------------------------------


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
    await asyncio.sleep(0.05)
    durable = json.loads(await central.request("$JS.API.CONSUMER.INFO.DOWN.site-ROT", b""))
    assert (durable["num_ack_pending"], durable["num_pending"]) == (0, 0)


async def test_questions_presence_and_commands_cross_between_site_and_centre(central, rot):
    async def answer(subject: str, question: bytes) -> bytes:
        return subject.encode() + b" " + question

    serving = asyncio.create_task(central.serve("ctl.*.>", answer, queue="control"))
    heard = asyncio.ensure_future(anext(rot.listen("cmd.ROT.>")))
    present = asyncio.ensure_future(anext(central.listen("pres.*")))
    await asyncio.sleep(0.1)
    assert await rot.request("ctl.ROT.hello", b"hi") == b"ctl.ROT.hello hi"
    await central.publish("cmd.ROT.rewind", b"7")
    assert await asyncio.wait_for(heard, 5) == ("cmd.ROT.rewind", b"7")
    await rot.publish("pres.ROT", b"here")
    assert await asyncio.wait_for(present, 5) == ("pres.ROT", b"here")
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
        await asyncio.sleep(0.1)
        durable = json.loads(await central.request("$JS.API.CONSUMER.INFO.DOWN.site-ROT", b""))
        assert durable["num_ack_pending"] == 0


# --- attacks --------------------------------------------------------------------------------


async def test_a_site_can_not_store_under_another_name(central, attacker):
    for subject in ("up.LYO.o", "down.LYO", "down.all", "up.LYO", "up.ROT", "down.ROT"):
        await attacker.publish(subject, b"forged")
        assert await ask(attacker, subject, "forged") == {}
    for stream in ("UP_LYO", "UP_ROT", "DOWN"):
        assert await stored(central, stream) == 0


async def test_a_site_that_is_refused_learns_it_at_once(rot):
    for attempt in (
        rot.publish_batch("up.LYO.o", [b"forged"], expected_last=0, over="up.LYO.>"),
        rot.publish_batch("up.LYO.o", [b"forged"] * 3, expected_last=0, over="up.LYO.>"),
        rot.request("ctl.LYO.hello", b""),
        anext(rot.pull("DOWN", "site-LYO")),
    ):
        with pytest.raises(NotAuthorised, match=r"permissions violation"):
            await asyncio.wait_for(attempt, 2)
    assert rot.connected


async def test_a_site_can_not_speak_or_listen_for_another(central, attacker):
    questions, stolen = [], []

    async def answer(subject: str, question: bytes) -> bytes:
        questions.append(subject)
        return b"secret of LYO"

    async def steal(msg: Any) -> None:
        stolen.append(msg.subject)

    serving = asyncio.create_task(central.serve("ctl.*.>", answer, queue="control"))
    for subject in (">", "cmd.>", "cmd.LYO.>", "_INBOX.>", "$JS.>", "$SYS.>", "_R_.>", "down.>"):
        await attacker.subscribe(subject, cb=steal)
    await asyncio.sleep(0.1)
    assert await ask(attacker, "ctl.LYO.hello") == {}
    await attacker.publish("pres.LYO", b"forged")
    await central.publish("cmd.LYO.rewind", b"")
    await central.publish_batch("down.LYO", [b"x"], expected_last=0, over="down.LYO")
    await asyncio.sleep(0.2)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert questions == []
    # What a rogue publishes inside its own account it may hear there; nothing else.
    assert not [subject for subject in stolen if subject.startswith(("cmd", "down", "$JS.EVENT"))]


async def test_a_site_can_neither_take_nor_ack_what_is_for_another(central, attacker, lyo):
    await central.publish_batch("down.LYO", [b"for LYO"], expected_last=0, over="down.LYO")
    for prefix in ("hub.API", "$JS.API", "$JS.hub.API"):
        next_subject = f"{prefix}.CONSUMER.MSG.NEXT.DOWN.site-LYO"
        assert b"for LYO" not in json.dumps(await ask(attacker, next_subject, 1)).encode()
    pulled = lyo.pull("DOWN", "site-LYO")
    (delivery,) = await asyncio.wait_for(anext(pulled), 5)
    assert not delivery.redelivered, "the attack took it"
    tokens = delivery.reply.split(".")
    for subject in (delivery.reply, ".".join(["$JS.ACK._._", *tokens[2:], "x"])):
        await attacker.publish(subject, b"+ACK")
    await asyncio.sleep(0.2)
    durable = json.loads(await central.request("$JS.API.CONSUMER.INFO.DOWN.site-LYO", b""))
    assert durable["num_ack_pending"] == 1
    await pulled.aclose()


async def test_a_site_can_not_reach_the_streams_themselves(central, attacker, rot):
    await rot.publish_batch("up.ROT.o", [b"kept"], expected_last=0, over="up.ROT.>")
    durable = {"durable_name": "spy", "ack_policy": "none"}
    orders: list[tuple[str, Any]] = [
        *[
            (f"STREAM.{verb}.{name}", {})
            for verb in ("DELETE", "PURGE", "INFO")
            for name in ("UP_ROT", "DOWN")
        ],
        ("STREAM.MSG.GET.UP_LYO", {"seq": 1}),
        ("STREAM.MSG.DELETE.UP_ROT", {"seq": 1}),
        ("DIRECT.GET.UP_ROT", {"seq": 1}),
        ("STREAM.CREATE.EVIL", {"name": "EVIL", "subjects": ["evil"]}),
        ("CONSUMER.CREATE.DOWN.spy", {"stream_name": "DOWN", "config": durable}),
        ("CONSUMER.DELETE.DOWN.site-ROT", {}),
        ("CONSUMER.RESET.DOWN.site-LYO", {"seq": 1}),
        ("CONSUMER.PAUSE.DOWN.site-LYO", {"pause_until": "2099-01-01T00:00:00Z"}),
    ]
    attempts = [
        (f"{prefix}.{subject}", order)
        for subject, order in orders
        for prefix in ("hub.API", "$JS.API", "$JS.hub.API")
    ]
    answers = await asyncio.gather(*[ask(attacker, *attempt) for attempt in attempts])
    assert not [answer for answer in answers if answer and "error" not in answer]
    assert await stored(central, "UP_ROT") == 1
    names = json.loads(await central.request("$JS.API.STREAM.NAMES", b""))["streams"]
    assert sorted(set(names) - {"UP_NEW"}) == ["DOWN", "UP_LYO", "UP_ROT"]
    kept = json.loads(await central.request("$JS.API.CONSUMER.NAMES.DOWN", b""))["consumers"]
    assert {"site-LYO", "site-ROT"} <= set(kept) <= {"site-LYO", "site-ROT", "site-NEW"}


async def test_no_answer_can_be_led_into_another_sites_subject(central, attacker):
    async def answer(subject: str, question: bytes) -> bytes:
        return question

    serving = asyncio.create_task(central.serve("ctl.*.>", answer, queue="control"))
    await asyncio.sleep(0.1)
    await central.publish_batch("down.ROT", [b"mine"], expected_last=0, over="down.ROT")
    request = b'{"batch":1,"expires":500000000}'
    for reply in ("up.LYO.forged", "down.LYO", "down.all", "ctl.LYO.forged", "cmd.LYO.rewind"):
        await attacker.publish("up.ROT.o", b"bait", reply=reply)
        await attacker.publish("ctl.ROT.echo", b"forged", reply=reply)
        for prefix in ("hub.API", "$JS.API"):
            api = f"{prefix}.CONSUMER.MSG.NEXT.DOWN.site-ROT"
            await attacker.publish(api, request, reply=reply)
            await attacker.publish(f"{prefix}.CONSUMER.INFO.DOWN.site-ROT", b"", reply=reply)
    await asyncio.sleep(0.7)
    assert await stored(central, "UP_ROT") == 5, "the attack did not even begin"
    assert await stored(central, "UP_LYO") == 0
    assert await stored(central, "DOWN") == 1
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_no_header_gives_a_site_power_over_its_stream(central, attacker, rot):
    await rot.publish_batch("up.ROT.o", [b"a", b"b"], expected_last=0, over="up.ROT.>")
    for name, value in (
        ("Nats-Rollup", "all"),
        ("Nats-TTL", "1s"),
        ("Nats-Schedule", "@at 2099-01-01T00:00:00Z"),
        ("Nats-Incr", "+1"),
    ):
        with contextlib.suppress(nats.errors.Error):
            await attacker.request("up.ROT.o", b"x", headers={name: value}, timeout=0.3)
    answer = json.loads(await central.request("$JS.API.STREAM.INFO.UP_ROT", b""))
    assert answer["state"]["first_seq"] == 1
    assert "num_deleted" not in answer["state"]


async def test_a_site_can_not_block_the_centre_with_more_connections_than_its_share(
    broker, keys, central
):
    links = [Link(settings(broker, keys, "ROT")) for _ in range(9)]
    async with contextlib.AsyncExitStack() as stack:
        for link in links[:8]:
            await stack.enter_async_context(link)
            await link.wait_connected(5)
        await stack.enter_async_context(links[8])
        with pytest.raises(BrokerUnreachable, match="maximum account active connections"):
            await links[8].wait_connected(0.6)
