# SPDX-License-Identifier: Apache-2.0
"""What befalls a history: a list of events drawn from a seed, each of which can be left out.

Everything else that is random in a history (delays, lost rings, fates of datagrams) is drawn from
the seed by the tasks themselves, so an event left out changes what depends on it and little else.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from octavia.drivers.faults import Moment
from tests.simulation.faults import Blow, Fault

TURMOIL_S: Final = 480.0


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens.

    :param at_s: seconds since the beginning.
    :param kind: ``tenant``, ``fault``, ``away``, ``crash``, ``restore``, or what happens to an amphora.
    :param what: the request, the service.
    :param choice: decides whom it happens to, among those there are then.
    :param seconds: how long it lasts.
    """

    at_s: float
    kind: str
    what: str = ""
    choice: int = 0
    seconds: float = 0.0
    fault: Fault | None = None

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.kind} {self.fault or self.what} {self.choice}{lasting}"


_REQUESTS: Final = {
    "create": 3,
    "delete": 2,
    "fail_over": 2,
    "rename": 1,
    "add_member": 4,
    "add_bad_member": 1,
    "weigh_member": 3,
    "spoil_member": 4,
    "remove_member": 3,
    "add_listener": 2,
    "remove_listener": 1,
    "replace_listener": 2,
    "watch_pool": 1,
    "unwatch_pool": 1,
    "remove_pool": 1,
}
_CALLS: Final = (
    "commit",
    "commit",
    "commit RecordAmphora",
    "commit Branch.record",
    "commit Reconciler._settle",
    "commit Service.change",
    "database.read",
    "compute.create",
    "compute.get",
    "compute.delete",
    "compute.attach_port",
    "network",
    "network.create_vip_port",
    "commit _make",
    "network.create_vrrp_port",
    "network.create_member_port",
    "network.delete_port",
    "network.ports_of_amphora",
    "certificates.issue",
    "agent",
    "agent.plug_vip",
    "agent.plug_network",
    "agent.apply",
    "agent.apply",
    "agent.stop_vrrp",
    "agent.info",
)
_BLOWS: Final = {Blow.ERROR: 4, Blow.CRASH: 4, Blow.PAUSE: 3, Blow.AGAIN: 1}
_AMPHORA: Final[dict[str, Callable[[random.Random], float]]] = {
    "burns": lambda _: 0.0,
    "vanishes": lambda _: 0.0,
    "reboots": lambda rng: rng.uniform(5, 120),
    "goes deaf": lambda rng: rng.uniform(5, 150),
    "goes silent": lambda rng: rng.uniform(20, 250),
    "is cut off": lambda rng: rng.uniform(10, 300),
    "forgets its configuration": lambda _: 0.0,
    "does not hear its peer": lambda rng: rng.uniform(5, 200),
}
_SERVICES: Final = ("compute", "network", "database", "agent", "management")


def draw(seed: int) -> tuple[Event, ...]:
    """The events of one history, in their order."""
    rng = random.Random(f"events {seed}")
    events = [Event(0.0, "tenant", "create", rng.randrange(1000))]
    if rng.random() < 0.4:
        events.append(Event(rng.uniform(0, 20), "tenant", "create", rng.randrange(1000)))
    moments = [rng.uniform(0, TURMOIL_S) for _ in range(rng.randint(2, 8))]
    for _ in range(rng.randint(3, 12)):
        events.append(_request(rng, moments))
    for _ in range(rng.randint(0, 8)):
        events.append(_fault(rng, moments))
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        what = rng.choice(list(_AMPHORA))
        events.append(Event(_near(rng, moments), "amphora", what, rng.randrange(1000), _AMPHORA[what](rng)))
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        events.append(Event(_near(rng, moments), "away", rng.choice(_SERVICES), 0, rng.uniform(2, 120)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        events.append(Event(_near(rng, moments), "crash", "", rng.randrange(1000)))
    if rng.random() < 0.15:
        # A creation that stands still for long between its port and its row.
        at_s = rng.uniform(0, TURMOIL_S)
        pause = Fault("network.create_vip_port", Moment.AFTER, Blow.PAUSE, rng.uniform(61, 300))
        events += [
            Event(at_s, "fault", fault=pause),
            Event(at_s + 0.1, "tenant", "create", rng.randrange(1000)),
        ]
    if rng.random() < 0.3:
        events.append(Event(rng.uniform(0, TURMOIL_S), "noise", "", 0, rng.uniform(30, 300)))
    if rng.random() < 0.04:
        # Many load balancers, and a network that hides all of them.
        events += [Event(0.0, "tenant", "create", rng.randrange(1000)) for _ in range(4)]
        events.append(Event(rng.uniform(60, 300), "away", "management", 0, rng.uniform(90, 200)))
    if rng.random() < 0.15:
        # More creations at once than a small quota has room for.
        at_s = rng.uniform(0, TURMOIL_S)
        events += [Event(at_s, "tenant", "create", rng.randrange(1000)) for _ in range(3)]
    if rng.random() < 0.1:
        events += _restored(rng)
    return tuple(sorted(events, key=lambda one: one.at_s))


def _restored(rng: random.Random) -> Iterator[Event]:
    """An older database; as often as not it does not know who serves, and nobody else is quick to."""
    at_s, back_s = rng.uniform(60, TURMOIL_S), rng.uniform(1, 200)
    yield Event(at_s, "restore", "", 0, back_s)
    if rng.random() < 0.5:
        yield Event(max(0.0, at_s - rng.uniform(0, back_s)), "tenant", "fail_over", rng.randrange(1000))
        yield Event(at_s + rng.uniform(0, 5), "away", "agent", 0, rng.uniform(60, 150))


def _near(rng: random.Random, moments: list[float]) -> float:
    """Events come in bursts: that is when they meet."""
    return rng.choice(moments) + rng.choice((rng.uniform(0, 1), rng.uniform(0, 15)))


def _request(rng: random.Random, moments: list[float]) -> Event:
    (what,) = rng.choices(list(_REQUESTS), list(_REQUESTS.values()))
    return Event(_near(rng, moments), "tenant", what, rng.randrange(1000))


def _fault(rng: random.Random, moments: list[float]) -> Event:
    call = rng.choice(_CALLS)
    (blow,) = rng.choices(list(_BLOWS), list(_BLOWS.values()))
    moment = rng.choice(list(Moment)) if call != "database.read" else Moment.BEFORE
    if blow is Blow.AGAIN:
        call, moment = "commit", Moment.BEFORE
    # Longer than a lease as often as not.
    seconds = rng.choice((rng.uniform(1, 60), rng.uniform(61, 200))) if blow is Blow.PAUSE else 0.0
    at_s = max(0.0, _near(rng, moments) - 0.5)
    return Event(at_s, "fault", fault=Fault(call, moment, blow, seconds))
