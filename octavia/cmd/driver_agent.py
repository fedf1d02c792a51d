# SPDX-License-Identifier: Apache-2.0
"""``octavia-driver-agent``: where third-party providers report, and their agents.

To run on each host that serves the API: the providers' drivers look for its sockets there.
"""

import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import Any, Final

from oslo_config import cfg
from stevedore import exception, extension
from stevedore.driver import DriverManager

from octavia.cmd import daemon
from octavia.cmd.parts import reload
from octavia.cmd.wiring import Wiring
from octavia.config import service_auth
from octavia.domain.errors import Terminal
from octavia.driver_agent import sockets
from octavia.driver_agent.processes import CANNOT_START, Part, Run, Signals, keep_running
from octavia.driver_agent.sockets import Listener, Place
from octavia.providers.updates import Updates

_AGENTS: Final = "octavia.driver_agent.provider_agents"
_KINDS: Final = ("status", "stats", "get")
_DRAIN_S: Final = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    # Drivers read and complete the global configuration.
    return daemon.main("octavia-driver-agent", _run, argv, conf=cfg.CONF)


def _run(conf: cfg.ConfigOpts) -> int:
    service_auth.register(conf)  # which drivers read
    options = conf.driver_agent
    places = {kind: _place(options, kind) for kind in _KINDS}
    timeout_s = float(options.provider_agent_shutdown_timeout)
    agents = [
        (f"octavia-driver-agent - provider_agent -- {name}", _provider_agent(name))
        for name in options.enabled_provider_agents
    ]
    bound: dict[str, socket] = {}
    signals = Signals()
    try:
        for kind, place in places.items():
            bound[kind] = sockets.bind(place.path)
        listeners = Part(
            "octavia-driver-agent - listeners", _listen(conf, places, bound), _DRAIN_S, reloads=True
        )
        return keep_running(
            signals, listeners, [Part(name, _without(bound, run), timeout_s) for name, run in agents]
        )
    finally:
        for kind in bound:
            sockets.remove(places[kind].path)


def _place(options: Any, kind: str) -> Place:
    return Place(
        path=Path(options[f"{kind}_socket_path"]),
        request_timeout_s=float(options[f"{kind}_request_timeout"]),
        at_once=max(1, options[f"{kind}_max_processes"]),
    )


def _listen(conf: cfg.ConfigOpts, places: Mapping[str, Place], bound: Mapping[str, socket]) -> Run:
    """Answer what comes to the three sockets, which are bound already: nothing is lost when this crashes."""

    def run(exit_event: Any) -> None:
        signal.signal(signal.SIGHUP, lambda _number, _frame: reload(conf))
        wiring = Wiring(conf)
        try:
            updates = Updates(wiring.database, wiring.network, wiring.clock, wiring.tenant_certificates)
        except Terminal as why:
            print(f"octavia-driver-agent: {why}", file=sys.stderr)
            sys.exit(CANNOT_START)
        answers: dict[str, Callable[[Any], dict[str, Any]]] = {
            "status": updates.statuses,
            "stats": updates.statistics,
            "get": updates.get,
        }
        stop = threading.Event()
        threads = []
        for kind, answer in answers.items():
            listener = Listener(f"{kind}_listener", bound[kind], places[kind], answer)
            threads.append(threading.Thread(target=listener.run, args=(stop,), name=f"{kind}_listener"))
            threads[-1].start()
        exit_event.wait()
        stop.set()
        for thread in threads:
            thread.join()

    return run


def _without(bound: Mapping[str, socket], run: Run) -> Run:
    """It is not the provider agents that listen: who outlives us must not look as if somebody did."""

    def alone(exit_event: Any) -> object:
        for listening in bound.values():
            listening.close()
        return run(exit_event)

    return alone


def _provider_agent(name: str) -> Run:
    """What somebody else's distribution calls by that name.

    :raises Terminal: there is no such agent, or it cannot be loaded.
    """
    what = f"[driver_agent] enabled_provider_agents: {name}"
    try:
        found: Any = DriverManager(_AGENTS, name, on_load_failure_callback=_raise)
    except exception.NoMatches:
        known = ", ".join(sorted(extension.ExtensionManager(_AGENTS).entry_points_names())) or "none"
        raise Terminal(f"{what}: there is no such agent here. There are: {known}.") from None
    except Exception as error:  # whatever its module raises
        raise Terminal(f"{what} cannot be loaded: {error}.") from error
    run: Run = found.driver
    return run


def _raise(_manager: object, _entry_point: object, error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main())
