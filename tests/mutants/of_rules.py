"""Mutants of who wins: the resolver and the policies."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

RESOLVE: Final = "sync/resolve.py"
POLICIES: Final = "sync/policies.py"
GROUPS: Final = "tests/unit/test_resolve_groups.py"
BY_POLICY: Final = "tests/unit/test_resolve_policies.py"
BY_ROW: Final = "tests/unit/test_resolve_rows.py"
BY_GROUP: Final = "tests/unit/test_resolve_groups.py"
EXCHANGE: Final = "tests/unit/test_resolve_exchange.py"
PROPERTIES: Final = "tests/unit/test_resolve_properties.py"

OF_RULES: Final[tuple[Mutant, ...]] = (
    of(
        "a column that was overruled makes the rest of its write as late as itself",
        RESOLVE,
        "v.author_of(set(group.columns) & v.columns - v.overruled).clock",
        "v.author_of(set(group.columns) & v.columns).clock",
        "tests/sim/test_verdicts.py"
        "::test_when_a_column_was_overruled_makes_the_rest_of_its_write_no_later",
    ),
    of(
        "a site is in conflict with itself",
        RESOLVE,
        "return version.author.site == write.author.site != CENTRE",
        "return False",
        BY_POLICY,
    ),
    of(
        "people at the centre are taken for one who saw everything",
        RESOLVE,
        "return version.author.site == write.author.site != CENTRE",
        "return version.author.site == write.author.site",
        BY_POLICY,
    ),
    of(
        "an unknown base conflicts with nothing",
        RESOLVE,
        "return frozenset(table.names) - _persons(table)",
        "return frozenset()",
        BY_POLICY,
    ),
    of(
        "a verdict that a site has not seen is forgotten",
        RESOLVE,
        "(version.overruled | version.contested) if own",
        "version.contested if own",
        BY_POLICY,
    ),
    of(
        "an open review may be decided by who has not seen it",
        RESOLVE,
        "(version.overruled | version.contested) if own",
        "version.overruled if own",
        BY_POLICY,
    ),
    of(
        "a kept lattice leaves no record",
        RESOLVE,
        "for part in parts if part.is_worth_a_record)",
        "for part in parts if part.is_worth_a_record and part.contested)",
        BY_POLICY,
    ),
    of(
        "what a winner displaced leaves no record",
        RESOLVE,
        "return not (self.ruling.outcome is Outcome.HERE and clash.own_stands)",
        "return self.ruling.outcome is not Outcome.HERE",
        BY_POLICY,
    ),
    of(
        "an insert forgets a deletion it had not seen",
        RESOLVE,
        "if write.op is Op.UPDATE or _deleted_unseen(since, write):",
        "if write.op is Op.UPDATE:",
        BY_ROW,
    ),
    of(
        "a deletion wins over a review",
        RESOLVE,
        "stays = _in_review(table, changed)",
        "stays = False",
        BY_ROW,
    ),
    of(
        "any edit brings a deleted row back",
        RESOLVE,
        "review = write.op is Op.UPDATE and _in_review(table, frozenset(write.new))",
        "review = write.op is Op.UPDATE",
        BY_ROW,
    ),
    of(
        "a deletion that meets an edit leaves no record",
        RESOLVE,
        "return Resolution({}, delete=True, conflicts=(conflict,))",
        "return Resolution({}, delete=True)",
        BY_ROW,
    ),
    of(
        "a fact may be updated",
        RESOLVE,
        "if table.append_only and write.op is not Op.INSERT:",
        "if table.append_only and write.op is Op.DELETE:",
        BY_ROW,
    ),
    of(
        "a lattice goes back by way of a deletion",
        RESOLVE,
        "values = {**write.new, **{c: last_head.get(c) for c in kept.overruled}}",
        "values = dict(write.new)",
        BY_ROW,
    ),
    of(
        "a lattice goes back where nothing is concurrent",
        RESOLVE,
        "if goes_back(lead, clash.head.get(lead.name), clash.new[lead.name]):",
        "if False:",
        BY_POLICY,
    ),
    of(
        "a difference of a sum is taken for its value where nothing is concurrent",
        RESOLVE,
        "case Policy.SUM | Policy.ADD_REMOVE_SET:",
        "case Policy.ADD_REMOVE_SET:",
        f"{BY_POLICY}::test_a_sum_or_set_takes_the_difference_also_where_nothing_is_concurrent",
    ),
    of(
        "two who counted to the same have counted once",
        RESOLVE,
        "if equal and group.policy is not Policy.SUM:",
        "if equal:",
        BY_POLICY,
    ),
    of(
        "the person follows a write that took no effect",
        RESOLVE,
        "if values or not (overruled or",
        "if True or not (overruled or",
        BY_GROUP,
    ),
    of(
        "a clock that went back loses to its own earlier write",
        RESOLVE,
        "*(dated[each].clock for each in own)",
        "*()",
        BY_POLICY,
    ),
    of(
        "a write that was overruled is still a rival",
        RESOLVE,
        "theirs = [v for v in standing if v.id not in own]",
        "theirs = [v for v in wrote if v.id not in own]",
        BY_POLICY,
    ),
    of(
        "the later clock loses",
        POLICIES,
        "return clash.here_clock > clash.there_clock",
        "return clash.here_clock < clash.there_clock",
        BY_POLICY,
    ),
    of(
        "a tie of clocks is not broken by the site",
        "sync/decisions.py",
        "return (self.at_ms, self.site)",
        'return (self.at_ms, "")',
        BY_POLICY,
    ),
    of(
        "a head of unknown time gives way",
        POLICIES,
        "return clash.known\n",
        "return True\n",
        BY_POLICY,
    ),
    of(
        "the site decides on a column of the centre",
        POLICIES,
        "if clash.here.site != CENTRE:",
        "if clash.here.site == CENTRE:",
        BY_POLICY,
    ),
    of(
        "the centre decides on a column of the site",
        POLICIES,
        "return take_here(clash) if there == CENTRE else _last_write(clash)",
        "return take_head(clash)",
        BY_POLICY,
    ),
    of(
        "in a draw the last to write is who was first",
        POLICIES,
        "clash.here.clock < clash.there.clock",
        "clash.here.clock > clash.there.clock",
        BY_POLICY,
        BY_GROUP,
    ),
    of(
        "decimals are compared as texts",
        POLICIES,
        "return _number(value) if column.type.kind is Kind.DECIMAL else value",
        "return value",
        BY_POLICY,
    ),
    of(
        "null wins over the smallest",
        POLICIES,
        "return sign * ((one is not None) - (other is not None))",
        "return (one is not None) - (other is not None)",
        BY_POLICY,
    ),
    of(
        "a removal from a set is not made",
        POLICIES,
        "(_members(head) - (saw - wants)) | (wants - saw)",
        "_members(head) | (wants - saw)",
        BY_POLICY,
    ),
    of(
        "a removal from a set removes what it never saw",
        POLICIES,
        "(_members(head) - (saw - wants)) | (wants - saw)",
        "wants",
        BY_POLICY,
    ),
    of(
        "a sum counts one of two differences",
        POLICIES,
        "_EXACT.add(_number(head), change)",
        "_EXACT.add(_number(old), change)",
        BY_POLICY,
    ),
    of(
        "a sum that no column can hold passes",
        POLICIES,
        "if not fits or (low is not None",
        "if (low is not None",
        BY_POLICY,
        EXCHANGE,
    ),
    of(
        "a review runs on the site's value whatever is safer",
        POLICIES,
        "(here if _is_safer(c, clash) else head)[c.name]",
        "here[c.name]",
        BY_POLICY,
    ),
    of(
        "a review compares a number with one of another unit",
        POLICIES,
        "_units_differ(clash.columns, head, here) or",
        "not is_mixed or",
        GROUPS,
        "tests/sim/test_verdicts.py",
    ),
    of(
        "a review leaves no room between two limits",
        POLICIES,
        "or _cross(clash.columns, result)",
        "or not result",
        GROUPS,
        "tests/sim/test_verdicts.py",
    ),
)
