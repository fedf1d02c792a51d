# SPDX-License-Identifier: Apache-2.0
"""The plan as a table: what is there, what was seen, what is to be done."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from octavia.db.amphorae import Heard
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.tree import (
    Algorithm,
    Amphora,
    LoadBalancer,
    Member,
    Pool,
    Protocol,
    Role,
    Topology,
    Vip,
)
from octavia.worker.observe import Desired, Observed
from octavia.worker.plan import PlanSettings, configuration_key, plan

NOW = datetime(2026, 1, 1, 12)
SETTINGS = PlanSettings(unreachable=timedelta(seconds=15))
S, M, B = Role.STANDALONE, Role.MASTER, Role.BACKUP
BUILD = ["CreateVrrpPort", "CreateServer", "AwaitServer", "AwaitAgent"]
FINISH = ["PlugVip", "PlugNetworks", "Allocate"]
SINGLE = LoadBalancer(id="lb", generation=3, vip=Vip(network_id="vip-net", subnet_id="vip-subnet"))
PAIR = replace(SINGLE, topology=Topology.ACTIVE_STANDBY)
LEAVING = {"provisioning_status": ProvisioningStatus.PENDING_DELETE, "delete_requested": True}


def serving(name: str, role: Role, **more: object) -> Amphora:
    """An amphora that takes configuration, but has acknowledged none."""
    values: dict[str, object] = {
        "id": name,
        "load_balancer_id": "lb",
        "status": AmphoraStatus.ALLOCATED,
        "role": role,
        "compute_id": name,
        "vrrp_ip": f"192.0.2.{ord(name)}",
    }
    return Amphora(**(values | more))  # type: ignore[arg-type]


def building(name: str, role: Role, **more: object) -> Amphora:
    return serving(name, role, **({"status": AmphoraStatus.BOOTING} | more))


def up_to_date(lb: LoadBalancer, *rows: Amphora) -> tuple[Amphora, ...]:
    """The same amphorae, all having acknowledged everything."""
    key = configuration_key(lb, rows, SETTINGS)
    return tuple(
        replace(row, generation=lb.generation, config_digest=key)
        if row.status is AmphoraStatus.ALLOCATED
        else row
        for row in rows
    )


@dataclass(frozen=True)
class Case:
    name: str
    lb: LoadBalancer
    rows: tuple[Amphora, ...]
    expected: list[tuple[str | None, list[str]]]
    heard: dict[str, Heard] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    member_networks: dict[str, str] = field(default_factory=dict)
    unanswering: set[str] = field(default_factory=set)


FAILED = {"status": AmphoraStatus.ERROR}
ASKED = {"replace_requested": NOW}
LONG_AGO = {"unreachable_since": NOW - timedelta(seconds=20)}
JUST_NOW = {"unreachable_since": NOW - timedelta(seconds=5)}
MEMBER = Member(id="m", address="192.0.2.1", protocol_port=80, subnet_id="far")
FAR = replace(
    SINGLE,
    pools=(Pool(id="p", protocol=Protocol.TCP, lb_algorithm=Algorithm.ROUND_ROBIN, members=(MEMBER,)),),
)

CASES = [
    Case("a new single is built", SINGLE, (), [(None, ["RecordAmphora", *BUILD, *FINISH])]),
    Case(
        "a new pair is built in two branches",
        PAIR,
        (),
        [(None, ["RecordAmphora", *BUILD, *FINISH])] * 2,
    ),
    Case("a build goes on", SINGLE, (building("a", S),), [("a", [*BUILD, *FINISH])]),
    Case("what is ready is configured", SINGLE, (serving("a", S),), [("a", ["Push"])]),
    Case("what is as wanted is left alone", SINGLE, up_to_date(SINGLE, serving("a", S)), []),
    Case(
        "an agent that is to have its configuration anew gets it",
        PAIR,
        up_to_date(PAIR, serving("a", M, config_requested=NOW), serving("b", B)),
        [("a", ["UpdateAgentConfiguration"])],
    ),
    Case(
        "the first of a pair is configured while the second boots",
        PAIR,
        (serving("a", M), building("b", B)),
        [("b", [*BUILD, *FINISH]), ("a", ["Push"])],
    ),
    Case(
        "a new generation is pushed to both",
        replace(PAIR, generation=4),
        up_to_date(PAIR, serving("a", M), serving("b", B)),
        [("a", ["Push"]), ("b", ["Push"])],
    ),
    Case(
        "an absent server is given up at once",
        PAIR,
        up_to_date(PAIR, serving("a", M, **JUST_NOW), serving("b", B)),
        [("a", ["GiveUp"])],
        gone={"a": "its server is gone"},
    ),
    Case(
        "one out of reach is tried again for a while",
        PAIR,
        up_to_date(PAIR, serving("a", M, **JUST_NOW), serving("b", B)),
        [("a", ["Push"])],
    ),
    Case(
        "one out of reach for long is given up",
        PAIR,
        up_to_date(PAIR, serving("a", M, **LONG_AGO), serving("b", B)),
        [("a", ["GiveUp"])],
        unanswering={"a"},
    ),
    Case(
        "one that was out of reach for long is called once more before it is given up",
        PAIR,
        up_to_date(PAIR, serving("a", M, **LONG_AGO), serving("b", B)),
        [("a", ["Push"])],
    ),
    Case(
        "one out of reach that still sends heartbeats gets more time",
        PAIR,
        up_to_date(PAIR, serving("a", M, **LONG_AGO), serving("b", B)),
        [("a", ["Push"])],
        heard={"a": Heard(NOW - timedelta(seconds=1))},
        unanswering={"a"},
    ),
    Case(
        "of a pair out of reach altogether only one is given up, not the owner of the VIP",
        PAIR,
        up_to_date(PAIR, serving("a", M, **LONG_AGO), serving("b", B, **LONG_AGO)),
        [("b", ["GiveUp"])],
        heard={"a": Heard(NOW - timedelta(minutes=1), "MASTER")},
        unanswering={"a", "b"},
    ),
    Case(
        "the owner of the VIP is not given up because it was out of reach first",
        PAIR,
        up_to_date(PAIR, serving("a", M, **LONG_AGO), serving("b", B, **JUST_NOW)),
        [("a", ["Push"]), ("b", ["Push"])],
        heard={"a": Heard(NOW - timedelta(minutes=1), "MASTER")},
        unanswering={"a", "b"},
    ),
    Case(
        "of a pair out of reach altogether the one that was never configured is given up",
        PAIR,
        (*up_to_date(PAIR, serving("a", M, **LONG_AGO)), serving("b", B, **LONG_AGO)),
        [("b", ["GiveUp"])],
        unanswering={"a", "b"},
    ),
    Case(
        "the last one out of reach stays until its new peer serves",
        PAIR,
        (*up_to_date(PAIR, serving("a", M, **LONG_AGO)), serving("b", B)),
        [("a", ["Push"]), ("b", ["Push"])],
        unanswering={"a"},
    ),
    Case(
        "of a pair the last that may serve stays while its replacements are built",
        PAIR,
        (serving("a", M, **FAILED, **LONG_AGO), building("b", B)),
        [(None, ["RecordAmphora", *BUILD, *FINISH]), ("b", [*BUILD, *FINISH])],
    ),
    Case(
        "one that was given up long ago goes, whoever else serves",
        PAIR,
        (serving("a", M, **FAILED, unreachable_since=NOW - timedelta(minutes=5)), building("b", B)),
        [("a", ["Retire"]), (None, ["RecordAmphora", *BUILD, *FINISH]), ("b", [*BUILD, *FINISH])],
    ),
    Case(
        "a failed one goes while its replacement is built",
        PAIR,
        (serving("a", M, **FAILED), *up_to_date(PAIR, serving("b", B), serving("a", M))[:1]),
        [("a", ["Retire"]), (None, ["RecordAmphora", *BUILD, *FINISH])],
    ),
    Case(
        "the survivor learns of the replacement when that has an address",
        PAIR,
        (*up_to_date(PAIR, serving("b", B), serving("a", M))[:1], building("c", M)),
        [("c", [*BUILD, *FINISH]), ("b", ["Push"])],
    ),
    Case(
        "a new generation does not wait for the replacement",
        replace(PAIR, generation=4),
        up_to_date(PAIR, serving("b", B)),
        [(None, ["RecordAmphora", *BUILD, *FINISH]), ("b", ["Push"])],
    ),
    Case(
        "a single's VIP waits until the failed one is gone",
        SINGLE,
        (serving("a", S, **FAILED), building("b", S)),
        [("a", ["Retire"]), ("b", BUILD)],
    ),
    Case(
        "a single is replaced make before break, its VIP last",
        SINGLE,
        up_to_date(SINGLE, serving("a", S, **ASKED)),
        [(None, ["RecordAmphora", *BUILD, "PlugNetworks", "Retire", *FINISH])],
    ),
    Case(
        "of a pair one is replaced at a time, the owner of the VIP last",
        PAIR,
        up_to_date(PAIR, serving("a", M, **ASKED), serving("b", B, **ASKED)),
        [(None, ["RecordAmphora", *BUILD, *FINISH])],
        heard={"a": Heard(NOW, "MASTER"), "b": Heard(NOW, "BACKUP")},
    ),
    Case(
        "the old one goes when the new one is configured",
        PAIR,
        up_to_date(PAIR, serving("a", M, **ASKED), serving("b", B, **ASKED), serving("c", B)),
        [("b", ["Retire"])],
        heard={"a": Heard(NOW, "MASTER"), "b": Heard(NOW, "BACKUP")},
    ),
    Case(
        "what is too much goes",
        SINGLE,
        up_to_date(SINGLE, serving("a", S), building("b", S)),
        [("b", ["Retire"])],
    ),
    Case(
        "a network of members is plugged before the configuration needs it",
        FAR,
        up_to_date(FAR, serving("a", S)),
        [("a", ["PlugNetworks", "Push"])],
        member_networks={"far": "far-net"},
    ),
    Case(
        "a network without members is unplugged",
        SINGLE,
        up_to_date(SINGLE, serving("a", S, plugged_networks=("far-net",))),
        [("a", ["UnplugNetworks"])],
    ),
    Case(
        "members on the VIP's network need no interface of their own",
        FAR,
        up_to_date(FAR, serving("a", S)),
        [],
        member_networks={"far": "vip-net"},
    ),
    Case(
        "deleting takes every amphora away first",
        replace(PAIR, **LEAVING),  # type: ignore[arg-type]
        (serving("a", M), building("b", B)),
        [("a", ["Retire"]), ("b", ["Retire"])],
    ),
    Case(
        "deleting ends with the VIP",
        replace(PAIR, **LEAVING),  # type: ignore[arg-type]
        (),
        [(None, ["ReleaseVip"])],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_is(case: Case) -> None:
    desired = Desired(case.lb, case.rows, case.heard)
    observed = Observed(NOW, case.gone, case.member_networks, unanswering=frozenset(case.unanswering))
    planned = [
        (one.amphora_id, [type(step).__name__ for step in one.steps])
        for one in plan(desired, observed, SETTINGS)
    ]
    assert planned == case.expected


def test_the_key_of_a_configuration_changes_with_generation_peers_and_settings() -> None:
    rows = (serving("a", M), serving("b", B))
    keys = {
        configuration_key(PAIR, rows, SETTINGS),
        configuration_key(replace(PAIR, generation=9), rows, SETTINGS),
        configuration_key(PAIR, rows[:1], SETTINGS),
        configuration_key(PAIR, (replace(rows[0], vrrp_ip="192.0.2.9"), rows[1]), SETTINGS),
        configuration_key(PAIR, rows, replace(SETTINGS, fingerprint="other")),
    }
    assert len(keys) == 5
    assert configuration_key(PAIR, rows, SETTINGS) == configuration_key(PAIR, rows[::-1], SETTINGS)
