# SPDX-License-Identifier: Apache-2.0
"""The demo: a tenant makes a load balancer, and its active amphora dies.

What is shown is measured while it happens; nothing is scripted but the order.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from oslo_config import cfg

from octavia.cmd.standalone import host, rest
from octavia.cmd.standalone.configuration import api_url
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.narrator import Narrator
from octavia.cmd.standalone.probe import Probe, fetch
from octavia.cmd.standalone.state import State
from octavia.cmd.standalone.tenant import Tenant

_T = TypeVar("_T")

LOAD_BALANCER: Final = "demo"
LISTENER: Final = "demo-http"
POOL: Final = "demo-pool"
MONITOR: Final = "demo-check"
SERVERS: Final = ("web-1", "web-2")
SUBNET: Final = "demo"
_SERVER_PORT: Final = 8080
_LB: Final = "/v2.0/lbaas"


@dataclass(frozen=True, slots=True)
class Stage:
    """What every scene needs."""

    conf: cfg.ConfigOpts
    state: State
    narrator: Narrator
    tenant: Tenant

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read the API."""
        return rest.get(api_url(self.conf), path, query)

    def named(self, plural: str, name: str, path: str | None = None) -> dict[str, Any] | None:
        """The one object of that name, if there is one."""
        found = self.get(f"{_LB}/{path or plural}", name=name)[plural]
        return found[0] if found else None


def play(conf: cfg.ConfigOpts, state: State, narrator: Narrator) -> None:
    """Play it; played again it keeps what is there and only kills once more.

    :raises Refusal: a scene did not end well; the text says how far it came.
    """
    stage = Stage(conf, state, narrator, Tenant(state.clouds, narrator))
    addresses = start_servers(stage)
    vip = create(stage, addresses)
    show_balance(stage, vip)
    kill_the_active(stage, vip)


def start_servers(stage: Stage) -> Sequence[str]:
    """Two web servers in namespaces of their own; their addresses."""
    addresses = [
        host.start_web_server(stage.conf, stage.state, name, SUBNET, _SERVER_PORT) for name in SERVERS
    ]
    told = ", ".join(f"{name} at {address}" for name, address in zip(SERVERS, addresses, strict=True))
    stage.narrator.say(f"two web servers run in network namespaces of their own: {told}")
    return addresses


def create(stage: Stage, addresses: Sequence[str]) -> str:
    """Whatever of the load balancer is missing; its VIP."""
    began = time.monotonic()
    made = _create_missing(stage, addresses)
    lb = _wait(
        "the load balancer to become ACTIVE",
        lambda: _settled(stage.named("loadbalancers", LOAD_BALANCER)),
        seconds=60,
    )
    vip = str(lb["vip_address"])
    _wait("the VIP to answer", lambda: _serves(vip), seconds=60)
    if made:
        took = time.monotonic() - began
        stage.narrator.say(
            f"load balancer {LOAD_BALANCER} is ACTIVE and http://{vip}/ answers,"
            f" {took:.1f} s after the first command (most of it is the client's own start)"
        )
    else:
        stage.narrator.say(f"load balancer {LOAD_BALANCER} is already there: http://{vip}/ answers")
    return vip


def _create_missing(stage: Stage, addresses: Sequence[str]) -> bool:
    made = False

    def missing(plural: str, name: str, path: str | None = None) -> bool:
        nonlocal made
        found = stage.named(plural, name, path) is None
        made = made or found
        return found

    run = stage.tenant.run
    if missing("loadbalancers", LOAD_BALANCER):
        run("loadbalancer", "create", "--name", LOAD_BALANCER, "--vip-subnet-id", SUBNET)
    if missing("listeners", LISTENER):
        run(
            *("loadbalancer", "listener", "create", "--name", LISTENER),
            *("--protocol", "HTTP", "--protocol-port", "80", LOAD_BALANCER),
        )
    if missing("pools", POOL):
        run(
            *("loadbalancer", "pool", "create", "--name", POOL, "--listener", LISTENER),
            *("--protocol", "HTTP", "--lb-algorithm", "ROUND_ROBIN"),
        )
    pool = stage.named("pools", POOL)
    assert pool is not None
    for name, address in zip(SERVERS, addresses, strict=True):
        if missing("members", name, f"pools/{pool['id']}/members"):
            run(
                *("loadbalancer", "member", "create", "--name", name, "--address", address),
                *("--protocol-port", str(_SERVER_PORT), "--subnet-id", SUBNET, POOL),
            )
    if missing("healthmonitors", MONITOR):
        run(
            *("loadbalancer", "healthmonitor", "create", "--name", MONITOR, "--type", "HTTP"),
            *("--delay", "1", "--timeout", "1", "--max-retries", "2", POOL),
        )
    return made


def show_balance(stage: Stage, vip: str) -> None:
    """A few requests, and which member answered."""
    bodies = [_request(vip) for _ in range(6)]
    for body in bodies[:4]:
        stage.narrator.show(f"$ curl http://{vip}/\n{body}")
    shares = ", ".join(f"{count} x {body!r}" for body, count in sorted(Counter(bodies).items()))
    stage.narrator.say(f"{len(bodies)} requests to the VIP: {shares}")


def _request(vip: str) -> str:
    try:
        return asyncio.run(asyncio.wait_for(fetch(vip, 80), timeout=5))
    except (OSError, ValueError) as why:
        raise Refusal(f"http://{vip}/ did not answer a request: {why}") from why


def kill_the_active(stage: Stage, vip: str) -> None:
    """SIGKILL for the amphora that has the VIP, while a client asks every 20 ms."""
    lb_id = stage.named("loadbalancers", LOAD_BALANCER)
    assert lb_id is not None
    before = _wait("two amphorae", lambda: _pair(stage, lb_id["id"]), seconds=120)
    active = _wait(
        "one amphora to own the VIP", lambda: host.owner_of(stage.state, [*before], vip), seconds=30
    )
    with Probe(vip, 80) as probe:
        if not probe.wait_for_answers(time.monotonic(), count=25, timeout_seconds=10):
            raise Refusal(f"http://{vip}/ does not answer steadily, so there is nothing to interrupt.")
        killed = time.monotonic()
        host.kill_amphora(stage.state, active)
        stage.narrator.say(f"killed the active amphora {active} (SIGKILL of everything in it)")
        # A connection that was open at the kill may still have got its answer: ask for new ones.
        if not probe.wait_for_answers(killed, count=25, timeout_seconds=30):
            raise Refusal(f"http://{vip}/ stayed silent for 30 s after the active amphora died.")
        standby = host.owner_of(stage.state, [one for one in before if one != active], vip)
        stage.narrator.say(
            f"the standby {standby or ''} answers: the VIP was silent for {probe.silence(killed):.2f} s"
        )
        taken_over = time.monotonic()
        now = _wait(
            "the replacement",
            lambda: _pair(stage, lb_id["id"], without=active),
            seconds=180,
        )
        new = next(iter(set(now) - set(before)))
        _wait(
            "the load balancer to become ACTIVE",
            lambda: _settled(stage.named("loadbalancers", LOAD_BALANCER)),
            seconds=60,
        )
        stage.narrator.say(
            f"its replacement {new} is up, {time.monotonic() - killed:.1f} s after the kill;"
            f" meanwhile the longest silence was {probe.silence(taken_over):.2f} s"
        )


def _pair(stage: Stage, load_balancer_id: str, without: str | None = None) -> list[str] | None:
    """The ids of exactly two amphorae that are ALLOCATED, or None so far."""
    found = stage.get("/v2.0/octavia/amphorae", loadbalancer_id=load_balancer_id)["amphorae"]
    ids = sorted(str(one["id"]) for one in found if one["status"] == "ALLOCATED")
    return ids if len(ids) == 2 and without not in ids else None


def _settled(lb: dict[str, Any] | None) -> dict[str, Any] | None:
    if lb is not None and lb["provisioning_status"] == "ERROR":
        raise Refusal(
            f"load balancer {lb['name']} is in ERROR: 'octavia-standalone why {lb['name']}' says why."
        )
    return lb if lb is not None and lb["provisioning_status"] == "ACTIVE" else None


def _serves(vip: str) -> bool:
    try:
        asyncio.run(asyncio.wait_for(fetch(vip, 80), timeout=1))
    except (OSError, ValueError):
        return False
    return True


def _wait(what: str, ask: Callable[[], _T | None], *, seconds: float) -> _T:
    """Ask until the answer is true.

    :raises Refusal: it never was.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Refusal(
                f"waited {seconds:g} s for {what} in vain: see 'octavia-standalone why {LOAD_BALANCER}'."
            )
        time.sleep(0.1)
