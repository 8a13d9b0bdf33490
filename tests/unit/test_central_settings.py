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
    with pytest.raises(BadSetting, match=f"MES_FEED_DAYS={days} is not from 1 to 89"):
        read_settings(CentralSettings, given)
