"""Facts get past no mark unseen: a journal that somebody shortened is sent again, and told of."""

from __future__ import annotations

import pytest

from edge.store.drain import drain_within
from edge.store.early import reading_ahead
from edge.store.open import writing
from tests.integration.edge_drain_world import site, uid  # noqa: F401

NOW = 1_700_000_000_000


def report(site, *numbers):
    """Commit these production reports in one transaction."""
    site.program.execute("BEGIN")
    site.program.executemany(
        "INSERT INTO job_responses (id, report_type) VALUES (?, 'PRODUCTION')",
        [(uid(number),) for number in numbers],
    )
    site.program.execute("COMMIT")


def delete(site, where):
    """Delete facts as somebody does who gets past the guard."""
    site.write("DROP TRIGGER IF EXISTS _sync_job_responses_guard_delete")
    site.write(f"DELETE FROM job_responses WHERE {where}")


def ids(numbers):
    return [uid(number) for number in numbers]


def told(site):
    """Return what the operator is told, but for the guard that was dropped."""
    return [each for each in site.events() if each != "MES-CAPTURE-LOST"]


def sent(site):
    return [row.id for row in site.sent()]


def test_facts_that_take_the_numbers_of_deleted_ones_are_sent_all_the_same(site):
    report(site, 1, 2, 3)
    site.sent()
    delete(site, "1")
    report(site, 4)
    assert site.value("SELECT _seq FROM job_responses") == 1
    assert sent(site) == [uid(4)]
    assert told(site) == ["MES-JOURNAL-RESTARTED"]
    assert sent(site) == []


def test_a_journal_whose_facts_are_all_deleted_begins_anew(site):
    report(site, 1)
    site.sent()
    delete(site, "1")
    assert sent(site) == []
    report(site, 2)
    assert sent(site) == [uid(2)]


@pytest.mark.parametrize("more", [3, 4])
def test_a_journal_that_grows_back_to_its_mark_is_sent_all_the_same(site, more):
    report(site, 1, 2, 3, 4, 5)
    site.sent()
    delete(site, "_seq > 2")
    report(site, *range(6, 6 + more))
    assert site.value("SELECT max(_seq) FROM job_responses") == 2 + more
    assert sent(site) == ids([1, 2, *range(6, 6 + more)])
    assert told(site) == ["MES-JOURNAL-RESTARTED"]
    assert site.store.drain(NOW) is None


def test_a_journal_that_grows_back_after_it_was_read_is_sent_all_the_same(site):
    report(site, *range(1, 301))
    opened = site.store.opened
    with reading_ahead(opened, NOW) as early:
        delete(site, "_seq > 290")
        report(site, *range(301, 311))
        with writing(opened.connection):
            drain_within(opened, NOW, early)
    found = sent(site)
    assert found == ids([*range(1, 301), *range(1, 291), *range(301, 311)])
    assert told(site) == ["MES-JOURNAL-RESTARTED"]


def test_a_long_journal_that_grew_back_is_sent_and_told_of_once(site):
    report(site, *range(1, 601))
    site.sent()
    delete(site, "_seq > 100")
    report(site, *range(601, 1601))
    assert sent(site) == ids([*range(1, 101), *range(601, 1601)])
    assert told(site) == ["MES-JOURNAL-RESTARTED"]


def test_retention_that_leaves_the_newest_fact_restarts_no_journal(site):
    report(site, 1, 2, 3)
    site.sent()
    delete(site, "_seq < 3")
    report(site, 4)
    assert sent(site) == [uid(4)]
    assert told(site) == []


def test_a_newest_fact_whose_id_is_no_utf8_is_known_again(site):
    site.write(
        "INSERT INTO job_responses (id, report_type) VALUES (CAST(x'ff41' AS TEXT), 'SETUP')"
    )
    assert len(sent(site)) == 1
    assert site.store.drain(NOW) is None
    report(site, 2)
    assert sent(site) == [uid(2)]
    assert told(site) == []


def test_a_store_that_never_noted_its_newest_fact_sends_nothing_twice(site):
    report(site, 1)
    site.sent()
    site.write("UPDATE _sync_table SET journal_id = NULL")  # as an earlier release left it
    assert sent(site) == []
    assert site.value("SELECT journal_id FROM _sync_table WHERE name = 'job_responses'") == uid(1)
    report(site, 2)
    assert sent(site) == [uid(2)]
    assert told(site) == []


def test_facts_before_one_that_took_its_own_place_are_sent(site):
    report(site, 1)
    site.sent()
    report(site, 2)
    names = "id, site_id, created_at, report_type"
    site.write(
        f"INSERT OR REPLACE INTO job_responses ({names})"
        f" SELECT {names} FROM job_responses WHERE id = ?",
        uid(1),
    )
    assert uid(2) in sent(site)
    assert told(site) == []
    assert sent(site) == []
