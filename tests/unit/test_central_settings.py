"""The centre refuses settings that its sites could not follow."""

from __future__ import annotations

import pytest

from central.settings import CentralSettings
from shared.changes import TOMBSTONE_DAYS
from shared.errors import BadSetting
from shared.settings import read_settings


@pytest.mark.parametrize("days", [0, TOMBSTONE_DAYS])
def test_a_feed_reaches_back_no_further_than_sites_remember_deletions(days):
    given = {"MES_DATABASE_URL": "postgresql://centre", "MES_FEED_DAYS": str(days)}
    with pytest.raises(BadSetting, match=f"MES_FEED_DAYS={days} is not above 0 and below 90"):
        read_settings(CentralSettings, given)


@pytest.mark.parametrize("name", ["MES_VERSION_DAYS", "MES_HISTORY_DAYS"])
def test_a_negative_time_to_keep_things_is_refused_by_name(name):
    given = {"MES_DATABASE_URL": "postgresql://centre", name: "-1"}
    with pytest.raises(BadSetting, match=f"{name}=-1"):
        read_settings(CentralSettings, given)


def test_times_may_be_parts_of_a_day():
    given = {"MES_DATABASE_URL": "postgresql://centre", "MES_FEED_DAYS": "0.5"}
    assert read_settings(CentralSettings, given).feed_days == 0.5


def test_a_backup_that_is_late_at_once_is_refused():
    given = {"MES_DATABASE_URL": "postgresql://centre", "MES_BACKUP_HOURS": "0"}
    with pytest.raises(BadSetting, match="MES_BACKUP_HOURS"):
        read_settings(CentralSettings, given)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"MES_ARCHIVE_DIR": "archive"}, "is to begin with /"),
        ({"MES_ARCHIVE_AFTER_MONTHS": "12"}, "needs a folder: set MES_ARCHIVE_DIR"),
        ({"MES_ARCHIVE_AFTER_MONTHS": "-1", "MES_ARCHIVE_DIR": "/archive"}, "not be negative"),
    ],
)
def test_an_archive_that_nobody_would_find_again_is_refused(settings, why):
    with pytest.raises(BadSetting, match=why):
        read_settings(CentralSettings, {"MES_DATABASE_URL": "postgresql://centre"} | settings)
