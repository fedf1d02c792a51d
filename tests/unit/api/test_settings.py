# SPDX-License-Identifier: Apache-2.0
"""octavia.conf becomes the API's settings."""

from pathlib import Path

import pytest

from octavia import config
from octavia.api.settings import ApiSettings, from_config
from octavia.domain.errors import Terminal
from octavia.domain.rules import Concurrency
from octavia.domain.tls import TlsPolicy
from octavia.domain.tree import Topology


def settings(tmp_path: Path, text: str = "") -> ApiSettings:
    file = tmp_path / "octavia.conf"
    file.write_text(text)
    return from_config(config.load([], program="octavia-api", files=[str(file)]))


def test_the_defaults_of_the_two_agree_except_for_who_may_call(tmp_path: Path) -> None:
    made = settings(tmp_path)
    assert made.auth_strategy == "keystone"
    assert made == ApiSettings(auth_strategy="keystone", default_project_id=None, enforce_quotas=True)


def test_options_arrive(tmp_path: Path) -> None:
    made = settings(
        tmp_path,
        """
        [api_settings]
        auth_strategy = noauth
        concurrent_updates = reject
        pagination_max_limit = infinite
        allow_ping_health_monitors = false
        [networking]
        reserved_ips = 192.0.2.1,192.0.2.2
        valid_vip_networks = ABC, def
        [haproxy_amphora]
        timeout_client_data = 7
        [controller_worker]
        loadbalancer_topology = ACTIVE_STANDBY
        [keepalived_vrrp]
        vrrp_version = 3
        vrrp_advert_int = 0.25
        """.replace("\n        ", "\n"),
    )
    assert made.deployment.concurrent_updates is Concurrency.REJECT
    assert not made.deployment.allow_ping_health_monitors
    assert made.deployment.reserved_ips == ("192.0.2.1", "192.0.2.2")
    assert made.pagination_max_limit is None
    assert made.valid_vip_networks == frozenset({"abc", "def"})
    assert made.timeout_client_data == 7
    assert made.loadbalancer_topology is Topology.ACTIVE_STANDBY
    assert (made.vrrp_version, made.vrrp_advert_int) == (3, 0.25)


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("0", None), ("-3", None)])
def test_page_limits(tmp_path: Path, text: str, limit: int | None) -> None:
    assert settings(tmp_path, f"[api_settings]\npagination_max_limit = {text}").pagination_max_limit == limit


def test_a_page_limit_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match="pagination_max_limit = many"):
        settings(tmp_path, "[api_settings]\npagination_max_limit = many")


def test_options_about_tls_arrive(tmp_path: Path) -> None:
    made = settings(
        tmp_path,
        """
        [api_settings]
        default_listener_ciphers = A:B
        default_pool_ciphers = C
        tls_cipher_blacklist = D:E
        default_listener_tls_versions = TLSv1.3
        default_pool_tls_versions = TLSv1.2, TLSv1.3
        minimum_tls_version = TLSv1.2
        default_listener_alpn_protocols = h2
        default_pool_alpn_protocols = http/1.1
        """.replace("\n        ", "\n"),
    )
    assert made.deployment.tls == TlsPolicy(
        listener_ciphers="A:B",
        pool_ciphers="C",
        prohibited_ciphers=frozenset({"D", "E"}),
        listener_versions=("TLSv1.3",),
        pool_versions=("TLSv1.2", "TLSv1.3"),
        minimum_version="TLSv1.2",
        listener_alpn_protocols=("h2",),
        pool_alpn_protocols=("http/1.1",),
    )
    assert (made.default_listener_ciphers, made.default_pool_tls_versions) == ("A:B", ("TLSv1.2", "TLSv1.3"))
