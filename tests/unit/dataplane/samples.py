# SPDX-License-Identifier: Apache-2.0
"""Load balancers that between them use everything that is rendered."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.tree import (
    AdditionalVip,
    Algorithm,
    Amphora,
    CompareType,
    HealthMonitor,
    L7Action,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Role,
    RuleType,
    SessionPersistence,
    Topology,
    Vip,
    VrrpGroup,
)

LB = "11111111-1111-4111-8111-111111111111"
AMPHORA = "a0000000-0000-4000-8000-000000000001"
OTHER_AMPHORA = "a0000000-0000-4000-8000-000000000002"
SETTLED: Mapping[str, Any] = {"provisioning_status": ProvisioningStatus.ACTIVE}


def listener_id(number: int) -> str:
    return f"22222222-2222-4222-8222-{number:012d}"


def pool_id(number: int) -> str:
    return f"33333333-3333-4333-8333-{number:012d}"


def member_id(number: int) -> str:
    return f"44444444-4444-4444-8444-{number:012d}"


def monitor_id(number: int) -> str:
    return f"55555555-5555-4555-8555-{number:012d}"


def policy_id(number: int) -> str:
    return f"66666666-6666-4666-8666-{number:012d}"


def rule_id(number: int) -> str:
    return f"77777777-7777-4777-8777-{number:012d}"


def rule(
    type_: RuleType = RuleType.PATH,
    compare: CompareType = CompareType.STARTS_WITH,
    value: str = "/x",
    number: int = 1,
    **fields: Any,
) -> L7Rule:
    given: dict[str, Any] = {"type": type_, "compare_type": compare, "value": value}
    return L7Rule(id=rule_id(number), **{**SETTLED, **given, **fields})


def policy(number: int = 1, action: L7Action = L7Action.REJECT, **fields: Any) -> L7Policy:
    given: dict[str, Any] = {"action": action, "position": number, "rules": (rule(number=number),)}
    return L7Policy(id=policy_id(number), **{**SETTLED, **given, **fields})


def with_policies(*policies: L7Policy, **fields: Any) -> LoadBalancer:
    """Two pools, the second one for policies."""
    lb = load_balancer((listener(l7_policies=policies, **fields), pool()))
    return lb.with_pool(pool(2, members=(member(3),)))


def every_rule() -> tuple[L7Rule, ...]:
    """Every type with everything that it can be compared by."""
    keys = {RuleType.HEADER: "a'b,c|d", RuleType.COOKIE: "sid", RuleType.SSL_DN_FIELD: "CN"}
    fixed = {RuleType.SSL_CONN_HAS_CERT: "true", RuleType.SSL_VERIFY_RESULT: "0"}
    values = ("/plain", '"in quotes"', "-f", "-i", "a'b\"c\\d#e$HOME%[env(HOME)]", "x" * 255)
    made: list[L7Rule] = []
    for type_ in RuleType:
        for compare in CompareType:
            exact = compare is CompareType.EQUAL_TO
            if (type_ in fixed and not exact) or (
                type_ is RuleType.FILE_TYPE and not exact and compare is not CompareType.REGEX
            ):
                continue
            for value in ("^/[a-z]{1,3} (x|y)$",) if compare is CompareType.REGEX else values:
                number = len(made) + 1
                made.append(
                    rule(type_, compare, fixed.get(type_, value), number, key=keys.get(type_), invert=exact)
                )
    return tuple(made)


def member(number: int = 1, **fields: Any) -> Member:
    given: dict[str, Any] = {"address": f"10.1.0.{number}", "protocol_port": 8000 + number}
    return Member(id=member_id(number), **{**SETTLED, **given, **fields})


def monitor(type_: MonitorType = MonitorType.HTTP, number: int = 1, **fields: Any) -> HealthMonitor:
    given: dict[str, Any] = {"delay": 5, "timeout": 3, "max_retries": 2}
    return HealthMonitor(id=monitor_id(number), type=type_, **{**SETTLED, **given, **fields})


def pool(number: int = 1, **fields: Any) -> Pool:
    given: dict[str, Any] = {
        "protocol": Protocol.HTTP,
        "lb_algorithm": Algorithm.ROUND_ROBIN,
        "members": (member(1), member(2)),
    }
    return Pool(id=pool_id(number), **{**SETTLED, **given, **fields})


def listener(number: int = 1, **fields: Any) -> Listener:
    given: dict[str, Any] = {
        "protocol": Protocol.HTTP,
        "protocol_port": 80 + number,
        "default_pool_id": pool_id(number),
    }
    return Listener(id=listener_id(number), **{**SETTLED, **given, **fields})


def load_balancer(*pairs: tuple[Listener, Pool], **fields: Any) -> LoadBalancer:
    given: dict[str, Any] = {
        "project_id": "e7284bb2f46a46ca42db9d5cae5bd5ac",
        "vip": Vip(ip_address="127.0.0.1", subnet_id="s"),
        "listeners": tuple(one for one, _ in pairs),
        "pools": tuple(one for _, one in pairs),
    }
    return LoadBalancer(id=LB, **{**SETTLED, **given, **fields})


def simple(**pool_fields: Any) -> LoadBalancer:
    return load_balancer((listener(), pool(**pool_fields)))


def amphorae() -> tuple[Amphora, Amphora]:
    made = []
    for number, (name, role) in enumerate([(AMPHORA, Role.MASTER), (OTHER_AMPHORA, Role.BACKUP)], start=2):
        made.append(
            Amphora(
                id=name,
                load_balancer_id=LB,
                status=AmphoraStatus.ALLOCATED,
                role=role,
                vrrp_ip=f"10.0.0.{number}",
                vrrp_interface="eth1",
                vrrp_id=1,
                vrrp_priority=100 if role == Role.MASTER else 90,
            )
        )
    return made[0], made[1]


def pair(lb: LoadBalancer, version: int = 3, advert_int: float = 0.25) -> LoadBalancer:
    group = VrrpGroup(name=LB.replace("-", ""), version=version, advert_int=advert_int, auth_pass="abcdef1")
    return replace(lb, topology=Topology.ACTIVE_STANDBY, vrrp_group=group)


def with_members(lb: LoadBalancer, *members: Member) -> LoadBalancer:
    return lb.with_pool(replace(lb.pools[0], members=members))


HOSTILE_HEADERS: Mapping[str, str] = {
    "X-Forwarded-For": "true\nserver evil 6.6.6.6:1",
    "evil\nglobal": "true",
}
ALLOWED_CIDRS = ("10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", *(f"192.0.2.{n}/32" for n in range(90)))
ALL_HEADERS = {"X-Forwarded-For": "true", "X-Forwarded-Port": "True", "X-Forwarded-Proto": "true"}


def everything() -> dict[str, LoadBalancer]:
    """By what is particular about them."""
    persistence = SessionPersistence
    samples = {
        "http": simple(),
        "no pool": load_balancer((listener(default_pool_id=None), pool())),
        "empty pool": simple(members=()),
        "disabled load balancer": replace(simple(), admin_state_up=False),
        "disabled listener": load_balancer((listener(admin_state_up=False), pool())),
        "disabled pool": simple(admin_state_up=False),
        "disabled member": simple(members=(member(1, admin_state_up=False), member(2))),
        "drained and backup members": simple(
            members=(member(1, weight=0), member(2, backup=True, weight=256))
        ),
        "least connections": simple(lb_algorithm=Algorithm.LEAST_CONNECTIONS),
        "source ip": simple(lb_algorithm=Algorithm.SOURCE_IP),
        "source ip port": simple(lb_algorithm=Algorithm.SOURCE_IP_PORT),
        "stick on source": simple(session_persistence=persistence(type=PersistenceType.SOURCE_IP)),
        "http cookie": simple(session_persistence=persistence(type=PersistenceType.HTTP_COOKIE)),
        "application cookie": simple(
            session_persistence=persistence(type=PersistenceType.APP_COOKIE, cookie_name="JSESSIONID")
        ),
        "odd application cookie": simple(
            session_persistence=persistence(type=PersistenceType.APP_COOKIE, cookie_name="a!#$%&*+.^_`|~-b")
        ),
        "headers": load_balancer((listener(insert_headers=ALL_HEADERS), pool())),
        "limits and timeouts": load_balancer(
            (
                listener(
                    connection_limit=123,
                    timeout_client_data=1000,
                    timeout_member_connect=2000,
                    timeout_member_data=3000,
                    timeout_tcp_inspect=4000,
                ),
                pool(),
            )
        ),
        "ipv6": load_balancer(
            (listener(), pool(members=(member(1, address="2001:db8::1"), member(2)))),
            vip=Vip(ip_address="::1"),
            additional_vips=(AdditionalVip(ip_address="127.0.0.1", subnet_id="s2"),),
        ),
        "tcp listener, http pool": load_balancer((listener(protocol=Protocol.TCP), pool())),
        "proxied": load_balancer(
            (listener(1, protocol=Protocol.HTTP), pool(1, protocol=Protocol.PROXY)),
            (listener(2, protocol=Protocol.TCP), pool(2, protocol=Protocol.PROXYV2)),
            (
                listener(3, protocol=Protocol.TCP),
                pool(3, protocol=Protocol.PROXY, health_monitor=monitor(MonitorType.TCP)),
            ),
        ),
        "one pool, two listeners": load_balancer(
            (listener(1), pool(1, health_monitor=monitor())),
            (listener(2, default_pool_id=pool_id(1)), pool(2)),
        ),
        "monitor elsewhere": simple(
            health_monitor=monitor(),
            members=(
                member(1, monitor_port=9000),
                member(2, monitor_address="10.9.9.9"),
                member(3, monitor_address="2001:db8::9", monitor_port=9001),
            ),
        ),
        "http monitor": simple(
            health_monitor=monitor(
                http_method="HEAD",
                url_path="/health?x='\"$HOME\"'&y=%[env(HOME)]#z\\",
                http_version=1.1,
                domain_name="www.example.com",
                expected_codes="200,202,300-304",
            )
        ),
        "every rule": with_policies(
            *(policy(n, rules=(one,)) for n, one in enumerate(every_rule(), start=1))
        ),
        "every action": with_policies(
            policy(1, L7Action.REDIRECT_TO_POOL, redirect_pool_id=pool_id(2)),
            policy(
                2,
                L7Action.REDIRECT_TO_URL,
                redirect_url="https://a.example/%41?b=c#d'e",
                rules=(rule(number=2),),
            ),
            policy(
                3,
                L7Action.REDIRECT_PREFIX,
                redirect_prefix="https://p",
                redirect_http_code=308,
                rules=(rule(number=3),),
            ),
            policy(4, L7Action.REJECT, rules=(rule(number=4), rule(number=5, invert=True))),
            insert_headers=ALL_HEADERS,
        ),
        "measured": load_balancer(
            (listener(1), pool()),
            (listener(2, protocol=Protocol.PROMETHEUS, default_pool_id=None), pool(2)),
        ),
        "allowed": load_balancer((listener(allowed_cidrs=ALLOWED_CIDRS), pool())),
        "disabled monitor": simple(health_monitor=monitor(admin_state_up=False)),
    }
    for type_ in (MonitorType.HTTPS, MonitorType.TCP, MonitorType.PING, MonitorType.TLS_HELLO):
        protocol = Protocol.HTTP if type_ in (MonitorType.TCP, MonitorType.PING) else Protocol.HTTPS
        samples[f"{type_.value} monitor"] = load_balancer(
            (listener(protocol=protocol), pool(protocol=protocol, health_monitor=monitor(type_)))
        )
    return samples
