# SPDX-License-Identifier: Apache-2.0
"""What a load balancer looks like to HAProxy."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.dataplane.haproxy.model import serialize
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.peer import peer_name
from octavia.dataplane.haproxy.render import Rendered, render
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.haproxy.values import acl_ids
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.tree import (
    CompareType,
    L7Action,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Protocol,
    RuleType,
    SessionPersistence,
)
from tests.unit.dataplane.samples import (
    ALLOWED_CIDRS,
    AMPHORA,
    HOSTILE_HEADERS,
    LB,
    OTHER_AMPHORA,
    amphorae,
    everything,
    listener,
    listener_id,
    load_balancer,
    member,
    member_id,
    monitor,
    monitor_id,
    pair,
    policy,
    policy_id,
    pool,
    pool_id,
    rule,
    rule_id,
    simple,
    with_members,
    with_policies,
)

BACKEND = f"{pool_id(1)}:{listener_id(1)}"


def made(lb: LoadBalancer, *, version: str = "2.6.12-1+deb12u4", **kwargs: Any) -> Rendered | None:
    given = {"settings": HaproxySettings(), "amphora_id": AMPHORA, "amphorae": amphorae()[:1], **kwargs}
    return render(lb, haproxy_version=version, **given)


def text(lb: LoadBalancer, **kwargs: Any) -> str:
    rendered = made(lb, **kwargs)
    assert rendered is not None
    assert rendered.refused == {}
    return rendered.text


def rows(lb: LoadBalancer, keyword: str, name: str = "", **kwargs: Any) -> list[str]:
    """The directives of one section, unquoted."""
    for section in parse(text(lb, **kwargs)).sections:
        if (section.keyword, section.name) == (keyword, name):
            return [" ".join(one.words) for one in section.directives]
    raise AssertionError(f"there is no {keyword} {name}")


def test_a_small_load_balancer_whole() -> None:
    lb = simple(health_monitor=monitor(url_path="/up now".replace(" ", "-")), members=(member(1),))
    settings = HaproxySettings(log_socket=None)
    assert (
        text(lb, settings=settings)
        == f"""\
global
    user nobody
    stats socket /var/lib/octavia/{LB}.sock mode 0600 level admin expose-fd listeners
    server-state-file /var/lib/octavia/{LB}/servers-state
    no strict-limits
    maxconn 50000

defaults
    no log
    retries 3
    option redispatch
    option splice-request
    option splice-response
    option http-keep-alive

frontend {listener_id(1)}
    maxconn 50000
    bind 127.0.0.1:81
    mode http
    option idle-close-on-response
    default_backend {BACKEND}
    timeout client 50000

backend {BACKEND}
    mode http
    http-reuse safe
    balance roundrobin
    option allbackups
    timeout check 3s
    load-server-state-from-file global
    option httpchk GET /up-now
    http-check expect rstatus 200
    fullconn 50000
    timeout connect 5000
    timeout server 50000
    server {member_id(1)} 10.1.0.1:8001 weight 1 check inter 5s rise 2 fall 3 id 1927610624
"""
    )


# --- nothing to run -----------------------------------------------------------------------------

GONE = ProvisioningStatus.PENDING_DELETE


@pytest.mark.parametrize(
    "lb",
    [
        load_balancer(),
        replace(simple(), provisioning_status=GONE),
        load_balancer((listener(provisioning_status=GONE), pool())),
        *(load_balancer((listener(protocol=protocol), pool())) for protocol in (Protocol.UDP, Protocol.SCTP)),
    ],
)
def test_without_a_listener_that_is_served_there_is_no_configuration(lb: LoadBalancer) -> None:
    assert made(lb) is None


def test_a_disabled_load_balancer_keeps_only_what_is_global() -> None:
    lb = pair(replace(simple(), admin_state_up=False))
    assert [one.keyword for one in parse(text(lb)).sections] == ["global", "defaults", "peers"]


def test_a_disabled_listener_has_neither_frontend_nor_backend() -> None:
    lb = load_balancer((listener(1, admin_state_up=False), pool(1)), (listener(2), pool(2)))
    assert listener_id(1) not in text(lb)
    assert rows(lb, "global")[-1] == "maxconn 50000"  # the disabled one does not count


def test_of_a_disabled_pool_there_is_nothing() -> None:
    lb = simple(admin_state_up=False)
    assert pool_id(1) not in text(lb)
    assert not any(row.startswith("default_backend") for row in rows(lb, "frontend", listener_id(1)))


def test_what_is_being_deleted_is_left_out() -> None:
    lb = simple(
        members=(member(1, provisioning_status=GONE), member(2)),
        health_monitor=monitor(provisioning_status=GONE),
    )
    assert [row.split()[1] for row in servers(lb)] == [member_id(2)]
    assert " check" not in text(lb)


@pytest.mark.parametrize("excluded", [listener_id(2), pool_id(2), member_id(1), monitor_id(1)])
def test_what_is_excluded_is_left_out_and_everything_else_stays(excluded: str) -> None:
    lb = load_balancer((listener(1), pool(1, health_monitor=monitor())), (listener(2), pool(2)))
    everyone = {
        listener_id(1),
        listener_id(2),
        pool_id(1),
        pool_id(2),
        member_id(1),
        member_id(2),
        monitor_id(1),
    }
    rendered = made(lb, excluded=frozenset({excluded}))
    assert rendered is not None
    present = {one for one in everyone if any(one == owner for owner in rendered.owners)}
    without = {excluded, pool_id(2)} if excluded == listener_id(2) else {excluded}
    assert present == everyone - without


# --- peers ------------------------------------------------------------------------------------


def test_the_name_of_a_peer_is_the_contracts() -> None:
    # SHA-1 of the id, base64 with "_" for "+" and "-" for "/", without padding.
    assert peer_name(AMPHORA) == "EgwPta0_x0RB6fH4DP3QWp2iR3I"
    names = [peer_name(f"{number}") for number in range(300)]
    assert not any(name.startswith("-") or "=" in name for name in names)
    assert any(name.startswith("x") for name in names)


def test_a_pair_are_peers_wherever_it_is_rendered_for() -> None:
    section = f"{LB.replace('-', '')}_peers"
    both = [f"peer {peer_name(AMPHORA)} 10.0.0.2:1025", f"peer {peer_name(OTHER_AMPHORA)} 10.0.0.3:1025"]
    for name in (AMPHORA, OTHER_AMPHORA):
        assert rows(pair(simple()), "peers", section, amphorae=amphorae()[::-1], amphora_id=name) == both


def test_amphorae_that_are_given_up_are_no_peers() -> None:
    mine, other = amphorae()
    other = replace(other, status=AmphoraStatus.ERROR)
    found = rows(pair(simple()), "peers", f"{LB.replace('-', '')}_peers", amphorae=(mine, other))
    assert found == [f"peer {peer_name(AMPHORA)} 10.0.0.2:1025"]


def test_a_single_amphora_is_its_own_peer_only_where_there_is_a_table_to_keep() -> None:
    sticky = SessionPersistence(type=PersistenceType.SOURCE_IP)
    assert "peers" not in text(simple())
    assert "peers" in text(simple(session_persistence=sticky))


# --- frontend and backend -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "total"),
    [((None, -1, 0), 150000), ((10, 20, 30), 60), ((999_999, -1, 1), 1_000_000)],
)
def test_connection_limits_add_up(limits: tuple[int | None, ...], total: int) -> None:
    lb = load_balancer(
        *((listener(n, connection_limit=limit), pool(n)) for n, limit in enumerate(limits, start=1))
    )
    assert f"maxconn {total}" in rows(lb, "global")


def test_each_vip_is_bound() -> None:
    binds = [row for row in rows(everything()["ipv6"], "frontend", listener_id(1)) if row.startswith("bind")]
    assert binds == ["bind ::1:81", "bind 127.0.0.1:81"]


@pytest.mark.parametrize(
    ("listener_protocol", "pool_protocol", "modes"),
    [
        (Protocol.HTTP, Protocol.HTTP, ("http", "http")),
        (Protocol.HTTP, Protocol.PROXY, ("http", "http")),
        (Protocol.TCP, Protocol.PROXYV2, ("tcp", "tcp")),
        (Protocol.TCP, Protocol.HTTP, ("tcp", "http")),
        (Protocol.HTTPS, Protocol.HTTPS, ("tcp", "tcp")),
        (Protocol.TCP, Protocol.TCP, ("tcp", "tcp")),
    ],
)
def test_modes_follow_protocols(
    listener_protocol: Protocol, pool_protocol: Protocol, modes: tuple[str, str]
) -> None:
    lb = load_balancer((listener(protocol=listener_protocol), pool(protocol=pool_protocol)))
    front, back = rows(lb, "frontend", listener_id(1)), rows(lb, "backend", BACKEND)
    assert f"mode {modes[0]}" in front
    assert f"mode {modes[1]}" in back
    assert ("http-reuse safe" in back) is (modes[1] == "http")


PERSISTENCE = {
    "stick on source": ["stick-table type ipv6 size 10k peers P", "stick on src"],
    "http cookie": ["cookie SRV insert indirect nocache dynamic", f"dynamic-cookie-key {pool_id(1)}"],
    "application cookie": [
        "stick-table type string len 64 size 10k peers P",
        "stick store-response res.cook(JSESSIONID)",
        "stick match req.cook(JSESSIONID)",
    ],
}


@pytest.mark.parametrize("name", PERSISTENCE)
def test_session_persistence(name: str) -> None:
    found = [
        row.replace(f"{LB.replace('-', '')}_peers", "P")
        for row in rows(everything()[name], "backend", BACKEND)
    ]
    assert [row for row in found if row.startswith(("stick", "cookie", "dynamic"))] == PERSISTENCE[name]


def test_cookies_need_requests() -> None:
    for type_ in (PersistenceType.HTTP_COOKIE, PersistenceType.APP_COOKIE):
        persistence = SessionPersistence(type=type_, cookie_name="x")
        lb = load_balancer(
            (listener(protocol=Protocol.TCP), pool(protocol=Protocol.TCP, session_persistence=persistence))
        )
        assert not any("cook" in row or "stick" in row for row in rows(lb, "backend", BACKEND))


def test_source_ip_hashes_so_that_servers_can_come_and_go() -> None:
    found = rows(everything()["source ip"], "backend", BACKEND)
    assert found.index("hash-type consistent") == found.index("balance source") + 1


def servers(lb: LoadBalancer) -> list[str]:
    return [row for row in rows(lb, "backend", BACKEND) if row.startswith("server ")]


def test_the_number_of_a_server_does_not_depend_on_the_others() -> None:
    every = {row.split()[1]: row for row in servers(simple(members=tuple(member(n) for n in range(1, 9))))}
    for number in range(1, 9):
        (alone,) = servers(simple(members=(member(number),)))
        assert alone == every[member_id(number)]


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"weight": 0}, "10.1.0.1:8001 weight 0"),
        ({"backup": True}, "10.1.0.1:8001 weight 1 backup"),
        ({"admin_state_up": False}, "10.1.0.1:8001 weight 1 disabled"),
        ({"monitor_port": 9}, "10.1.0.1:8001 weight 1"),  # there is no monitor to use it
        ({"address": "2001:DB8:0::1"}, "2001:db8::1:8001 weight 1"),
    ],
)
def test_members_become_servers(fields: dict[str, Any], end: str) -> None:
    (row,) = servers(simple(members=(member(1, **fields),)))
    assert row == f"server {member_id(1)} {end} id 1927610624"


CHECKS = {
    MonitorType.HTTP: (
        "check inter 5s rise 2 fall 3",
        ["option httpchk GET /", "http-check expect rstatus 200"],
    ),
    MonitorType.HTTPS: (
        "check inter 5s rise 2 fall 3 check-ssl verify none",
        ["option httpchk GET /", "http-check expect rstatus 200"],
    ),
    MonitorType.TCP: ("check inter 5s rise 2 fall 3", []),
    MonitorType.TLS_HELLO: ("check inter 5s rise 2 fall 3 check-ssl verify none", []),
    MonitorType.PING: (
        "check inter 5s rise 2 fall 3",
        ["option external-check", "external-check command /var/lib/octavia/ping-wrapper.sh"],
    ),
}


@pytest.mark.parametrize("type_", CHECKS)
def test_monitors_become_checks(type_: MonitorType) -> None:
    lb = simple(members=(member(1),), health_monitor=monitor(type_))
    words, extra = CHECKS[type_]
    assert f" weight 1 {words} id " in servers(lb)[0]
    found = [
        row
        for row in rows(lb, "backend", BACKEND)
        if ("check" in row or "chk" in row) and row[:6] != "server"
    ]
    assert found == ["timeout check 3s", *extra]
    assert ("external-check" in rows(lb, "global")) is (type_ == MonitorType.PING)


@pytest.mark.parametrize("type_", [MonitorType.UDP_CONNECT, MonitorType.SCTP])
def test_a_monitor_that_haproxy_cannot_be_is_as_absent(type_: MonitorType) -> None:
    assert "check" not in text(simple(health_monitor=monitor(type_)))


@pytest.mark.parametrize(
    ("version", "sent"), [("2.0.33", False), ("2.2.9", True), ("1:2.8.5-1ubuntu3", True)]
)
def test_old_versions_do_without_what_they_lack(version: str, sent: bool) -> None:
    web = monitor(http_version=1.1, domain_name="example.com")
    assert (
        "http-check send hdr Host example.com" in text(simple(health_monitor=web), version=version)
    ) is sent
    ping = simple(health_monitor=monitor(MonitorType.PING))
    assert ("insecure-fork-wanted" in rows(ping, "global", version=version)) is sent


@pytest.mark.parametrize(
    ("protocol", "version", "kept"),
    [
        (Protocol.HTTP, "2.5.9", False),  # it does not know the option
        (Protocol.HTTP, "2.6.12", True),
        (Protocol.TCP, "2.6.12", False),  # it would warn
    ],
)
def test_a_reload_cuts_no_kept_connection_where_haproxy_can_help_it(
    protocol: Protocol, version: str, kept: bool
) -> None:
    lb = load_balancer((listener(protocol=protocol), pool(protocol=protocol)))
    assert ("option idle-close-on-response" in text(lb, version=version)) is kept


def test_a_version_that_is_none_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no version"):
        made(simple(), version="unknown")


def test_headers_are_inserted_when_asked_for() -> None:
    found = rows(everything()["headers"], "backend", BACKEND)
    assert [row for row in found if "forward" in row.lower()] == [
        "option forwardfor",
        "http-request set-header X-Forwarded-Port %[dst_port]",
        "http-request set-header X-Forwarded-Proto http",
    ]
    lb = load_balancer((listener(insert_headers={"X-Forwarded-For": "false"}), pool()))
    assert "forwardfor" not in text(lb)


def test_the_log_line_of_a_stream_has_no_request() -> None:
    lb = load_balancer((listener(protocol=Protocol.TCP), pool(protocol=Protocol.TCP)))
    (row,) = (one for one in rows(lb, "frontend", listener_id(1)) if one.startswith("log-format"))
    assert "%{+Q}r" not in row
    assert "%ST" not in row
    assert row.startswith(f"log-format {lb.project_id} {LB} %f %ci %cp %t - - %B")


# --- whose fault ----------------------------------------------------------------------------------


def measured(**fields: Any) -> LoadBalancer:
    return load_balancer(
        (listener(1, protocol=Protocol.PROMETHEUS, default_pool_id=None, **fields), pool()),
        (listener(2, protocol=Protocol.PROMETHEUS, default_pool_id=None), pool(2)),
    )


def test_prometheus_listeners_lead_to_one_exporter_inside() -> None:
    lb = measured(connection_limit=1)
    assert "default_backend prometheus-exporter-internal" in rows(lb, "frontend", listener_id(1))
    assert rows(lb, "frontend", "prometheus-exporter-internal-endpoint") == [
        "no log",
        "maxconn 32",
        "bind 127.0.0.1:9101",
        "mode http",
        "timeout http-request 5s",
        "timeout client 5s",
        "http-request use-service prometheus-exporter if { path /metrics }",
        "http-request reject",
    ]
    assert rows(lb, "backend", "prometheus-exporter-internal")[-1] == (
        "server prometheus-internal 127.0.0.1:9102"
    )
    assert text(lb).count("prometheus-exporter-internal-endpoint") == 1
    # Room for the connections inside beside those of clients, which one limit would leave none.
    assert "maxconn 50033" in rows(lb, "global")
    assert "prometheus" not in text(simple())


def test_a_haproxy_without_an_exporter_is_not_asked_for_one() -> None:
    lb = load_balancer((listener(1), pool()), (listener(2, protocol=Protocol.PROMETHEUS), pool(2)))
    rendered = made(lb, version="1.8.30")
    assert rendered is not None
    assert rendered.refused.keys() == {listener_id(2)}
    assert "prometheus" not in rendered.text


def test_prometheus_speaks_tls_where_it_has_a_certificate() -> None:
    lb = measured(default_tls_container_ref="site", hsts_max_age=1)
    rendered = made(lb)
    assert rendered is not None
    assert [one.ref for one in rendered.secret_files] == ["site"]
    front = rows(lb, "frontend", listener_id(1))
    assert any(row.startswith("bind ") and "ssl crt-list" in row for row in front)
    assert not [row for row in front if "redirect" in row or "Strict" in row]
    assert not [row for row in rows(lb, "frontend", listener_id(2)) if "crt-list" in row]


def test_allowed_networks_are_asked_for_before_anything_else() -> None:
    lb = load_balancer((listener(allowed_cidrs=("10.1.2.3/8", *ALLOWED_CIDRS)), pool()))
    found = rows(lb, "frontend", listener_id(1))
    lists = [row.split() for row in found if row.startswith("acl allowed_cidrs src")]
    assert [word for row in lists for word in row[3:]] == ["10.0.0.0/8", *ALLOWED_CIDRS]
    assert max(map(len, lists)) < 64  # HAProxy reads no more words
    assert "tcp-request connection reject unless allowed_cidrs" in found
    assert not [row for row in rows(simple(), "frontend", listener_id(1)) if "reject" in row]


def test_a_listener_with_a_network_that_is_none_is_refused() -> None:
    rendered = made(load_balancer((listener(allowed_cidrs=("10.0.0.0/8 evil",)), pool())))
    assert rendered is not None
    assert "allowed CIDR '10.0.0.0/8 evil'" in rendered.refused[listener_id(1)]


def test_every_line_of_an_object_leads_to_it() -> None:
    rendered = made(simple(health_monitor=monitor()))
    assert rendered is not None
    by_line = dict(enumerate(rendered.text.splitlines(), start=1))
    owners = {line.strip(): rendered.owner_of(number) for number, line in by_line.items()}
    assert owners["option httpchk GET /"] == monitor_id(1)
    assert owners["balance roundrobin"] == pool_id(1)
    assert owners["bind 127.0.0.1:81"] == listener_id(1)
    assert owners["maxconn 50000"] == listener_id(1)
    assert owners["retries 3"] is None
    assert {member_id(1), member_id(2)} <= set(owners.values())
    assert rendered.owner_of(0) is None
    assert rendered.owner_of(10_000) is None


BAD: dict[str, tuple[LoadBalancer, str]] = {
    "address": (simple(members=(member(1, address="10.0.0.1:1 backup"), member(2))), member_id(1)),
    "interface": (simple(members=(member(1, address="fe80::1%eth0"), member(2))), member_id(1)),
    "weight": (simple(members=(member(1, weight=257), member(2))), member_id(1)),
    "port": (simple(members=(member(1, protocol_port=0), member(2))), member_id(1)),
    "url path": (simple(health_monitor=monitor(url_path="/a\n  server x 1.2.3.4:5")), monitor_id(1)),
    "space in a path": (simple(health_monitor=monitor(url_path="/a HTTP/1.1")), monitor_id(1)),
    "expected codes": (simple(health_monitor=monitor(expected_codes="200 ! rstatus")), monitor_id(1)),
    "no codes": (simple(health_monitor=monitor(expected_codes="299-200")), monitor_id(1)),
    "method": (simple(health_monitor=monitor(http_method="GET /x")), monitor_id(1)),
    "domain name": (
        simple(health_monitor=monitor(http_version=1.1, domain_name="a\r\nX: y")),
        monitor_id(1),
    ),
    "cookie name": (
        simple(
            session_persistence=SessionPersistence(type=PersistenceType.APP_COOKIE, cookie_name="a),lower")
        ),
        pool_id(1),
    ),
    "listener port": (load_balancer((listener(protocol_port=70000), pool())), listener_id(1)),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_object_poisons_nothing(name: str) -> None:
    lb, guilty = BAD[name]
    lb = replace(lb, listeners=(*lb.listeners, listener(2)), pools=(*lb.pools, pool(2, members=(member(9),))))
    rendered = made(lb)
    assert rendered is not None
    assert list(rendered.refused) == [guilty]
    assert rendered.refused[guilty].endswith(".")
    assert guilty not in rendered.owners
    assert {listener_id(2), pool_id(2)} <= set(rendered.owners)


# --- layer 7 --------------------------------------------------------------------------------------

OTHER_BACKEND = f"{pool_id(2)}:{listener_id(1)}"
TO_POOL: dict[str, Any] = {"action": L7Action.REDIRECT_TO_POOL, "redirect_pool_id": pool_id(2)}


FIRST, SECOND = acl_ids([rule_id(1), rule_id(2)]).values()


def l7_rows(lb: LoadBalancer) -> list[str]:
    words = ("acl", "http-request", "redirect", "use_backend")
    return [row for row in rows(lb, "frontend", listener_id(1)) if row.startswith(words)]


def test_rules_are_asked_together_and_an_inverted_one_is_negated() -> None:
    one, other = rule(), rule(RuleType.HEADER, CompareType.EQUAL_TO, "v", 2, key="X-A", invert=True)
    assert l7_rows(with_policies(policy(rules=(one, other)))) == [
        f"acl {rule_id(1)} path -m beg -u {FIRST} -- /x",
        f"acl {rule_id(2)} req.hdr(X-A) -m str -u {SECOND} -- v",
        f"http-request deny if {rule_id(1)} !{rule_id(2)}",
    ]


@pytest.mark.parametrize(
    ("type_", "compare", "key", "value", "wanted"),
    [
        (RuleType.HOST_NAME, CompareType.CONTAINS, None, "A.b", "req.hdr(host) -i -m sub -- A.b"),
        (RuleType.PATH, CompareType.REGEX, None, "a b", "path -m reg -- a b"),
        (RuleType.PATH, CompareType.EQUAL_TO, None, '"a b"', "path -m str -- a b"),
        (RuleType.PATH, CompareType.REGEX, None, '"a b"', 'path -m reg -- "a b"'),
        (RuleType.FILE_TYPE, CompareType.EQUAL_TO, None, "jpg", "path -m end -- jpg"),
        (RuleType.FILE_TYPE, CompareType.REGEX, None, "jpe?g", "path -m reg -- jpe?g"),
        (RuleType.HEADER, CompareType.ENDS_WITH, "a,b", "-f", 'req.hdr("a,b") -m end -- -f'),
        (RuleType.COOKIE, CompareType.EQUAL_TO, "sid", "1", "req.cook(sid) -m str -- 1"),
        (RuleType.SSL_CONN_HAS_CERT, CompareType.EQUAL_TO, None, "true", "ssl_c_used"),
        (RuleType.SSL_VERIFY_RESULT, CompareType.EQUAL_TO, None, "007", "ssl_c_verify -- 7"),
        (RuleType.SSL_DN_FIELD, CompareType.STARTS_WITH, "CN", "a", "ssl_c_s_dn(CN) -m beg -- a"),
    ],
)
def test_a_rule_as_haproxy_has_it(
    type_: RuleType, compare: CompareType, key: str | None, value: str, wanted: str
) -> None:
    lb = with_policies(policy(rules=(rule(type_, compare, value, key=key),)))
    assert l7_rows(lb)[0].replace(f" -u {FIRST}", "") == f"acl {rule_id(1)} {wanted}"


def test_denials_come_before_redirects_and_those_before_backends() -> None:
    url = {"action": L7Action.REDIRECT_TO_URL, "redirect_url": "http://u", "redirect_http_code": 302}
    prefix = {"action": L7Action.REDIRECT_PREFIX, "redirect_prefix": "http://p"}
    lb = with_policies(
        *(policy(n, **fields) for n, fields in enumerate((TO_POOL, url, {}, prefix, TO_POOL), 1))
    )
    found = [row for row in l7_rows(lb) if not row.startswith("acl")]
    assert found == [
        f"http-request deny if {rule_id(3)}",
        f"redirect code 302 location http://u if {rule_id(2)}",
        f"redirect prefix http://p if {rule_id(4)}",
        f"use_backend {OTHER_BACKEND} if {rule_id(1)}",
        f"use_backend {OTHER_BACKEND} if {rule_id(5)}",
    ]


def test_a_redirect_pool_has_a_backend_of_its_own() -> None:
    lb = with_policies(policy(**TO_POOL))
    assert [one.name for one in parse(text(lb)).sections if one.keyword == "backend"] == [
        BACKEND,
        OTHER_BACKEND,
    ]


@pytest.mark.parametrize(
    "lb",
    [
        with_policies(policy(rules=())),
        with_policies(policy(admin_state_up=False)),
        with_policies(policy(delete_requested=True)),
        with_policies(policy(rules=(rule(admin_state_up=False),))),
        with_policies(policy(rules=(rule(delete_requested=True),))),
        with_policies(policy(), protocol=Protocol.TCP),
        with_policies(policy(**TO_POOL)).with_pool(pool(2, admin_state_up=False)),
    ],
)
def test_policies_that_cannot_match_are_not_there(lb: LoadBalancer) -> None:
    assert l7_rows(lb) == []
    assert OTHER_BACKEND not in text(lb)


def test_a_disabled_rule_is_not_asked() -> None:
    lb = with_policies(policy(rules=(rule(), rule(number=2, admin_state_up=False))))
    assert l7_rows(lb)[-1] == f"http-request deny if {rule_id(1)}"


def test_a_policy_without_one_of_its_rules_would_match_too_much() -> None:
    lb = with_policies(
        policy(1, rules=(rule(number=1), rule(number=2, value="\n"))), policy(3, rules=(rule(number=3),))
    )
    rendered = made(lb)
    assert rendered is not None
    assert set(rendered.refused) == {policy_id(1), rule_id(2)}
    assert rule_id(2) in rendered.refused[policy_id(1)]
    assert rule_id(1) not in rendered.text
    assert f"deny if {rule_id(3)}" in rendered.text
    again = made(lb, excluded=frozenset({rule_id(3)}))
    assert again is not None
    assert set(again.refused) == {policy_id(1), rule_id(2), policy_id(3)}


def test_lines_of_policies_lead_to_their_objects() -> None:
    rendered = made(with_policies(policy()))
    assert rendered is not None
    owners = {
        line.split()[0]: rendered.owner_of(number)
        for number, line in enumerate(rendered.text.splitlines(), 1)
        if "acl" in line or "deny" in line
    }
    assert owners == {"acl": rule_id(1), "http-request": policy_id(1)}


# --- hostile tenants ------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "x\nglobal\n  daemon",
            "/\r\n\r\nserver evil 6.6.6.6:1",
            "'; server evil 6.6.6.6:1 #",
            '" backup "',
            "%[env(HOME)]",
            "${HOME}",
            "\\",
            "a b",
            "\u2028server evil 6.6.6.6:1",
            "-L",
        ]
    ),
)
# Whatever else may be on a line, it begins like this.
SHAPES = frozenset(
    {"acl", "balance", "bind", "error-log-format", "redirect", "use_backend"}
    | {"cookie", "default_backend", "dynamic-cookie-key", "external-check", "fullconn"}
    | {"hash-type", "http-check", "http-request", "http-reuse", "insecure-fork-wanted", "log", "log-format"}
    | {"load-server-state-from-file", "maxconn", "mode", "no", "option", "peer", "retries", "server"}
    | {"server-state-file", "stats", "stick", "stick-table", "tcp-request", "timeout", "user"}
)


@st.composite
def hostile_load_balancers(draw: st.DrawFn) -> LoadBalancer:
    members: tuple[Member, ...] = (
        member(1, name=draw(HOSTILE), address=draw(HOSTILE), monitor_address=draw(st.none() | HOSTILE)),
        member(2, name=draw(HOSTILE), subnet_id=draw(HOSTILE)),
    )
    persistence = SessionPersistence(
        type=draw(st.sampled_from(PersistenceType)), cookie_name=draw(st.none() | HOSTILE)
    )
    types = (MonitorType.HTTP, MonitorType.HTTPS, MonitorType.TCP)
    checking = monitor(
        draw(st.sampled_from(types)),
        name=draw(HOSTILE),
        http_method=draw(st.none() | HOSTILE),
        url_path=draw(st.none() | HOSTILE | HOSTILE.map(lambda path: "/" + path)),
        expected_codes=draw(st.none() | HOSTILE),
        domain_name=draw(st.none() | HOSTILE),
        http_version=draw(st.sampled_from([None, 1.0, 1.1])),
    )
    header = draw(st.sampled_from(["X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"]))
    headers = {header: draw(HOSTILE | st.just("true")), draw(HOSTILE): draw(HOSTILE), **HOSTILE_HEADERS}
    calm = [one for one in CompareType if one is not CompareType.REGEX]
    rules = tuple(
        rule(
            draw(st.sampled_from(RuleType)), draw(st.sampled_from(calm)), draw(HOSTILE), n, key=draw(HOSTILE)
        )
        for n in range(1, 4)
    )
    policies = tuple(
        policy(n, action, rules=(one,), redirect_url=draw(HOSTILE), redirect_prefix=draw(HOSTILE))
        for n, (action, one) in enumerate(
            zip((L7Action.REJECT, L7Action.REDIRECT_TO_URL, L7Action.REDIRECT_PREFIX), rules, strict=True), 1
        )
    )
    front = listener(
        name=draw(HOSTILE), description=draw(HOSTILE), insert_headers=headers, l7_policies=policies
    )
    back = pool(name=draw(HOSTILE), session_persistence=persistence, health_monitor=checking, members=members)
    return load_balancer((front, back), name=draw(HOSTILE), tags=(draw(HOSTILE),))


@given(hostile_load_balancers())
def test_no_string_of_a_tenant_adds_a_directive_or_a_word(lb: LoadBalancer) -> None:
    rendered = made(lb)
    assert rendered is not None
    config = parse(rendered.text)
    assert config == rendered.config
    assert serialize(config) == rendered.text
    assert {one.words[0] for section in config.sections for one in section.directives} <= SHAPES
    backends = [one for one in config.sections if one.keyword == "backend"]
    assert [one.keyword for one in config.sections if one.keyword not in ("peers", "backend")] == [
        "global",
        "defaults",
        "frontend",
    ]
    for section in backends:
        found = {one.words[1] for one in section.directives if one.words[0] == "server"}
        assert found <= {member_id(1), member_id(2)}
        assert found | set(rendered.refused) >= {member_id(1), member_id(2)}


def test_the_members_of_a_pool_can_be_replaced_whole() -> None:
    assert servers(with_members(simple(), member(3)))[0].split()[1] == member_id(3)


def test_a_project_stays_one_word_of_the_log_whatever_it_is_called() -> None:
    every = rows(replace(simple(), project_id="a b\n%ci\u00e9"), "frontend", listener_id(1))
    (told,) = (row for row in every if row.startswith("log-format "))
    assert "a_b_%%ci_ " in told


def test_a_quote_in_a_cookies_name_is_no_quote_of_an_argument() -> None:
    kept = SessionPersistence(type=PersistenceType.APP_COOKIE, cookie_name="o'sid")
    found = rows(simple(session_persistence=kept), "backend", f"{pool_id(1)}:{listener_id(1)}")
    assert """stick match req.cook("o'sid")""" in found
