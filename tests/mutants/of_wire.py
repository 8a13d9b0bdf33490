"""Mutants of what crosses the wire: numbers, hashes, bytes, and the pump that sends them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

PROTOCOL: Final = "sync/protocol.py"
CODEC: Final = "sync/codec.py"
FRAMES: Final = "sync/frames.py"
PUMP: Final = "sync/pump.py"
OF_PROTOCOL: Final = "tests/unit/test_protocol.py"
OF_CODEC: Final = "tests/unit/test_codec.py"
OF_PUMP: Final = "tests/unit/test_pump.py"
SESSION: Final = "sync/nats_session.py"
HEARING: Final = "sync/nats_hearing.py"
MOTION: Final = "sync/nats_motion.py"
SERVE: Final = "sync/nats_serve.py"
OF_HEARING: Final = "tests/unit/test_hearing.py"
OF_LINK: Final = "tests/integration/test_transport_link.py"
OF_SLOW: Final = "tests/integration/test_transport_slow.py"
STOPS_SLOWLY: Final = (
    f"{OF_SLOW}"
    "::test_who_stops_refuses_what_was_asked_though_the_line_takes_long_and_keeps_the_line"
)

OF_WIRE: Final[tuple[Mutant, ...]] = (
    of(
        "a message after a missing one is applied",
        PROTOCOL,
        "if n == position.n + 1:",
        "if n >= position.n + 1:",
        OF_PROTOCOL,
    ),
    of(
        "the next of another past is no fork",
        PROTOCOL,
        "return Verdict.APPLY if previous == position.hash else Verdict.FORK",
        "return Verdict.APPLY",
        OF_PROTOCOL,
    ),
    of(
        "a known number with another content is no fork",
        PROTOCOL,
        "return Verdict.SKIP if own == position.hash else Verdict.FORK",
        "return Verdict.SKIP",
        OF_PROTOCOL,
    ),
    of(
        "a gap is skipped",
        PROTOCOL,
        "return Verdict.SKIP if n < position.n else Verdict.GAP",
        "return Verdict.SKIP",
        OF_PROTOCOL,
    ),
    of(
        "a worker that stands still keeps what it has asked for",
        "sync/streams.py",
        'if not consumer["num_ack_pending"] and not consumer["num_waiting"]:',
        'if not consumer["num_ack_pending"]:',
        "tests/integration/test_streams.py",
    ),
    of(
        "the hash of a transaction says nothing of its epoch",
        PROTOCOL,
        r'link.update(f"{epoch}\x00{n}\x00{tx_id}\x00".encode())',
        r'link.update(f"{n}\x00{tx_id}\x00".encode())',
        OF_PROTOCOL,
    ),
    of(
        "the hash of a transaction stands for its first part alone",
        PROTOCOL,
        "for each in digests:",
        "for each in list(digests)[:1]:",
        OF_PROTOCOL,
    ),
    of(
        "the hash of an entry is over the wrong bytes",
        PROTOCOL,
        "link.update(hashlib.sha256(body).digest())",
        "link.update(hashlib.sha256(body[:1]).digest())",
        OF_PROTOCOL,
    ),
    of(
        "the digest of a part is not looked at",
        CODEC,
        "if digest(body) != part.digests[part.part]:",
        "if not body:",
        OF_CODEC,
    ),
    of(
        "values of columns stored once are not counted",
        CODEC,
        "values += count_values(opened[-1])",
        "values += 1",
        OF_CODEC,
    ),
    of(
        "1, 1.0 and true are packed as one value",
        CODEC,
        "if len(column) > 1 and (column[0] is None or type(column[0]) is str):",
        "if len(column) > 1:",
        OF_CODEC,
    ),
    of(
        "a number that no position can have is taken",
        CODEC,
        "if not low <= number <= high:",
        "if not low - 1 <= number <= high:",
        OF_CODEC,
    ),
    of(
        "a column of another length is taken",
        CODEC,
        "(len(packed) != rows and not (may_lack and not packed))",
        "len(packed) > rows",
        OF_CODEC,
    ),
    of(
        "values of any type are taken",
        CODEC,
        "return kind in (str, int, float, bytes, type(None))",
        "return True",
        OF_CODEC,
    ),
    of(
        "a body that does not tell its size is opened",
        FRAMES,
        "if not 0 <= size <= BODY_BYTES_MAX:",
        "if not -1 <= size <= BODY_BYTES_MAX:",
        OF_CODEC,
    ),
    of(
        "a newer wire version is read as ours",
        FRAMES,
        "if payload[3] != WIRE_VERSION:",
        "if payload[3] < WIRE_VERSION:",
        OF_CODEC,
    ),
    of(
        "a message of another kind is taken",
        FRAMES,
        "or not fields or fields[0] != kind:",
        "or not fields:",
        OF_CODEC,
    ),
    of(
        "millions of values of an extension type are made of few bytes",
        FRAMES,
        "ext_hook=_not_ours, ",
        "",
        f"{OF_CODEC}::test_an_extension_type_is_refused_before_the_next_one_is_made",
    ),
    of(
        "millions of times of msgpack's own are made of few bytes",
        FRAMES,
        "timestamp=1, ",
        "",
        f"{OF_CODEC}::test_a_time_of_msgpacks_own_is_a_number",
    ),
    of(
        "a stream that lost its tail is not sent again",
        PUMP,
        "went_back = wrong.actual < self.tail",
        "went_back = False",
        OF_PUMP,
    ),
    of(
        "a tail ahead of us is taken for a loss",
        PUMP,
        "went_back = wrong.actual < self.tail",
        "went_back = True",
        OF_PUMP,
    ),
    of(
        "pieces are counted as messages that were sent",
        PUMP,
        "await self.outbox.sent(len(messages))",
        "await self.outbox.sent(len(pieces))",
        OF_PUMP,
    ),
    of(
        "pieces of something else make a message",
        PUMP,
        "if digest(joined) != whole:",
        "if not joined:",
        OF_PUMP,
    ),
    of(
        "a gap is not asked for",
        PUMP,
        "if verdict is Verdict.GAP:",
        "if verdict is None:",
        OF_PUMP,
    ),
    of(
        "a fork is swallowed and what follows is handed on",
        PUMP,
        "if verdict in (Verdict.GAP, Verdict.FORK):",
        "if verdict is Verdict.GAP:",
        OF_PUMP,
    ),
    of(
        "pieces are acked before the last is here",
        PUMP,
        "if self._open is None or not self._waits:",
        "if self._open is None or self._waits:",
        OF_PUMP,
    ),
    of(
        "pieces are forgotten before the store has taken them",
        PUMP,
        "self._joined.add(name)",
        "del self._pieces[name]",
        OF_PUMP,
    ),
    of(
        "a batch holds more messages than a broker takes",
        PUMP,
        "if count and len(pieces) + len(more) > BATCH_PIECES_MAX:",
        "if count and len(pieces) > BATCH_PIECES_MAX:",
        OF_PUMP,
    ),
    of(
        "a large answer on a slow line is given up",
        SESSION,
        "is_moving = outgoing.is_moving() | incoming.is_moving()",
        "is_moving = outgoing.is_moving()",
        f"{OF_SLOW}::test_an_answer_that_takes_longer_on_the_line_than_one_waits_for_silence_comes",
    ),
    of(
        "a question behind much else is given up",
        SESSION,
        "self.bytes_out() - self.bytes_moved()[0] + len(payload) + self.nc.max_payload",
        "len(payload)",
        f"{OF_SLOW}::test_a_question_waits_its_turn_behind_what_was_published_before_it",
    ),
    of(
        "what others send is taken for an answer under way",
        MOTION,
        "return amid is not None and self._amid == amid and self._received > received",
        "return self._received > received",
        f"{OF_SLOW}::test_an_end_that_died_is_given_up_in_time_however_full_of_messages_the_line_is",
    ),
    of(
        "a leader that has lost its followers is taken for a broker that answers",
        HEARING,
        "if answer is not None and not is_undecided(answer):",
        "if answer is not None:",
        f"{OF_LINK}::test_one_of_several_brokers_that_decides_nothing_is_left_for_another",
    ),
    of(
        "a centre that answers hides that the broker decides nothing",
        HEARING,
        "if subject.startswith(_OF_THE_CENTRE):",
        "if False:",
        f"{OF_LINK}::test_a_broker_stays_though_nobody_answers_for_the_centre",
    ),
    of(
        "a broker is deaf since a question that was asked before another was answered",
        HEARING,
        "self._since = max(asked_at, self._heard_at)",
        "self._since = asked_at",
        f"{OF_HEARING}::test_one_question_without_an_answer_is_not_deafness_while_others_are_answered",
    ),
    of(
        "two questions that were lost an hour apart make a broker deaf",
        HEARING,
        "if self._since is None or asked_at > self._until + self._gap_max_s:",
        "if self._since is None:",
        f"{OF_HEARING}::test_questions_in_vain_that_lie_far_apart_do_not_add_up",
    ),
    of(
        "who asks is left waiting by one who answers and stops",
        SERVE,
        """for session, msg in under_way.values():
            await _refuse(session, msg)""",
        "",
        f"{OF_LINK}::test_who_asks_hears_at_once_that_the_one_who_answers_stops",
    ),
    of(
        "a question that waits its turn is forgotten by one who stops",
        SERVE,
        "await self._drain(session, subscription)",
        "await session.unsubscribe(subscription)",
        f"{OF_LINK}::test_nobody_who_has_asked_waits_in_vain_for_the_one_who_stops",
    ),
    of(
        "one who stops takes the connection along where the line is slow",
        SERVE,
        "_, late = await asyncio.wait({draining}, timeout=_DRAIN_S)",
        """_, late = await asyncio.wait({draining}, timeout=_DRAIN_S)
        draining.cancel()""",
        STOPS_SLOWLY,
    ),
    of(
        "one who stops gives its ping up where the line is slower still",
        SESSION,
        "await self.nc.rtt(timeout=NEVER_S)\n                await sub",
        "await self.nc.flush()\n                await sub",
        STOPS_SLOWLY,
    ),
    of(
        "one who stops hears nothing any more of what is on its way",
        SERVE,
        """await self._drain(session, subscription)
            raise""",
        """await self._drain(session, subscription)
            await session.unsubscribe(subscription)
            raise""",
        STOPS_SLOWLY,
    ),
    of(
        "one who stops waits for whatever is on the line",
        SERVE,
        "{draining}, timeout=_DRAIN_S",
        "{draining}, timeout=None",
        STOPS_SLOWLY,
    ),
    of(
        "who waits for the pong of a connection that is gone waits for ever",
        SERVE,
        "session.lost.add_done_callback(lambda _: draining.cancel())",
        "",
        f"{OF_SLOW}::test_nothing_of_one_who_stopped_outlives_its_connection",
    ),
    of(
        "nobody is told why the broker takes nothing",
        "edge/agent.py",
        'self._state["not_taken"] = str(why)',
        'self._state["not_taken"] = ""',
        "tests/faults/test_broker_disk_full.py"
        "::test_what_does_not_fit_on_the_brokers_disk_waits_at_the_sites_until_it_does",
    ),
)
