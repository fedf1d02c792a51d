# SPDX-License-Identifier: Apache-2.0
"""What an agent is killed amid: an operation, played over and over until it gets through undisturbed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.netns.agent_lab import eventually
from tests.netns.killed_world import GENEROUS, LB, Killed, World

MOST: Final = 150  # things that an operation may do; more is a loop


def config(world: World, *servers: str, lb: str = LB, port: int = 81, bind: str = "") -> str:
    lines = "".join(
        f"    server {name} 127.0.0.1:900{number} weight 1\n" for number, name in enumerate(servers)
    )
    return f"""\
global
    maxconn 100
    stats socket {world.base}/{lb}.sock mode 0600 level admin expose-fd listeners
    server-state-file {world.base}/{lb}/servers-state
defaults
    mode http
    timeout connect 1s
    timeout client 9s
    timeout server 9s
frontend untouched
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string untouched
frontend l
    bind 127.0.0.1:{port + 100}{bind}
    default_backend p:l
backend p:l
    balance roundrobin
{lines}"""


@dataclass
class Operation:
    """What is done over and over, and killed.

    :ivar before: makes the world as it is before; undisturbed.
    :ivar does: may be killed anywhere; done again, it succeeds.
    :ivar either: after a kill and a restart the world is as before or as after, and whole.
    :ivar after: what is true once it was done.
    """

    before: Callable[[], object]
    does: Callable[[], object]
    either: Callable[[], object]
    after: Callable[[], object]


def play(world: World, operation: Operation, stride: int | None = None) -> list[str]:
    """Kill it before its first thing, its second, …, until it gets through; where it died.

    :param stride: the kind's is 1 for all of them.
    """
    deaths: list[str] = []
    stride = stride or world.kind.stride
    with world.traffic():
        for number in range(1 + stride // 2, MOST, stride):
            operation.before()
            world.die_after(number)
            try:
                operation.does()
            except Killed:
                pass
            else:
                if not world.doing or world.left:
                    world.die_after(0)
                    operation.after()
                    return deaths
                # It died after it had answered.
            world.bury()
            deaths.append(world.doing)
            world.die_after(0)
            world.start()
            try:
                operation.either()
                world.is_whole()
                operation.does()
                operation.after()
                world.is_whole()
            except AssertionError as error:
                why = f"killed {number}th, before {deaths[-1]}\n{error}\n{world.log()}"
                raise AssertionError(why) from error
    raise AssertionError(f"it does not end: {deaths[-5:]}")


def runs(world: World, *wanted: str | None, lb: str = LB) -> None:
    """HAProxy runs one of these, and its file says so."""
    text = world.text(lb)
    assert text in wanted
    named = (
        None
        if text is None
        else {line.split()[1] for line in text.splitlines() if line.strip().startswith("server ")}
    )
    # Removed servers are there until their last session is over.
    assert eventually(lambda: world.servers(lb) == named, within=GENEROUS), (named, world.servers(lb))
