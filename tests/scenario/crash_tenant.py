# SPDX-License-Identifier: Apache-2.0
"""A tenant who remembers what was promised: every answer of 2xx, and every answer that was lost.

What a load balancer may look like is a set of possibilities: one after an answer, the old and the new one
after a lost answer. Looking whether it does is not here: see :mod:`tests.scenario.crash_invariants`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx

from tests.scenario.standalone import BACKEND_SUBNET, SUBNET, Machine, member, populated

PORTS: Final = {8081: SUBNET, 8082: SUBNET, 8083: BACKEND_SUBNET}
"""Where web servers listen, and on which subnet they are members. The last is not the VIP's."""
MONITOR: Final = {"type": "TCP", "delay": 5, "timeout": 4, "max_retries": 3}

Members = Mapping[int, int]
"""Weight by port."""


@dataclass(frozen=True)
class Form:
    """What a load balancer looks like; ``None`` in place of one is its absence."""

    members: Members

    def with_member(self, port: int, weight: int) -> "Form":
        return replace(self, members={**self.members, port: weight})

    def without_member(self, port: int) -> "Form":
        return replace(self, members={one: self.members[one] for one in self.members if one != port})


@dataclass
class Account:
    """One load balancer, as far as the tenant knows.

    :ivar forms: what it may look like.
    :ivar id: None until the tenant has heard it.
    :ivar replaced: amphorae that a failover was asked to replace.
    :ivar perhaps_replaced: amphorae of a failover whose answer was lost.
    """

    name: str
    forms: list[Form | None] = field(default_factory=lambda: [None])
    id: str | None = None
    replaced: frozenset[str] = frozenset()
    perhaps_replaced: frozenset[str] = frozenset()

    @property
    def form(self) -> Form | None:
        """What it looks like, if there is no doubt."""
        assert len(self.forms) == 1, f"{self.name}: not known which of {self.forms}"
        return self.forms[0]


def amphorae_of(machine: Machine, load_balancer_id: str) -> list[str]:
    """The ids of a load balancer's amphorae."""
    found = machine.client.get("/v2.0/octavia/amphorae", params={"loadbalancer_id": load_balancer_id})
    return [one["id"] for one in found.json()["amphorae"]]


def is_leaving(shown: Mapping[str, Any]) -> bool:
    """Has its deletion been promised?"""
    return bool(shown["provisioning_status"] == "PENDING_DELETE")


class Tenant:
    """Sends requests and keeps the accounts."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._made = 0
        self.accounts: dict[str, Account] = {}

    def create(self, members: Members) -> Account:
        """A new load balancer with a listener, a pool, a monitor and members in one request."""
        self._made += 1
        account = self.accounts[f"lb-{self._made}"] = Account(f"lb-{self._made}")
        bodies = [member(port, weight=weight, subnet=PORTS[port]) for port, weight in members.items()]
        body = populated(account.name, bodies, monitor=MONITOR)
        answer = self._write(account, lambda _: Form(dict(members)), "POST", "/loadbalancers", body)
        if answer:
            account.id = answer.json()["loadbalancer"]["id"]
        return account

    def forget_deleted(self) -> None:
        """Whatever is gone without a doubt; should it come back, it was never asked for."""
        self.accounts = {name: one for name, one in self.accounts.items() if one.forms != [None]}

    def delete(self, account: Account) -> None:
        self._write(account, lambda _: None, "DELETE", f"/loadbalancers/{account.id}?cascade=true")

    def fail_over(self, account: Account) -> None:
        """What it looks like stays the same; its amphorae do not."""
        present = frozenset(amphorae_of(self._machine, str(account.id)))
        # Of two lost answers it cannot be said which amphorae either of them meant.
        account.perhaps_replaced = present if not account.perhaps_replaced else frozenset()
        if self._write(account, lambda form: form, "PUT", f"/loadbalancers/{account.id}/failover"):
            account.replaced |= present
            account.perhaps_replaced = frozenset()

    def add_member(self, account: Account, port: int, weight: int = 1) -> None:
        pool_id = self._pool(account)
        body = {"member": member(port, weight=weight, subnet=PORTS[port])}
        self._write(
            account,
            lambda form: form and form.with_member(port, weight),
            *("POST", f"/pools/{pool_id}/members", body),
        )

    def remove_member(self, account: Account, port: int) -> None:
        path = self._member(account, port)
        self._write(account, lambda form: form and form.without_member(port), "DELETE", path)

    def weigh_member(self, account: Account, port: int, weight: int) -> None:
        path = self._member(account, port)
        body = {"member": {"weight": weight}}
        self._write(account, lambda form: form and form.with_member(port, weight), "PUT", path, body)

    def _write(
        self,
        account: Account,
        change: Callable[[Form | None], Form | None],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Response | None:
        """The answer, None if it was lost; the account has it either way."""
        wanted = [change(form) for form in account.forms]
        # In doubt from the moment that it is sent.
        account.forms = [*account.forms, *(one for one in wanted if one not in account.forms)]
        try:
            answer = self._machine.ask(method, path, body)
        except httpx.TransportError:
            return None
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        account.forms = wanted
        return answer

    def _pool(self, account: Account) -> str:
        (pool,) = self._machine.get(f"/pools?loadbalancer_id={account.id}")["pools"]
        return str(pool["id"])

    def _member(self, account: Account, port: int) -> str:
        pool_id = self._pool(account)
        members = self._machine.get(f"/pools/{pool_id}/members")["members"]
        (found,) = [one["id"] for one in members if one["protocol_port"] == port and not is_leaving(one)]
        return f"/pools/{pool_id}/members/{found}"
