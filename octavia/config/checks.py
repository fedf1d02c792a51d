# SPDX-License-Identifier: Apache-2.0
"""Pairs of options that contradict each other, noticed when a process starts."""

from oslo_config import cfg

from octavia.config.values import TLS_VERSIONS


class Contradiction(ValueError):
    """Two options cannot both be meant; the text names them and says what to change."""


def check(conf: cfg.ConfigOpts) -> None:
    """:raises Contradiction: with the first one found."""
    _check_tls_versions(conf.api_settings)
    _check_ciphers(conf.api_settings)
    _check_vrrp(conf.keepalived_vrrp)


def _check_tls_versions(api: cfg.ConfigOpts.GroupAttr) -> None:
    if api.minimum_tls_version is None:
        return
    oldest = TLS_VERSIONS.index(api.minimum_tls_version)
    for option in ("default_listener_tls_versions", "default_pool_tls_versions"):
        older = [version for version in api[option] if TLS_VERSIONS.index(version) < oldest]
        if older:
            raise Contradiction(
                f"[api_settings] {option} contains {', '.join(older)}, older than minimum_tls_version"
                f" {api.minimum_tls_version}: remove it there or lower the minimum."
            )


def _check_ciphers(api: cfg.ConfigOpts.GroupAttr) -> None:
    prohibited = set(filter(None, api.tls_cipher_prohibit_list.split(":")))
    for option in ("default_listener_ciphers", "default_pool_ciphers"):
        clash = prohibited & set(api[option].split(":"))
        if clash:
            raise Contradiction(
                f"[api_settings] {option} contains {', '.join(sorted(clash))}, which tls_cipher_prohibit_list"
                " forbids: remove it from one of the two."
            )


def _check_vrrp(vrrp: cfg.ConfigOpts.GroupAttr) -> None:
    if vrrp.vrrp_version == 2 and not isinstance(vrrp.vrrp_advert_int, int):
        raise Contradiction(
            f"[keepalived_vrrp] vrrp_advert_int = {vrrp.vrrp_advert_int} needs vrrp_version = 3:"
            " VRRP version 2 counts whole seconds."
        )
