# SPDX-License-Identifier: Apache-2.0
"""Load balancers that speak TLS, and a store of what they name."""

from typing import Any

from octavia.domain.tls import ALPN_PROTOCOLS, CIPHERS
from octavia.domain.tree import ClientAuthentication, Listener, LoadBalancer, MonitorType, Pool, Protocol
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki
from tests.unit.dataplane.samples import listener, load_balancer, member, monitor, pool

TLS_HEADERS = {
    f"X-SSL-{name}": "true"
    for name in (
        *("Client-Verify", "Client-Has-Cert", "Client-DN", "Client-CN", "Issuer", "Client-SHA1"),
        *("Client-Not-Before", "Client-Not-After"),
    )
}
BOTH = ("TLSv1.2", "TLSv1.3")


def site(number: int = 1, **values: Any) -> Listener:
    """A listener that terminates TLS."""
    given: dict[str, Any] = {
        "protocol": Protocol.TERMINATED_HTTPS,
        "default_tls_container_ref": "site",
        "tls_ciphers": CIPHERS,
        "tls_versions": BOTH,
        "alpn_protocols": ALPN_PROTOCOLS,
    }
    return listener(number, **given | values)


def secure_pool(number: int = 1, **values: Any) -> Pool:
    """A pool that speaks TLS to its members."""
    given: dict[str, Any] = {"tls_enabled": True, "tls_ciphers": CIPHERS, "tls_versions": BOTH}
    return pool(number, **given | values)


def store() -> MemoryTenantCertificates:
    """What the samples name."""
    kept, ca = MemoryTenantCertificates(), pki.Ca("CA")
    for name in ("site", "shop", "blog", "client"):
        kept.keep(pki.tenant(ca.issue(f"{name}.example.org"), ca), name)
    kept.keep(ca.pem, "ca")
    kept.keep(ca.revoke(ca.issue("revoked")), "crl")
    return kept


def tls_samples() -> dict[str, LoadBalancer]:
    """Every option of listeners and pools that has to do with TLS."""
    client_ca: dict[str, Any] = {"client_ca_tls_container_ref": "ca"}
    samples = {
        "plain site": load_balancer((site(), pool())),
        "sni": load_balancer((site(sni_container_refs=("shop", "site", "blog")), pool())),
        "sni alone": load_balancer(
            (site(default_tls_container_ref=None, sni_container_refs=("shop",)), pool())
        ),
        "headers": load_balancer((site(insert_headers=TLS_HEADERS), pool())),
        "hsts": load_balancer(
            (site(hsts_max_age=31536000, hsts_include_subdomains=True, hsts_preload=True), pool())
        ),
        "old versions": load_balancer((site(tls_versions=("TLSv1.1", "TLSv1.2")), pool())),
        "only the newest": load_balancer((site(tls_ciphers="TLS_AES_128_GCM_SHA256"), pool())),
        "no choice": load_balancer((site(tls_ciphers="", tls_versions=None, alpn_protocols=None), pool())),
        "proxied with the client's name": load_balancer((site(), pool(protocol=Protocol.PROXYV2))),
        "crl": load_balancer(
            (
                site(
                    **client_ca,
                    client_crl_container_ref="crl",
                    client_authentication=ClientAuthentication.MANDATORY,
                ),
                pool(),
            )
        ),
        "re-encrypted": load_balancer((site(), secure_pool(members=(member(1), member(2))))),
        "re-encrypted and verified": load_balancer(
            (
                site(),
                secure_pool(
                    tls_container_ref="client",
                    ca_tls_container_ref="ca",
                    crl_container_ref="crl",
                    alpn_protocols=("h2", "http/1.1"),
                    health_monitor=monitor(),
                    members=(member(1), member(2)),
                ),
            )
        ),
        "encrypted by us alone": load_balancer((listener(), secure_pool(members=(member(1),)))),
    }
    for mode in ClientAuthentication:
        samples[f"client authentication {mode}"] = load_balancer(
            (site(**client_ca, client_authentication=mode), pool())
        )
    for type_ in (MonitorType.HTTPS, MonitorType.TLS_HELLO, MonitorType.TCP):
        samples[f"{type_} of a TLS pool"] = load_balancer(
            (
                site(),
                secure_pool(ca_tls_container_ref="ca", health_monitor=monitor(type_), members=(member(1),)),
            )
        )
    return samples
