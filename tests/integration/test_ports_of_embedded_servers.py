"""The ports of embedded servers: each has its own, and what is read of one is that server's."""

from __future__ import annotations

import pytest

from deploy.local.folder import choose_ports
from deploy.local.servers import NatsServer


def test_a_list_of_ports_that_a_kill_cut_short_is_made_anew(tmp_path):
    whole = choose_ports(tmp_path, ["client"], anew=False)
    assert choose_ports(tmp_path, ["client"], anew=False) == whole
    for cut in ("", '{"client": 2'):
        (tmp_path / "ports.json").write_text(cut)
        made = choose_ports(tmp_path, ["client"], anew=False)
        assert choose_ports(tmp_path, ["client"], anew=False) == made


def test_no_two_folders_of_a_run_are_given_one_port(tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.local.folder.PORTS", range(20_000, 20_020))
    folders = [tmp_path / f"n{number}" for number in range(3)]
    for folder in folders:
        folder.mkdir()
    made = [choose_ports(folder, ["a", "b", "c", "d"], anew=False) for folder in folders]
    ports = [port for some in made for port in some.values()]
    assert len(set(ports)) == len(ports)


@pytest.mark.nats
def test_of_a_port_that_another_program_has_taken_nothing_is_read(tmp_path):
    with NatsServer(tmp_path / "one") as one, NatsServer(tmp_path / "two") as two:
        two._ports["monitor"] = one.port
        assert two.monitor("/healthz") == {}
