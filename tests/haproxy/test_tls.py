# SPDX-License-Identifier: Apache-2.0
"""HAProxy takes what is rendered of TLS, and changes at runtime make of it what a fresh start would."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavia.dataplane.haproxy import certificates
from octavia.dataplane.haproxy.diff import change
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.reload import Reload
from octavia.dataplane.haproxy.runtime import Verdict
from octavia.domain.tree import LoadBalancer
from octavia.drivers.certificates.noop import NoopTenantCertificates
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki
from tests.haproxy.live import Haproxy, check, directory, needs_haproxy, needs_root, rendered, running
from tests.unit.dataplane.samples import LB, listener_id, load_balancer, member, pool, pool_id
from tests.unit.dataplane.tls_samples import secure_pool, site, store, tls_samples

pytestmark = [pytest.mark.haproxy, needs_haproxy]

Files = dict[str, bytes]


@pytest.fixture
def base() -> Iterator[Path]:
    with directory() as made:
        yield made


@pytest.mark.parametrize("name", tls_samples())
def test_haproxy_accepts_each_sample_of_tls_without_a_warning(name: str, base: Path) -> None:
    made = rendered(tls_samples()[name], base)
    pki.write(base / "certs" / LB, pki.files(made, store()))
    result = check(made.text, base)
    assert (result.returncode, result.stderr) == (0, "")
    assert parse(made.text) == made.config


@pytest.mark.parametrize("ciphers", ["NO-SUCH-CIPHER", "TLS_NO_SUCH_SUITE"])
def test_ciphers_that_only_haproxy_can_judge_are_the_listeners_fault(ciphers: str, base: Path) -> None:
    made = rendered(load_balancer((site(tls_ciphers=ciphers), pool())), base)
    pki.write(base / "certs" / LB, pki.files(made, store()))
    result = check(made.text, base)
    assert result.returncode != 0
    assert made.blame(result.stderr) == listener_id(1), result.stderr


@pytest.mark.parametrize("ciphers", ["NO-SUCH-CIPHER", "TLS_NO_SUCH_SUITE"])
def test_ciphers_towards_members_are_the_pools_fault(ciphers: str, base: Path) -> None:
    lb = load_balancer((site(), secure_pool(tls_ciphers=ciphers, members=(member(1), member(2)))))
    made = rendered(lb, base)
    pki.write(base / "certs" / LB, pki.files(made, store()))
    result = check(made.text, base)
    assert result.returncode != 0
    assert made.blame(result.stderr) == pool_id(1), result.stderr


def prepared(lb: LoadBalancer, base: Path, kept: MemoryTenantCertificates) -> tuple[str, Files]:
    made = rendered(lb, base)
    return made.text, pki.files(made, kept)


def apply(haproxy: Haproxy, old: tuple[str, Files], new: tuple[str, Files]) -> None:
    """What the agent does: tell the process, then write the files."""
    servers = change(old[0], new[0])
    assert not isinstance(servers, Reload), servers
    where = haproxy.base / "certs" / LB
    secured = certificates.change(new[0], str(where), old[1], new[1])
    assert not isinstance(secured, Reload), secured
    between = [command for one in servers for command in one.commands]
    for command in (*secured.first, *between, *secured.last):
        sent = f"{command.text} <<\n{command.payload}" if command.payload else command.text
        answer = haproxy.ask(sent)
        assert command.verdict(answer) is Verdict.DONE, (command.text, answer)
    pki.write(where, new[1])


def loaded(haproxy: Haproxy) -> dict[str, object]:
    """Certificates, CAs and lists as the process has them, order of entries apart."""
    where = haproxy.base / "certs" / LB
    seen: dict[str, object] = {}
    for kind, keys in (
        ("cert", ("Serial", "SHA1 FingerPrint", "Subject Alternative Name")),
        ("ca-file", ("Serial", "SHA1 FingerPrint")),
        ("crl-file", ("Serial Number", "Issuer")),
    ):
        for line in haproxy.ask(f"show ssl {kind}").splitlines():
            path = re.match(rf"{where}/(\S+)", line)
            if path:
                details = haproxy.ask(f"show ssl {kind} {where}/{path[1]}").splitlines()
                seen[path[1]] = sorted(one for one in details if one.strip().startswith(keys))
    for name in re.findall(rf"{where}/(\S+)", haproxy.ask("show ssl crt-list")):
        entries = haproxy.ask(f"show ssl crt-list {where}/{name}").split()
        seen[f"entries of {name}"] = sorted(Path(one).name for one in entries if one.startswith(str(where)))
    return seen


@needs_root
def test_a_history_of_renewals_equals_a_fresh_start(base: Path) -> None:
    kept, ca, other = MemoryTenantCertificates(), pki.Ca("first"), pki.Ca("second")
    history = []

    def moment(lb: LoadBalancer, **secrets: object) -> None:
        for ref, content in secrets.items():
            kept.keep(pki.tenant(content) if isinstance(content, pki.Issued) else content, ref)  # type: ignore[arg-type]
        history.append(prepared(lb, base, kept))

    one, two = member(1, weight=3), member(2)
    verified = secure_pool(tls_container_ref="client", ca_tls_container_ref="ca", members=(one,))
    start = site(
        client_ca_tls_container_ref="ca", client_crl_container_ref="crl", sni_container_refs=("shop",)
    )
    moment(
        load_balancer((start, verified)),
        site=ca.issue("site.example.org"),
        shop=ca.issue("shop.example.org"),
        client=ca.issue("client"),
        ca=ca.pem,
        crl=ca.revoke(),
    )
    moment(load_balancer((start, verified)), site=ca.issue("site.example.org", "other.example.org"))
    moment(load_balancer((start, verified)), crl=ca.revoke(ca.issue("gone")))
    more = replace(start, sni_container_refs=("blog", "shop"))
    moment(
        load_balancer((more, verified)),
        blog=ca.issue("blog.example.org"),
        shop=other.issue("shop.example.org"),
    )
    moment(load_balancer((more, replace(verified, members=(one, two)))), client=other.issue("client"))
    moment(load_balancer((more, verified)), ca=other.pem, crl=other.revoke())
    moment(load_balancer((replace(more, sni_container_refs=()), verified)))
    # The default becomes another secret: the same place.
    moment(
        load_balancer(
            (replace(start, default_tls_container_ref="blog", sni_container_refs=("site",)), verified)
        )
    )

    where = base / "certs" / LB
    pki.write(where, history[0][1])
    with running(history[0][0], base) as haproxy:
        before = haproxy.ask("show info").split("Pid:")[1].split()[0]
        for old, new in itertools.pairwise(history):
            apply(haproxy, old, new)
            with directory() as beside:
                fresh_files = {
                    name: data.replace(str(where).encode(), str(beside / "certs" / LB).encode())
                    for name, data in new[1].items()
                }
                pki.write(beside / "certs" / LB, fresh_files)
                text = new[0].replace(str(base), str(beside))
                with running(text, beside) as fresh:
                    assert loaded(haproxy) == loaded(fresh)
        assert haproxy.ask("show info").split("Pid:")[1].split()[0] == before


@needs_root
def test_a_pools_first_server_finds_its_certificates_in_the_running_process(base: Path) -> None:
    kept = store()
    bare = secure_pool(tls_container_ref="client", ca_tls_container_ref="ca", crl_container_ref="crl")
    old = prepared(load_balancer((site(), replace(bare, members=()))), base, kept)
    new = prepared(load_balancer((site(), replace(bare, members=(member(1),)))), base, kept)
    pki.write(base / "certs" / LB, old[1])
    with running(old[0], base) as haproxy:
        apply(haproxy, old, new)
        assert member(1).id in haproxy.ask("show servers state")


def test_what_does_not_fit_into_the_runtime_socket_is_a_reload(base: Path) -> None:
    kept, ca = store(), pki.Ca("CA")
    lb = load_balancer((site(client_ca_tls_container_ref="ca"), pool()))
    old = prepared(lb, base, kept)
    kept.keep(b"".join(pki.Ca(f"{ca.name} {number}").pem for number in range(30)), "ca")
    new = prepared(lb, base, kept)
    verdict = certificates.change(new[0], str(base / "certs" / LB), old[1], new[1])
    assert isinstance(verdict, Reload)
    assert "too large" in verdict.reason


HOSTILE = st.text(alphabet=st.sampled_from("AES128-:!@=_. '\"\\#$%{}\n\t,"), max_size=20)
LISTS = st.lists(HOSTILE | st.sampled_from(["h2", "TLSv1.3", "http/1.1", "TLSv1.2"]), max_size=3).map(tuple)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    ciphers=HOSTILE,
    of_pool=HOSTILE,
    versions=LISTS,
    protocols=LISTS,
    refs=st.lists(HOSTILE, max_size=2).map(tuple),
)
def test_haproxy_takes_what_a_tenant_wrote_about_tls_or_names_the_object(
    ciphers: str,
    of_pool: str,
    versions: tuple[str, ...],
    protocols: tuple[str, ...],
    refs: tuple[str, ...],
) -> None:
    kept = NoopTenantCertificates()
    front = site(
        tls_ciphers=ciphers,
        tls_versions=(*versions, "TLSv1.2"),
        alpn_protocols=protocols,
        sni_container_refs=refs,
    )
    back = secure_pool(tls_ciphers=of_pool, members=(member(1),), ca_tls_container_ref="ca")
    with directory() as base:
        made = rendered(load_balancer((front, back)), base)
        pki.write(base / "certs" / LB, pki.files(made, kept))
        result = check(made.text, base)
    if result.returncode:
        assert made.blame(result.stderr) in (listener_id(1), pool_id(1)), result.stderr
