# SPDX-License-Identifier: Apache-2.0
"""Tokens that the identity service was asked about before; a real one is asked in ``tests/scenario``."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from octavia import config
from octavia.api import access, checked
from octavia.api.settings import ApiSettings
from octavia.api.tokens import TokenCache, TokenCheck
from octavia.domain.errors import Terminal
from tests.api.conftest import Api
from tests.api.rbac.conftest import World
from tests.api.rbac.requests import OWN

_SOMEWHERE = (
    "auth_type = password\nauth_url = http://127.0.0.1:9/v3\nwww_authenticate_uri = http://keystone/v3\n"
    "username = octavia\npassword = secret\nproject_name = service\nuser_domain_name = Default\n"
    "project_domain_name = Default\nhttp_request_max_retries = 0\n"
)


def _conf(folder: Path, text: str = _SOMEWHERE) -> cfg.ConfigOpts:
    file = folder / "octavia.conf"
    file.write_text(f"[api_settings]\nauth_strategy = keystone\n[keystone_authtoken]\n{text}")
    return config.load([], program="octavia-api", files=[str(file)])


def token(
    expires_in: timedelta = timedelta(hours=1), roles: tuple[str, ...] = ("member", "reader"), **more: Any
) -> dict[str, Any]:
    """What Keystone says about a token."""
    domain = {"id": "default", "name": "Default"}
    moment = (datetime.now(UTC) + expires_in).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": "user", "name": "somebody", "domain": domain},
            "project": {"id": OWN, "name": "own", "domain": domain},
            "roles": [{"id": one, "name": one} for one in roles],
            "issued_at": moment,
            "expires_at": moment,
            "catalog": [],
            **more,
        }
    }


@pytest.fixture
def api(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Knows the tokens ``good`` and ``late``."""
    cache = TokenCache()
    monkeypatch.setattr("octavia.api.tokens.TokenCache", lambda: cache)
    for name, said in (("good", token()), ("late", token(-timedelta(seconds=1)))):
        cache.set(f"tokens/{hashlib.sha256(name.encode()).hexdigest()}", json.dumps(said).encode(), 60)
    world.restore()
    settings = ApiSettings(auth_strategy="keystone", default_project_id=None)
    return Api(world.database, settings, world.network, access=access.from_config(_conf(tmp_path)))


def test_a_known_token_says_who_asks(api: Api) -> None:
    listed = api.request("GET", "/loadbalancers", headers={"X-Auth-Token": "good", "X-Roles": "admin"})
    assert {one["project_id"] for one in listed.json["loadbalancers"]} == {OWN}


def test_a_known_token_that_has_ended_is_refused(api: Api) -> None:
    refused = api.request("GET", "/loadbalancers", headers={"X-Auth-Token": "late"})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Keystone uri="http://keystone/v3"'


def test_an_identity_service_that_is_away_is_not_the_callers_fault(api: Api) -> None:
    away = api.request("GET", "/loadbalancers", headers={"X-Auth-Token": "another"})
    assert away.status_code == 503
    assert "identity service" in away.json["faultstring"]
    assert away.headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.parametrize("path", sorted(checked.OPEN_PATHS))
def test_open_paths_are_exactly_those(api: Api, path: str) -> None:
    assert api.request("GET", f"/{path}").status_code != 401
    for other in (f"{path.rstrip('/')}/x", f"{path.rstrip('/')}x"):
        assert api.request("GET", f"/{other}").status_code == 401, other


def test_what_is_remembered_ends_and_is_bounded() -> None:
    now = 0.0
    cache = TokenCache(lambda: now, most=2)
    assert cache.get("a") is None
    for name in "abc":
        cache.set(name, name.encode(), 10)
    assert [cache.get(name) for name in "abc"] == [None, b"b", b"c"]
    now = 10.0
    assert [cache.get(name) for name in "abc"] == [None] * 3
    cache.set("d", b"d")
    assert cache.get("d") is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "auth_type"),
        (f"{_SOMEWHERE}delay_auth_decision = True\n", "delay_auth_decision"),
        ("auth_type = nonsense\n", "nonsense"),
    ],
)
def test_what_would_not_work_stops_the_start(tmp_path: Path, text: str, names: str) -> None:
    with pytest.raises(Terminal, match=names):
        TokenCheck(_conf(tmp_path, text))


def test_credentials_may_be_restricted_to_this_service_without_being_told_which_it_is(tmp_path: Path) -> None:
    conf = _conf(tmp_path)
    TokenCheck(conf)
    assert conf.keystone_authtoken.service_type == "load-balancer"
    conf = _conf(tmp_path, f"{_SOMEWHERE}service_type = lb\n")
    TokenCheck(conf)
    assert conf.keystone_authtoken.service_type == "lb"
