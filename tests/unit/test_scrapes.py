"""Who may read the metrics."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection
from socket import socket

import pytest

from central.scrapes import NeedsMetricsToken, NotFromHere, Scrapers, read_scrapers
from central.worker_metrics import serving
from shared.errors import BadSetting

TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_this_machine_is_answered(address):
    Scrapers().check(address, {"authorization": "Bearer anything"})


@pytest.mark.parametrize("address", ["10.0.0.7", "::ffff:10.0.0.7", "fe80::1", "", "localhost"])
def test_without_a_token_nobody_else_is(address):
    with pytest.raises(NotFromHere):
        Scrapers().check(address, {})


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(header):
    with pytest.raises(NotFromHere):
        Scrapers().check("127.0.0.1", {header: "127.0.0.1"})


def test_who_shows_the_token_is_answered_from_anywhere():
    Scrapers(TOKEN).check("10.0.0.7", {"authorization": f"bearer {TOKEN}"})


@pytest.mark.parametrize("shown", ["", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer é"])
def test_with_a_token_this_machine_has_to_show_it_as_well(shown):
    with pytest.raises(NeedsMetricsToken):
        Scrapers(TOKEN).check("127.0.0.1", {"authorization": shown})


def test_a_token_is_read_from_its_file(tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_scrapers(tmp_path / "token") == Scrapers(TOKEN)
    assert read_scrapers(None) == Scrapers()


@pytest.mark.parametrize("content", ["", "short", "a b" * 20, "é" * 20, "a\nb" * 20, None])
def test_a_file_without_a_token_is_a_setting_to_mend_and_never_no_token(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadSetting, match="MES_METRICS_TOKEN_FILE"):
        read_scrapers(path)


def scraped(port: int, **headers: str) -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def a_free_port() -> int:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_worker_gives_its_metrics_to_who_may_read_them_alone():
    port = a_free_port()
    with serving("127.0.0.1", port, Scrapers(TOKEN)):
        assert scraped(port)[0] == 401
        code, text = scraped(port, Authorization=f"Bearer {TOKEN}")
        assert (code, "python_info" in text) == (200, True)
        with pytest.raises(BadSetting, match="--metrics-port"), serving("", port, Scrapers()):
            pass
    with serving("127.0.0.1", port, Scrapers()):
        assert scraped(port)[0] == 200
        assert scraped(port, **{"X-Forwarded-For": "10.0.0.7"})[0] == 403
