# SPDX-License-Identifier: Apache-2.0
"""Random changes of a load balancer, and which of them have to reload HAProxy.

What its clients may then be answered is in :mod:`tests.netns.valid`.
"""

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from octavia.domain.tree import (
    Algorithm,
    CompareType,
    L7Action,
    L7Rule,
    LoadBalancer,
    Member,
    PersistenceType,
    Pool,
    Protocol,
    RuleType,
    SessionPersistence,
)
from tests import pki
from tests.netns.town import STREAMS, Town, patient_monitor
from tests.netns.valid import (
    DATAGRAMS,
    DEFAULT_NAME,
    NAMES,
    OTHER,
    SIDE,
    STREAM,
    TURNS,
    WEB,
    WORDS,
)
from tests.unit.dataplane import samples

SPELL: Final = 50  # so many changes, and then as many without a reload: it is seen what happens far from one
_SERVED: Final = 7  # the first listeners, which HAProxy serves all the time
ELSEWHERE: Final = "http://elsewhere.example.org/"
_COMPARE: Final = (
    CompareType.STARTS_WITH,
    CompareType.ENDS_WITH,
    CompareType.CONTAINS,
    CompareType.EQUAL_TO,
    CompareType.REGEX,
)


@dataclass(frozen=True, slots=True)
class Change:
    """One that has been made.

    :param reloads: must it reload, or must it not?
    """

    kind: str
    reloads: bool


def add_member(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    pool = town.pick(pool_ids)
    return town.put_members(pool, *pool.members, town.new_member(pool))


def remove_member(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    pool = town.pick(pool_ids)
    gone = town.rng.choice(pool.members)
    return town.put_members(pool, *(one for one in pool.members if one is not gone))


def weigh(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    return town.alter_member(lambda _, __: {"weight": town.rng.choice((0, 0, 1, 2, 5, 256))}, pool_ids)


def switch_member(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    return town.alter_member(lambda _, one: {"admin_state_up": not one.admin_state_up}, pool_ids)


def move_member(town: Town, pool_ids: Sequence[str]) -> bool:
    def elsewhere(pool: Pool, _: Member) -> dict[str, Any]:
        return dict(zip(("address", "protocol_port"), town.free_endpoint(pool), strict=True))

    return town.alter_member(elsewhere, pool_ids)


def toggle_backup(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    return town.alter_member(lambda _, one: {"backup": not one.backup}, pool_ids)


def change_all_members(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    """What a batch of the API does: some go, some come, the others weigh something else."""
    pool = town.pick(pool_ids)
    kept = town.rng.sample(pool.members, len(pool.members) // 2)
    weighed = [replace(one, weight=town.rng.randint(0, 10)) for one in kept]
    changed = replace(pool, members=tuple(weighed))
    while len(changed.members) < 4:
        changed = replace(changed, members=(*changed.members, town.new_member(changed)))
    return town.put_members(pool, *changed.members)


def renew_certificate(town: Town) -> bool:
    secured = town.lb.listeners[1]
    ref = town.rng.choice((str(secured.default_tls_container_ref), *secured.sni_container_refs))
    town.renew(ref, DEFAULT_NAME if ref.startswith("default") else ref)
    return True


def change_sni(town: Town) -> bool:
    """One more or one less, of at most as many as there are names."""
    present = town.lb.listeners[1].sni_container_refs
    name = town.rng.choice(NAMES)
    kept = tuple(one for one in present if one != name)
    return town.alter_listener(1, sni_container_refs=kept if name in present else (*present, name))


def change_default_certificate(town: Town) -> bool:
    present = town.lb.listeners[1].default_tls_container_ref
    return town.alter_listener(
        1, default_tls_container_ref="default-2" if present == "default-1" else "default-1"
    )


def _new_rule(town: Town) -> L7Rule:
    compare = town.rng.choice(_COMPARE)
    made = samples.rule(RuleType.PATH, compare, _value(town, compare), invert=town.rng.random() < 0.03)
    return replace(made, id=str(uuid.UUID(int=town.rng.getrandbits(128), version=4)))


def _value(town: Town, compare: CompareType) -> str:
    """Paths have three words, like ``/w1/w2/w3``."""
    first, second, third = town.rng.choices(WORDS, k=3)
    return {
        CompareType.STARTS_WITH: f"/{first}/",
        CompareType.ENDS_WITH: f"/{first}",
        CompareType.CONTAINS: f"{first}/{second}",
        CompareType.EQUAL_TO: f"/{first}/{second}/{third}",
        CompareType.REGEX: f"^/{first}/({second}|{third})/",
    }[compare]


def add_policy(town: Town) -> bool:
    policies = town.lb.listeners[0].l7_policies
    if len(policies) >= 6:
        return False
    action = town.rng.choice(TURNS)
    where: dict[str, Any] = {
        L7Action.REJECT: {},
        L7Action.REDIRECT_TO_URL: {"redirect_url": ELSEWHERE},
        L7Action.REDIRECT_TO_POOL: {"redirect_pool_id": OTHER},
    }[action]
    rules = tuple(_new_rule(town) for _ in range(town.rng.choice((1, 1, 2))))
    made = replace(
        samples.policy(1, action, rules=rules, **where),
        id=str(uuid.UUID(int=town.rng.getrandbits(128), version=4)),
    )
    return town.put_policies(*policies, made)


def remove_policy(town: Town) -> bool:
    policies = town.lb.listeners[0].l7_policies
    if len(policies) < 2:
        return False
    gone = town.rng.choice(policies)
    return town.put_policies(*(one for one in policies if one is not gone))


def move_policy(town: Town) -> bool:
    """To another place among those of its action: only there does an order mean something."""
    policies = list(town.lb.listeners[0].l7_policies)
    action = town.rng.choice(policies).action
    places = [at for at, one in enumerate(policies) if one.action is action]
    if len(places) < 2:
        return False
    one, other = town.rng.sample(places, 2)
    policies[one], policies[other] = policies[other], policies[one]
    return town.put_policies(*policies)


def change_rule_value(town: Town) -> bool:
    policies = town.lb.listeners[0].l7_policies
    policy = town.rng.choice(policies)
    rule = town.rng.choice(policy.rules)
    value = _value(town, rule.compare_type)
    rules = tuple(replace(one, value=value) if one is rule else one for one in policy.rules)
    changed = replace(policy, rules=rules)
    return town.put_policies(*(changed if one is policy else one for one in policies))


def invert_rule(town: Town) -> bool:
    """There and, sooner, back: most requests would meet it."""
    policies = town.lb.listeners[0].l7_policies
    inverted = [one for one in policies if any(rule.invert for rule in one.rules)]
    policy = town.rng.choice(inverted or policies)
    rule = town.rng.choice([one for one in policy.rules if one.invert] or policy.rules)
    rules = tuple(replace(one, invert=not one.invert) if one is rule else one for one in policy.rules)
    changed = replace(policy, rules=rules)
    return town.put_policies(*(changed if one is policy else one for one in policies))


def add_listener(town: Town) -> bool:
    free = [port for port in SIDE if all(one.protocol_port != port for one in town.side)]
    if not free:
        return False
    port = town.rng.choice(free)
    made = samples.listener(port, protocol=Protocol.HTTP, protocol_port=port, default_pool_id=OTHER)
    town.lb = town.lb.with_listener(made)
    return True


def remove_listener(town: Town) -> bool:
    if not town.side:
        return False
    gone = town.rng.choice(town.side)
    kept = tuple(one for one in town.lb.listeners if one is not gone)
    town.lb = replace(town.lb, listeners=kept)
    return True


def change_limit(town: Town) -> bool:
    return town.alter_listener(town.rng.randrange(_SERVED), connection_limit=town.rng.randint(500, 5000))


def change_timeout(town: Town) -> bool:
    which = town.rng.choice(("timeout_client_data", "timeout_member_data", "timeout_member_connect"))
    return town.alter_listener(town.rng.randrange(_SERVED), **{which: town.rng.randint(30_000, 90_000)})


def change_algorithm(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    pool = town.pick(pool_ids)
    wanted = town.rng.choice((Algorithm.ROUND_ROBIN, Algorithm.LEAST_CONNECTIONS, Algorithm.SOURCE_IP))
    if wanted is pool.lb_algorithm:
        return False
    town.lb = town.lb.with_pool(replace(pool, lb_algorithm=wanted))
    return True


def change_monitor(town: Town, pool_ids: Sequence[str] = STREAMS) -> bool:
    """Another form of it, or none."""
    pool = town.pick(pool_ids)
    wanted = patient_monitor(pool, town.rng.randint(5, 20)) if town.rng.random() < 0.7 else None
    if wanted == pool.health_monitor:
        return False
    town.lb = town.lb.with_pool(replace(pool, health_monitor=wanted))
    return True


def change_persistence(town: Town) -> bool:
    """A cookie of HAProxy's, or none; clients there send none back."""
    pool = town.pick((WEB, OTHER))
    wanted = None if pool.session_persistence else SessionPersistence(type=PersistenceType.HTTP_COOKIE)
    town.lb = town.lb.with_pool(replace(pool, session_persistence=wanted))
    return True


def change_nothing(town: Town) -> bool:
    """The same configuration as the generation before."""
    del town
    return True


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of change.

    :param share: how often it is chosen, beside the others.
    :param make: False where it is not possible now, and then nothing is changed.
    """

    share: int
    reloads: bool
    make: Callable[[Town], bool]


_HTTP: Final = tuple(one for one in STREAMS if one != STREAM)
_UDP: Final = (DATAGRAMS,)
KINDS: Final[Mapping[str, Kind]] = {
    "member added": Kind(14, False, add_member),
    "member removed": Kind(13, False, remove_member),
    "member's weight": Kind(14, False, weigh),
    "member enabled or disabled": Kind(8, False, switch_member),
    "TCP member's address or port": Kind(3, False, partial(move_member, pool_ids=(STREAM,))),
    "members replaced": Kind(4, False, change_all_members),
    "certificate renewed": Kind(7, False, renew_certificate),
    "certificates by name": Kind(5, False, change_sni),
    "default certificate": Kind(2, False, change_default_certificate),
    "UDP member added": Kind(6, False, partial(add_member, pool_ids=_UDP)),
    "UDP member removed": Kind(5, False, partial(remove_member, pool_ids=_UDP)),
    "UDP member's weight": Kind(4, False, partial(weigh, pool_ids=_UDP)),
    "UDP member enabled or disabled": Kind(3, False, partial(switch_member, pool_ids=_UDP)),
    "UDP member's address or port": Kind(2, False, partial(move_member, pool_ids=_UDP)),
    "UDP backup": Kind(3, False, partial(toggle_backup, pool_ids=_UDP)),
    "UDP members replaced": Kind(2, False, partial(change_all_members, pool_ids=_UDP)),
    "UDP algorithm": Kind(1, False, partial(change_algorithm, pool_ids=_UDP)),
    "UDP monitor": Kind(1, False, partial(change_monitor, pool_ids=_UDP)),
    "nothing": Kind(1, False, change_nothing),
    "rule's value": Kind(8, False, change_rule_value),
    "HTTP member's address or port": Kind(1, True, partial(move_member, pool_ids=_HTTP)),
    "backup": Kind(3, True, toggle_backup),
    "policy added": Kind(2, True, add_policy),
    "policy removed": Kind(2, True, remove_policy),
    "policy moved": Kind(1, True, move_policy),
    "rule inverted": Kind(1, True, invert_rule),
    "listener added": Kind(2, True, add_listener),
    "listener removed": Kind(2, True, remove_listener),
    "limit": Kind(1, True, change_limit),
    "timeout": Kind(1, True, change_timeout),
    "algorithm": Kind(1, True, change_algorithm),
    "monitor": Kind(1, True, change_monitor),
    "persistence": Kind(1, True, change_persistence),
}


def founded(rng: random.Random, lb: LoadBalancer, ca: pki.Ca) -> Town:
    """A town with some policies."""
    town = Town(rng, lb, ca)
    for _ in range(3):
        add_policy(town)
    return town


def change(town: Town) -> Change:
    """One more, of any kind that is possible now."""
    of_reloads = 0 if town.made // SPELL % 2 else 2
    town.made += 1
    shares = [one.share * (of_reloads if one.reloads else 1) for one in KINDS.values()]
    while True:
        kind = town.rng.choices(list(KINDS), shares)[0]
        if KINDS[kind].make(town):
            return Change(kind, KINDS[kind].reloads)
