# SPDX-License-Identifier: Apache-2.0
"""TLS through a real amphora: certificates by name, certificates of clients, renewals under load, members."""

import json
import ssl
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from octavia.dataplane.haproxy.tls import crt_list_name
from octavia.domain.errors import Refused
from octavia.domain.tree import (
    ClientAuthentication,
    CompareType,
    L7Action,
    L7Rule,
    Member,
    MonitorType,
    Pool,
    Protocol,
    RuleType,
)
from octavia.drivers.amphora.contract import Configuration, Lacks
from octavia.drivers.certificates import pem
from tests import pki
from tests.netns.agent_lab import Lab, eventually, needs_haproxy, needs_root, opened_lab
from tests.netns.test_features_reloads import exchange
from tests.netns.tls_lab import Site, TlsMember, http_2_member, proxied_member
from tests.unit.dataplane.samples import member, monitor, policy, pool, rule
from tests.unit.dataplane.tls_samples import TLS_HEADERS, secure_pool, site

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]

SITE, SHOP, BLOG = "site.example.org", "shop.example.org", "blog.example.org"
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
MUST, MAY = ClientAuthentication.MANDATORY, ClientAuthentication.OPTIONAL


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with opened_lab() as one:
        yield one


@pytest.fixture
def world(lab: Lab) -> Site:
    """An amphora with its VIP, and a certificate for the site."""
    amphora = lab.amphora()
    amphora.attach_vip()
    assert lab.driver.plug_vip(amphora.amphora, amphora.plug, fence=1) == "eth1"
    made = Site(lab, amphora)
    made.keep(site=made.ca.issue(SITE))
    return made


def plain_pool(lab: Lab, **values: Any) -> Pool:
    address, port = lab.member(1)
    return pool(members=(member(1, address=address, protocol_port=port),), **values)


def secured_member(server: TlsMember, number: int = 1) -> Member:
    return member(number, address=server.address, protocol_port=server.port)


def test_clients_get_the_certificate_of_the_server_that_they_ask_for(lab: Lab, world: Site) -> None:
    issued = {name: world.ca.issue(f"{name}.example.org") for name in ("site", "shop", "blog")}
    wild = world.ca.issue("*.wild.example.org")
    world.keep(**issued, wild=wild)
    world.serve(site(sni_container_refs=("shop", "blog", "wild")), plain_pool(lab))
    assert eventually(lambda: world.get()[0] == 200, within=20)
    assert world.certificate(SITE) == issued["site"].serial
    assert world.certificate(SHOP) == issued["shop"].serial
    assert world.certificate(BLOG) == issued["blog"].serial
    assert world.certificate("any.wild.example.org") == wild.serial
    assert world.certificate(None) == issued["site"].serial
    context = world.context(check_hostname=False)
    with world.connected("unknown.example.org", context) as secured:
        shown = secured.getpeercert()
        assert shown
        assert shown["serialNumber"] == issued["site"].serial


def test_kept_connections_outlive_a_reload_by_one_answer(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    world.serve(site(connection_limit=100), back)
    with world.connected(SITE) as untried, world.connected(SITE) as kept:
        assert exchange(kept) == (200, False)
        assert world.serve(site(connection_limit=101), back).reload_reason
        assert exchange(kept) == (200, True)
        assert exchange(untried)[0] == 200


def test_intermediates_are_sent_along(lab: Lab, world: Site) -> None:
    between = pki.Ca("between", issuer=pki.Ca("nearer", issuer=world.ca))
    assert between.issuer
    # In the wrong order, and with the root, as tenants have them.
    chain = world.ca.pem + between.issuer.pem + between.pem
    leaf = between.issue(SITE)
    world.kept.keep(pem.from_parts(leaf.pem, leaf.key_pem, chain), "site")
    world.serve(site(), plain_pool(lab))
    assert world.certificate(SITE) == leaf.serial


def test_http_2_is_agreed_on_by_alpn_and_can_be_left_out(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    world.serve(site(), back)
    assert world.curl("--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}") == "2 200"
    world.serve(site(alpn_protocols=("http/1.1",)), back)
    assert world.curl("--http2", "-o", "/dev/null", "-w", "%{http_version}") == "1.1"


def test_versions_and_ciphers_that_are_not_offered_are_refused(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    world.serve(site(tls_versions=("TLSv1.3",)), back)
    with (
        pytest.raises(ssl.SSLError),
        world.connected(SITE, world.context(maximum_version=OLD)),
    ):
        pass
    world.serve(site(tls_versions=("TLSv1.2",), tls_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"), back)
    with (
        pytest.raises(ssl.SSLError),
        world.connected(SITE, world.context(minimum_version=NEW)),
    ):
        pass
    other = world.context()
    other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError), world.connected(SITE, other):
        pass
    with world.connected(SITE) as secured:
        assert secured.cipher() == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256)
    # Only suites of TLS 1.3 are named: nothing older has one of them.
    world.serve(site(tls_ciphers="TLS_AES_256_GCM_SHA384"), back)
    with (
        pytest.raises(ssl.SSLError),
        world.connected(SITE, world.context(maximum_version=OLD)),
    ):
        pass
    with world.connected(SITE) as secured:
        assert secured.cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)


def test_hsts_is_in_answers_of_members_and_of_the_load_balancer(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    wanted = "max-age=31536000; includeSubDomains; preload;"
    secured = site(hsts_max_age=31536000, hsts_include_subdomains=True, hsts_preload=True)
    world.serve(secured, back)
    assert world.get()[1]["strict-transport-security"] == wanted
    world.serve(secured, replace(back, members=()))
    status, headers, _ = world.get()
    assert (status, headers["strict-transport-security"]) == (503, wanted)
    world.serve(site(hsts_max_age=0), back)
    assert world.get()[1]["strict-transport-security"] == "max-age=0;"
    world.serve(site(), back)
    assert "strict-transport-security" not in world.get()[1]


@pytest.fixture
def people() -> pki.Ca:
    return pki.Ca("people's CA")


def admitted(world: Site, shows: pki.Issued | None) -> bool:
    """Does a client get through? With TLS 1.3 the refusal comes with the first answer."""
    try:
        return world.get(context=world.context(shows=shows))[0] == 200
    except (OSError, ssl.SSLError, ConnectionError):
        return False


def test_clients_are_known_by_their_certificates(lab: Lab, world: Site, people: pki.Ca) -> None:
    good, gone, strange = people.issue("alice"), people.issue("mallory"), pki.Ca("stranger").issue("eve")
    late = people.issue("late", life=timedelta(hours=-1))
    world.keep(people=people.pem, gone=people.revoke(gone))
    asking = site(client_ca_tls_container_ref="people", client_crl_container_ref="gone")
    back = plain_pool(lab)
    world.serve(replace(asking, client_authentication=MUST), back)
    assert admitted(world, good)
    assert not admitted(world, None)
    assert not admitted(world, gone)
    assert not admitted(world, strange)
    assert not admitted(world, late)
    world.serve(replace(asking, client_authentication=MAY), back)
    assert admitted(world, good)
    assert admitted(world, None)
    assert not admitted(world, gone)
    assert not admitted(world, strange)
    world.serve(replace(asking, client_authentication=ClientAuthentication.NONE), back)
    assert admitted(world, None)
    assert admitted(world, strange)


def test_a_revocation_is_live_without_a_reload(lab: Lab, world: Site, people: pki.Ca) -> None:
    client = people.issue("alice")
    world.keep(people=people.pem, gone=people.revoke())
    asking = site(
        client_ca_tls_container_ref="people", client_crl_container_ref="gone", client_authentication=MUST
    )
    back = plain_pool(lab)
    world.serve(asking, back)
    assert admitted(world, client)
    before = world.amphora.worker()
    world.keep(gone=people.revoke(client))
    assert world.serve(asking, back).reload_reason is None
    assert not admitted(world, client)
    other = pki.Ca("other people's CA")
    world.keep(people=other.pem, gone=other.revoke())
    assert world.serve(asking, back).reload_reason is None
    assert admitted(world, other.issue("bob"))
    assert world.amphora.worker() == before


def test_members_and_policies_learn_who_the_client_is(lab: Lab, world: Site, people: pki.Ca) -> None:
    world.keep(people=people.pem)
    address, port = lab.echo()
    back = pool(members=(member(1, address=address, protocol_port=port),))
    by_name = rule(RuleType.SSL_DN_FIELD, value="mallory", key="CN")
    by_proof = rule(RuleType.SSL_CONN_HAS_CERT, value="true", number=2, invert=True)
    by_result = rule(RuleType.SSL_VERIFY_RESULT, value="0", number=3, invert=True)
    asking = site(
        client_ca_tls_container_ref="people",
        client_authentication=MAY,
        insert_headers=TLS_HEADERS | {"X-Forwarded-Proto": "true"},
        l7_policies=(
            policy(1, L7Action.REJECT, rules=(exactly(by_name),)),
            policy(
                2,
                L7Action.REDIRECT_TO_URL,
                redirect_url="https://login.example.org/",
                rules=(exactly(by_proof),),
            ),
            policy(3, L7Action.REJECT, rules=(exactly(by_result),)),
        ),
    )
    world.serve(asking, back)
    alice = people.issue("alice")
    status, _, body = world.get(context=world.context(shows=alice))
    assert status == 200
    seen = {name.lower(): value.strip('"') for name, value in json.loads(body)}
    assert seen["x-forwarded-proto"] == "https"
    assert (seen["x-ssl-client-verify"], seen["x-ssl-client-has-cert"]) == ("0", "1")
    assert seen["x-ssl-client-dn"] == "/O=Tests/CN=alice"
    assert seen["x-ssl-client-cn"] == "alice"
    assert seen["x-ssl-issuer"] == "/O=Tests/CN=people's CA"
    assert seen["x-ssl-client-sha1"] == sha1(alice)
    assert seen["x-ssl-client-not-before"].endswith("Z")
    assert seen["x-ssl-client-not-after"] > seen["x-ssl-client-not-before"]
    assert world.get(context=world.context(shows=people.issue("mallory")))[0] == 403
    assert world.get()[0] == 302


def test_the_proxy_protocol_tells_members_who_the_client_is(lab: Lab, world: Site, people: pki.Ca) -> None:
    world.keep(people=people.pem)
    address, port = proxied_member(lab)
    back = pool(protocol=Protocol.PROXYV2, members=(member(1, address=address, protocol_port=port),))
    world.serve(site(client_ca_tls_container_ref="people", client_authentication=MAY), back)
    status, _, body = world.get(context=world.context(shows=people.issue("alice")))
    assert status == 200
    # The PROXY protocol, section 2.2.6: the sub-type 0x22 of PP2_TYPE_SSL is the common name.
    assert b"\x22\x00\x05alice" in bytes.fromhex(body)
    assert b"alice" not in bytes.fromhex(world.get()[2])


def exactly(one: L7Rule) -> L7Rule:
    return replace(one, compare_type=CompareType.EQUAL_TO)


def sha1(one: pki.Issued) -> str:
    return one.certificate.fingerprint(hashes.SHA1()).hex().upper()


def test_certificates_are_renewed_under_load_without_a_reload_and_without_a_failure(
    lab: Lab, world: Site
) -> None:
    world.keep(shop=world.ca.issue(SHOP))
    back = plain_pool(lab)
    served = site(sni_container_refs=("shop",))
    world.serve(served, back)
    assert eventually(lambda: world.get()[0] == 200, within=20)
    before = world.amphora.worker()
    with world.load(SITE, SHOP) as result:
        for number in range(12):
            renewed = world.ca.issue(SITE)
            world.keep(site=renewed)
            # Another server's certificate comes and goes meanwhile.
            world.keep(blog=world.ca.issue(BLOG))
            sni = ("shop", "blog") if number % 2 else ("shop",)
            assert world.serve(replace(served, sni_container_refs=sni), back).reload_reason is None
            assert world.certificate(SITE) == renewed.serial
    assert result["failures"] == []
    assert result["ok"] > 100
    assert len(result["serials"]) > 2
    assert world.amphora.worker() == before


def test_new_connections_survive_a_reload(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    world.serve(site(), back)
    assert eventually(lambda: world.get()[0] == 200, within=20)
    before = world.amphora.worker()
    context = world.context()
    for number in range(3):
        with world.load_of_new_connections(SITE, context) as result:
            assert world.serve(site(connection_limit=100 + number), back).reload_reason
            assert world.get()[0] == 200
        assert result["failures"] == []
        assert result["ok"] > 5
    assert world.amphora.worker() != before


def test_what_was_renewed_at_runtime_survives_haproxy_and_nothing_else_is_left(lab: Lab, world: Site) -> None:
    world.keep(shop=world.ca.issue(SHOP))
    back = plain_pool(lab)
    served = site(sni_container_refs=("shop",))
    world.serve(served, back)
    renewed = world.ca.issue(SITE)
    world.keep(site=renewed)
    assert world.serve(site(), back).reload_reason is None
    directory = world.amphora.base / "certs" / lab.lb_id
    files = {one.name: one for one in directory.iterdir()}
    assert set(files) == {
        crt_list_name(served),
        *(one.name for one in world.rendered(site(), back).secret_files),
    }
    assert {stat.S_IMODE(one.stat().st_mode) for one in files.values()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    # Another change of the frontend is a reload, which reads everything anew.
    assert world.serve(site(connection_limit=77), back).reload_reason is not None
    assert world.certificate(SITE) == renewed.serial
    world.amphora.kill()
    world.amphora.start(with_vip=True)
    world.amphora.await_listening()
    assert eventually(lambda: admitted(world, None), within=20)
    assert world.certificate(SITE) == renewed.serial


def test_a_certificate_that_haproxy_refuses_changes_nothing(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    shown = world.ca.issue(SITE)
    world.keep(site=shown)
    world.serve(site(), back)
    good = world.kept.get_certificate("site")
    broken = replace(good, private_key=world.ca.issue(SITE).key_pem)
    world.kept.keep(broken, "site")
    with pytest.raises(Refused, match=r"(?i)key"):
        world.serve(site(), back)
    assert world.certificate(SITE) == shown.serial
    world.kept.keep(good, "site")
    assert world.serve(site(), back).reload_reason is None


def test_no_private_key_reaches_a_log_or_an_answer(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    world.serve(site(), back)
    world.keep(site=world.ca.issue(SITE))
    world.serve(site(), back)
    broken = replace(world.kept.get_certificate("site"), private_key=world.ca.issue(SITE).key_pem)
    world.kept.keep(broken, "site")
    with pytest.raises(Refused) as refusal:
        world.serve(site(), back)
    for text in (world.amphora.log.read_text(), refusal.value.why):
        assert "PRIVATE KEY" not in text
        assert broken.private_key.decode().splitlines()[1] not in text


def test_members_are_talked_to_over_tls_and_checked(lab: Lab, world: Site) -> None:
    inside, ours = pki.Ca("members' CA"), pki.Ca("our CA")
    server = TlsMember(lab, 1, inside.issue(SITE), trusts=ours)
    world.keep(inside=inside.pem, ours=ours.issue("the load balancer"), none=inside.revoke())
    back = secure_pool(
        tls_container_ref="ours",
        ca_tls_container_ref="inside",
        crl_container_ref="none",
        alpn_protocols=("http/1.1",),
        health_monitor=monitor(MonitorType.HTTP, delay=1, timeout=1, max_retries=1, max_retries_down=1),
        members=(secured_member(server),),
    )
    world.serve(site(), back)
    assert eventually(lambda: world.get()[0] == 200, within=20)
    seen = json.loads(world.get()[2])
    assert seen == {"alpn": "http/1.1", "version": "TLSv1.3", "client": "the load balancer"}
    before = world.amphora.worker()
    # The member's certificate is revoked: it is refused, without a reload.
    world.keep(none=inside.revoke(*[inside.issue(SITE)]))
    shown = inside.issue(SITE)
    server.show(shown)
    world.keep(none=inside.revoke(shown))
    assert world.serve(site(), back).reload_reason is None
    assert eventually(lambda: world.get()[0] == 503, within=20)
    server.show(inside.issue(SITE))
    assert eventually(lambda: world.get()[0] == 200, within=20)
    assert world.amphora.worker() == before


def test_a_member_of_another_ca_is_down(lab: Lab, world: Site) -> None:
    server = TlsMember(lab, 1, pki.Ca("somebody's CA").issue(SITE))
    world.keep(inside=pki.Ca("members' CA").pem)
    members = (secured_member(server),)
    watched = monitor(MonitorType.TLS_HELLO, delay=1, timeout=1, max_retries=1, max_retries_down=1)
    verified = secure_pool(ca_tls_container_ref="inside", members=members)
    world.serve(site(), verified)
    assert world.get()[0] == 503
    world.serve(site(), replace(verified, health_monitor=watched))
    assert eventually(lambda: ",DOWN," in world.amphora.ask_haproxy("show stat -1 4 -1"), within=20)
    # Without a CA nobody checks.
    world.serve(site(), secure_pool(members=members, health_monitor=watched))
    assert eventually(lambda: world.get()[0] == 200, within=20)


def test_a_member_with_another_name_gets_no_requests(lab: Lab, world: Site) -> None:
    inside = pki.Ca("members' CA")
    server = TlsMember(lab, 1, inside.issue(SITE))
    world.keep(inside=inside.pem, shop=world.ca.issue(SHOP))
    back = secure_pool(ca_tls_container_ref="inside", members=(secured_member(server),))
    world.serve(site(sni_container_refs=("shop",)), back)
    assert eventually(lambda: world.get(SITE)[0] == 200, within=20)
    assert world.get(SHOP)[0] == 503


def test_members_are_spoken_to_in_http_2_where_they_can(lab: Lab, world: Site) -> None:
    watched = monitor(MonitorType.HTTP, delay=1, timeout=1, max_retries=1, max_retries_down=1)
    with http_2_member(lab, world.ca.issue(SITE)) as (address, port):
        members = (member(1, address=address, protocol_port=port),)
        back = secure_pool(members=members, health_monitor=watched, alpn_protocols=("h2", "http/1.1"))
        world.serve(site(), back)
        assert eventually(lambda: world.get()[0] == 200, within=20)
        assert world.get()[2] == "2.0"
        assert ",UP," in world.amphora.ask_haproxy("show stat -1 4 -1")
        world.serve(site(), replace(back, alpn_protocols=("http/1.1",)))
        assert eventually(lambda: world.get()[2] == "1.1", within=20)


@pytest.mark.parametrize("type_", [MonitorType.HTTPS, MonitorType.TLS_HELLO])
def test_monitors_over_tls_see_who_speaks_it(type_: MonitorType, lab: Lab, world: Site) -> None:
    server = TlsMember(lab, 1, pki.Ca("anybody").issue(SITE))
    address, port = lab.member(2)
    watched = monitor(type_, delay=1, timeout=1, max_retries=1, max_retries_down=1)
    plain = member(2, address=address, protocol_port=port)
    world.serve(site(), pool(members=(secured_member(server), plain), health_monitor=watched))

    def states() -> dict[str, str]:
        rows = [line.split(",") for line in world.amphora.ask_haproxy("show stat -1 4 -1").splitlines()]
        return {row[1]: row[17] for row in rows if len(row) > 17}

    wanted = {member(1).id: "UP", member(2).id: "DOWN"}
    assert eventually(lambda: {key: states().get(key) for key in wanted} == wanted, within=20), states()


def test_a_controller_without_our_extensions_brings_certificates_too(lab: Lab, world: Site) -> None:
    lab.driver._remember(world.amphora.amphora, frozenset())
    back = plain_pool(lab)
    world.keep(shop=world.ca.issue(SHOP))
    served = site(sni_container_refs=("shop",))
    world.serve(served, back)
    assert admitted(world, None)
    for _ in range(2):
        renewed = world.ca.issue(SITE)
        world.keep(site=renewed)
        lab.driver._remember(world.amphora.amphora, frozenset())
        world.serve(served, back)
        assert world.certificate(SITE) == renewed.serial
    before = world.amphora.worker()
    lab.driver._remember(world.amphora.amphora, frozenset())
    world.serve(served, back)  # nothing differs, so nothing is sent and nothing reloaded
    assert world.amphora.worker() == before


def test_an_amphora_goes_on_with_what_it_has_and_says_what_it_lacks(lab: Lab, world: Site) -> None:
    back = plain_pool(lab)
    world.serve(site(), back)
    shown = world.certificate(SITE)
    made = world.rendered(site(), back)
    unknown: dict[str, bytes | None] = {name: text.encode() for name, text in made.crt_lists.items()}
    unknown |= {one.name: None for one in made.secret_files}
    whole = Configuration(load_balancer_id=lab.lb_id, generation=50, haproxy=made.text, certificates=unknown)
    lab.driver.apply(world.amphora.amphora, whole, fence=1)
    assert world.certificate(SITE) == shown
    for extensions in (None, frozenset[str]()):
        more = replace(whole, certificates=unknown | {"lacking.pem": None})
        if extensions is not None:
            lab.driver._remember(world.amphora.amphora, extensions)
        with pytest.raises(Lacks) as lacks:
            lab.driver.apply(world.amphora.amphora, more, fence=1)
        assert lacks.value.names == {"lacking.pem"}
    assert world.certificate(SITE) == shown
