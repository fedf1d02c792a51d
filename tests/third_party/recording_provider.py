# SPDX-License-Identifier: Apache-2.0
"""A third party's drivers, installed for the tests: they record what they are told."""

from collections.abc import Callable
from typing import Any

from octavia_lib.api.drivers import exceptions
from octavia_lib.api.drivers.provider_base import ProviderDriver

CALLS: list[tuple[str, tuple[Any, ...]]] = []
"""Every call but for questions of capabilities."""
ANSWERS: dict[str, Callable[..., Any]] = {}
"""Method to what it does then: return something, raise something."""

_METHODS = ["loadbalancer_failover", "member_batch_update", "create_vip_port"]
_METHODS += [
    f"{noun}_{verb}"
    for noun in ("loadbalancer", "listener", "pool", "member", "health_monitor", "l7policy", "l7rule")
    for verb in ("create", "update", "delete")
]


def _method(name: str) -> Callable[..., Any]:
    def call(_self: "Recording", *arguments: Any, **named: Any) -> Any:
        CALLS.append((name, (*arguments, *named.values())))
        if name in ANSWERS:
            return ANSWERS[name](*arguments)
        if name == "create_vip_port":
            raise exceptions.NotImplementedError
        return None

    return call


class Recording(ProviderDriver):  # type: ignore[misc]
    """Accepts everything, and reports nothing by itself."""

    def get_supported_flavor_metadata(self) -> dict[str, str]:
        return {"size": "How large."}

    def validate_flavor(self, flavor_metadata: dict[str, Any]) -> None:
        if set(flavor_metadata) - {"size"}:
            raise exceptions.UnsupportedOptionError(user_fault_string="only size", operator_fault_string="x")


for _name in _METHODS:
    setattr(Recording, _name, _method(_name))


class Mute(ProviderDriver):  # type: ignore[misc]
    """Has none of the calls."""


class Broken:
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("the back end is not there")
