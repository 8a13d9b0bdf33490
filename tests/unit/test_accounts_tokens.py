"""Keys, tokens and their files, without a server."""

from __future__ import annotations

import base64
import json
import stat
from typing import TYPE_CHECKING

import nkeys
import pytest

from shared.errors import BadSetting
from sync.accounts import (
    ServerSettings,
    account_token,
    check_site,
    creds_path,
    ensure_keys,
    known_sites,
    server_config,
    trust_config,
)
from sync.nats_grants import site_account, site_user
from sync.nats_keys import ACCOUNT, USER, new_key, read_claims, read_creds, sign_token

if TYPE_CHECKING:
    from pathlib import Path

SITES = ["LYO", "ROT"]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    ensure_keys(tmp_path / "keys", SITES, now_s=1_700_000_000)
    return tmp_path / "keys"


def snapshot(keys: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(keys)): (path.read_bytes(), path.stat().st_ino)
        for path in keys.rglob("*")
        if path.is_file()
    }


def unpadded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_token_is_signed_by_its_issuer_in_the_form_the_server_reads():
    issuer, holder = new_key(ACCOUNT), new_key(USER)
    token = sign_token(issuer, holder.public, "ROT", {"type": "user"}, issued_at_s=7)
    header, body, signature = token.split(".")
    assert json.loads(unpadded(header)) == {"typ": "JWT", "alg": "ed25519-nkey"}
    claims = read_claims(token)
    assert (claims["iss"], claims["sub"], claims["iat"]) == (issuer.public, holder.public, 7)
    pair = nkeys.from_seed(bytearray(issuer.seed))
    assert pair.verify(f"{header}.{body}".encode(), unpadded(signature))


def test_tokens_that_say_something_else_have_another_id():
    issuer, holder = new_key(ACCOUNT), new_key(USER)
    ids = {
        read_claims(sign_token(issuer, holder.public, "n", {"x": x}, issued_at_s=at))["jti"]
        for x in (1, 2)
        for at in (1, 2)
    }
    assert len(ids) == 4


def test_keys_are_of_their_kind_and_never_shown():
    account, user = new_key(ACCOUNT), new_key(USER)
    assert (account.public[0], user.public[0]) == ("A", "U")
    assert user.seed.decode() not in f"{user!r} {user} {[user]}"


def test_making_keys_again_leaves_every_byte_as_it_was(keys):
    before = snapshot(keys)
    ensure_keys(keys, SITES, now_s=1_800_000_000)
    assert snapshot(keys) == before


def test_a_new_site_changes_nothing_for_the_others(keys):
    before = snapshot(keys)
    ensure_keys(keys, [*SITES, "BCN"], now_s=1_800_000_000)
    after = snapshot(keys)
    assert before.items() <= after.items()
    assert known_sites(keys) == ["BCN", "LYO", "ROT"]


def test_a_token_whose_rights_have_changed_is_written_anew_with_the_same_keys(keys):
    path = keys / "sites" / "ROT" / "account.jwt"
    old = read_claims(path.read_text())
    operator_seed = (keys / "operator.seed").read_bytes()
    path.write_text((keys / "sites" / "LYO" / "account.jwt").read_text())
    ensure_keys(keys, SITES, now_s=1_800_000_000)
    new = read_claims(account_token(keys, "ROT"))
    assert (new["sub"], new["nats"]) == (old["sub"], old["nats"])
    assert new["iat"] == 1_800_000_000
    assert (keys / "operator.seed").read_bytes() == operator_seed


def test_only_the_owner_can_read_what_is_secret(keys):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in keys.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in keys.rglob("*") if path.is_dir()}
    assert (modes, folders | {stat.S_IMODE(keys.stat().st_mode)}) == ({0o600}, {0o700})


def test_a_directory_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path):
    loose = tmp_path / "keys"
    loose.mkdir()
    loose.chmod(0o755)
    with pytest.raises(BadSetting, match=f"chmod 700 {loose}"):
        ensure_keys(loose, SITES)
    assert not list(loose.iterdir())


def test_no_seed_stands_in_what_the_server_is_told(keys, tmp_path):
    told = server_config(keys, ServerSettings(name="n1", store_dir=tmp_path))
    told += trust_config(keys, tmp_path)
    seeds = [path.read_text().strip() for path in keys.rglob("*.seed")]
    seeds += [read_creds(creds_path(keys, who))[1].seed.decode() for who in ("sys", *SITES)]
    assert len(seeds) == 8
    assert not [seed for seed in seeds if seed in told]


def test_the_server_is_told_of_every_account(keys, tmp_path):
    told = trust_config(keys, tmp_path)
    for who in ("sys", "central", *SITES):
        assert f"{read_claims(account_token(keys, who))['sub']}: {account_token(keys, who)}" in told


@pytest.mark.parametrize(
    "name",
    [*("", "rot", "A.B", "A>", "*", "A B", "A/B", "..", "Ä", "A\n", "\u0661"), "X" * 21],
)
def test_a_name_that_could_leave_its_subject_or_its_folder_is_no_site(tmp_path, name):
    with pytest.raises(BadSetting, match="can't name a site"):
        check_site(name)
    with pytest.raises(BadSetting):
        ensure_keys(tmp_path / "keys", [name])


@pytest.mark.parametrize("name", ["A", "ROT", "PLANT_7", "X-1", "0", "X" * 20, "SYS", "CENTRAL"])
def test_a_name_of_capitals_digits_and_dashes_is_a_site(name):
    assert check_site(name) == name


def test_a_site_named_like_one_of_ours_has_keys_of_its_own(tmp_path):
    ensure_keys(tmp_path / "keys", ["SYS", "CENTRAL"])
    subjects = {
        read_claims(account_token(tmp_path / "keys", who))["sub"]
        for who in ("sys", "central", "SYS", "CENTRAL")
    }
    assert len(subjects) == 4


def test_no_right_of_a_site_reaches_beyond_its_own_name():
    imports, user = site_account("ROT", "ACENTRAL")["imports"], site_user("ROT")
    allowed = user["pub"]["allow"]
    assert len(imports) > 3
    assert len(allowed) > 3
    for subject in (*allowed, *(entry["subject"] for entry in imports)):
        # Domain and account, which a server may put before the name of the stream.
        tokens = subject.removeprefix("$JS.ACK.*.*.").split(".")
        assert {"ROT", "site-ROT"} & set(tokens), subject
        before = tokens[: min(tokens.index(n) for n in ("ROT", "site-ROT") if n in tokens)]
        assert not {"*", ">"} & set(before), f"{subject}: any name fits before ours"


def test_a_site_that_has_no_keys_is_named_with_what_to_do(keys):
    with pytest.raises(BadSetting, match="ensure_keys"):
        account_token(keys, "NEW")


def test_a_damaged_key_is_named_with_its_file(keys):
    path = keys / "sites" / "ROT" / "account.seed"
    path.write_text("SAAAAAAA\n")
    with pytest.raises(BadSetting, match=r"account\.seed.*backup"):
        ensure_keys(keys, SITES)
