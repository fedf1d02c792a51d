# SPDX-License-Identifier: Apache-2.0
"""TLS in the configuration: the words that are written; no string of a tenant becomes another one."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.dataplane.haproxy import certificates
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.reload import Reload
from octavia.dataplane.haproxy.render import Rendered, render
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.haproxy.tls import Kind
from octavia.domain.tls import CIPHERS
from octavia.domain.tree import ClientAuthentication, Listener, MonitorType, Pool, Protocol
from octavia.wire.agent import CERTIFICATE_NAME
from tests.unit.dataplane.samples import (
    AMPHORA,
    LB,
    amphorae,
    listener_id,
    load_balancer,
    member,
    monitor,
    pool,
)
from tests.unit.dataplane.tls_samples import secure_pool, site

CERTS = f"/var/lib/octavia/certs/{LB}"


def made(listener: Listener, back: Pool | None = None) -> Rendered:
    lb = load_balancer((listener, back or pool()))
    rendered = render(lb, amphorae()[:1], HaproxySettings(), amphora_id=AMPHORA, haproxy_version="2.6.12")
    assert rendered is not None
    return rendered


def lines(rendered: Rendered, keyword: str) -> list[str]:
    return [
        " ".join(one.words)
        for section in rendered.config.sections
        for one in section.directives
        if one.words[0] == keyword
    ]


def test_agents_find_the_words_that_they_look_for() -> None:
    (bind,) = lines(made(site()), "bind")
    assert bind.startswith(f"bind 127.0.0.1:81 ssl crt-list {CERTS}/{listener_id(1)}.pem ")


def test_the_list_has_the_default_first_and_each_secret_once() -> None:
    rendered = made(site(sni_container_refs=("shop", "site", "blog", "shop")))
    refs = {one.name: one.ref for one in rendered.secret_files}
    (text,) = rendered.crt_lists.values()
    listed = [line.removeprefix(f"{CERTS}/") for line in text.splitlines()]
    assert [refs[name] for name in listed] == ["site", "shop", "blog"]
    assert text.endswith("\n")
    alone = made(site(default_tls_container_ref="", sni_container_refs=("shop",)))
    assert [one.ref for one in alone.secret_files] == ["shop"]


def test_the_first_place_has_the_same_name_whatever_is_in_it() -> None:
    names = [made(site(default_tls_container_ref=ref)).secret_files[0].name for ref in ("one", "two")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (ClientAuthentication.NONE, "verify none"),
        (ClientAuthentication.OPTIONAL, "verify optional"),
        (ClientAuthentication.MANDATORY, "verify required"),
    ],
)
def test_clients_are_asked_as_the_tenant_says(mode: ClientAuthentication, words: str) -> None:
    asking = site(
        client_ca_tls_container_ref="ca", client_crl_container_ref="crl", client_authentication=mode
    )
    rendered = made(asking)
    files = {one.kind: one for one in rendered.secret_files}
    (bind,) = lines(rendered, "bind")
    wanted = f"ca-file {CERTS}/{files[Kind.CA].name} {words} crl-file {CERTS}/{files[Kind.CRL].name}"
    assert wanted in bind
    assert files[Kind.CRL].signed_by == "ca"
    assert "verify" not in lines(made(site(client_authentication=mode)), "bind")[0]


@pytest.mark.parametrize(
    ("values", "present", "absent"),
    [
        ({}, ["no-sslv3 no-tlsv10 no-tlsv11 alpn h2,http/1.1,http/1.0"], ["no-tlsv12", "no-tlsv13"]),
        ({"tls_versions": ("TLSv1",)}, ["no-sslv3 no-tlsv11 no-tlsv12 no-tlsv13"], ["no-tlsv10"]),
        ({"tls_versions": None, "alpn_protocols": None}, [], ["no-", "alpn"]),
        ({"alpn_protocols": ()}, [], ["alpn"]),
        ({"tls_ciphers": "A-B:TLS_X:C"}, ["ciphers A-B:C ciphersuites TLS_X"], []),
        ({"tls_ciphers": "A-B"}, ["ciphers A-B"], ["ciphersuites", "no-tlsv13"]),
        ({"tls_ciphers": "TLS_X"}, ["ciphersuites TLS_X", "no-tlsv12"], ["ciphers "]),
        ({"tls_ciphers": ""}, [], ["ciphers"]),
        ({"tls_ciphers": "evil\nserver"}, ["ECDHE-ECDSA-AES128-GCM-SHA256"], ["evil"]),
    ],
)
def test_what_is_agreed_on(values: dict[str, Any], present: list[str], absent: list[str]) -> None:
    (bind,) = lines(made(site(**values)), "bind")
    assert all(one in bind for one in present), bind
    assert not any(one in bind for one in absent), bind


def test_members_are_verified_whatever_monitors_them() -> None:
    for type_ in (None, MonitorType.TCP, MonitorType.HTTPS, MonitorType.TLS_HELLO):
        watched = monitor(type_) if type_ else None
        back = secure_pool(ca_tls_container_ref="ca", members=(member(1),), health_monitor=watched)
        (server,) = lines(made(site(), back), "server")
        assert server.count("verify") == 1
        assert "verify required" in server
        back = secure_pool(members=(member(1),), health_monitor=watched)
        (server,) = lines(made(site(), back), "server")
        assert server.count("verify") == 1
        assert "ssl sni ssl_fc_sni verify none" in server


def test_secrets_of_a_pool_without_members_or_without_tls_are_not_asked_for() -> None:
    back: dict[str, Any] = {"ca_tls_container_ref": "ca", "tls_container_ref": "client"}
    assert [one.ref for one in made(site(), secure_pool(members=(), **back)).secret_files] == ["site"]
    assert [one.ref for one in made(site(), pool(**back)).secret_files] == ["site"]


def test_a_proxied_member_learns_the_clients_name() -> None:
    (first, _) = lines(made(site(), pool(protocol=Protocol.PROXYV2)), "server")
    assert first.split()[5] == "send-proxy-v2-ssl-cn"


def test_a_listener_without_a_certificate_is_refused_alone() -> None:
    rendered = made(site(default_tls_container_ref=None))
    assert list(rendered.refused) == [listener_id(1)]
    assert lines(rendered, "bind") == []


def test_the_payload_of_a_renewal_is_not_shown_and_has_no_empty_line() -> None:
    text = made(site()).text
    (name,) = (one.name for one in made(site()).secret_files)
    old = {name: b"old\n", f"{listener_id(1)}.pem": f"{CERTS}/{name}\n".encode()}
    verdict = certificates.change(text, CERTS, old, old | {name: b"SECRET\n\nmore\n\n"})
    assert not isinstance(verdict, Reload)
    assert [one.text for one in verdict.first] == [
        f"set ssl cert {CERTS}/{name}",
        f"commit ssl cert {CERTS}/{name}",
    ]
    assert verdict.first[0].payload == "SECRET\nmore\n"
    assert "SECRET" not in repr(verdict)
    assert certificates.change(text, CERTS, old, old) == certificates.CertificateChange()


HOSTILE = st.text(
    alphabet=st.sampled_from("aZ0-:!@=_. '\"\\#$%{}[]()<>;,|&~^`*?/\n\r\t\x00\x7fé漢"), max_size=30
)
REFS = HOSTILE | st.none()
KNOWN_WORDS = re.compile(
    r"bind|ssl|crt-list|ca-file|crl-file|verify|none|optional|required|ciphers|ciphersuites|no-\w+|alpn"
    r"|127\.0\.0\.1:81|[A-Za-z0-9\-+!:@=_.]+|(h2|http/1\.[01])(,(h2|http/1\.[01]))*"
    rf"|{CERTS}/([0-9a-f]{{40}}|{listener_id(1)})\.pem"
)


@given(
    st.fixed_dictionaries(
        {
            "default_tls_container_ref": REFS,
            "sni_container_refs": st.lists(HOSTILE, max_size=3).map(tuple),
            "client_ca_tls_container_ref": REFS,
            "client_crl_container_ref": REFS,
            "client_authentication": st.sampled_from(ClientAuthentication),
            "tls_ciphers": HOSTILE | st.none() | st.just(CIPHERS),
            "tls_versions": st.lists(HOSTILE, max_size=3).map(tuple) | st.none(),
            "alpn_protocols": st.lists(HOSTILE, max_size=3).map(tuple) | st.none(),
            "hsts_max_age": st.none() | st.integers(-5, 2**40),
        }
    ),
    st.fixed_dictionaries(
        {
            "tls_container_ref": REFS,
            "ca_tls_container_ref": REFS,
            "crl_container_ref": REFS,
            "tls_ciphers": HOSTILE | st.none(),
            "tls_versions": st.lists(HOSTILE, max_size=3).map(tuple) | st.none(),
            "alpn_protocols": st.lists(HOSTILE, max_size=3).map(tuple) | st.none(),
        }
    ),
)
def test_no_string_about_tls_becomes_another_word_or_another_file(
    front: dict[str, Any], back: dict[str, Any]
) -> None:
    rendered = made(site(**front), secure_pool(members=(member(1),), **back))
    assert parse(rendered.text) == rendered.config
    for bind in (one for one in rendered.config.sections if one.keyword == "frontend"):
        words = next(one.words for one in bind.directives if one.words[0] == "bind")
        assert all(KNOWN_WORDS.fullmatch(word) for word in words), words
    for one in rendered.secret_files:
        assert CERTIFICATE_NAME.fullmatch(one.name)
    for name, text in rendered.crt_lists.items():
        assert CERTIFICATE_NAME.fullmatch(name)
        assert re.fullmatch(rf"({CERTS}/[0-9a-f]{{40}}\.pem\n)+", text)
