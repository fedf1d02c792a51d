# SPDX-License-Identifier: Apache-2.0
"""``amphora-agent --config-file FILE``: the agent of one amphora; PID 1 where there is no systemd.

It must listen soon after the amphora has come up, so the namespace is made while the rest is imported.
"""

import argparse
import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from octavia.amphora_agent import config as configuration
from octavia.amphora_agent import netns, output
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.syslog import SyslogHandler

if TYPE_CHECKING:
    from octavia.amphora_agent.agent import MakeSupervisor
    from octavia.amphora_agent.config import AgentConfig

DEFAULT_CONFIG_FILE = Path("/etc/octavia/amphora-agent.conf")
LOG = logging.getLogger("octavia.amphora_agent")


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    parser = argparse.ArgumentParser(prog="amphora-agent", description="The agent inside an amphora.")
    parser.add_argument("--config-file", type=Path, default=DEFAULT_CONFIG_FILE)
    config_file: Path = parser.parse_args().config_file
    try:
        config = configuration.load(config_file)
    except configuration.BadConfiguration as error:
        print(f"amphora-agent: {error}", file=sys.stderr)
        return 2
    _log(config)
    processes = Processes()
    if os.getpid() == 1:
        processes.bury_orphans()
    beginning = netns.begin(processes)

    # Imports that take a tenth of a second, beside the kernel making the namespace.
    from octavia.amphora_agent.agent import Agent  # noqa: PLC0415
    from octavia.amphora_agent.handlers import application  # noqa: PLC0415
    from octavia.amphora_agent.server import AgentServer, MutualTls  # noqa: PLC0415

    try:
        netns.finish(processes, beginning)
    except netns.NamespaceMissing as error:
        print(f"amphora-agent: {error}", file=sys.stderr)
        return 1
    agent = Agent(config, config_file, processes, _make_supervisor(config))
    tls = MutualTls(config.agent_server_cert, config.agent_server_ca)
    host, timeout = config.bind_host, config.agent_request_read_timeout
    server = AgentServer(host, config.bind_port, application(agent), tls, timeout)
    _end_on_signals(agent.end)
    agent.begin()
    gc.freeze()  # the imports stay: the collector need not look through them in the middle of a change
    server.safe_start()
    return 0


def _make_supervisor(config: "AgentConfig") -> "MakeSupervisor":
    if config.supervisor == "children":
        from octavia.amphora_agent.children import ChildSupervisor  # noqa: PLC0415

        return ChildSupervisor
    from octavia.amphora_agent.systemd import SystemdSupervisor  # noqa: PLC0415

    return SystemdSupervisor


def _end_on_signals(end: "object") -> None:
    """SIGTERM and SIGINT end the agent; what it does last runs in a thread of its own.

    A signal handler runs in the middle of whatever the main thread does, locks included.
    """

    def last_things() -> None:
        try:
            assert callable(end)
            end()
        finally:
            os._exit(0)

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        LOG.info("Ending on %s", signal.Signals(number).name)
        threading.Thread(target=last_things, name="end").start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _log(config: "AgentConfig") -> None:
    handlers: list[logging.Handler] = [output.handler()]
    if config.use_syslog:
        handlers.append(SyslogHandler(config.administrative_log_facility))
    logging.basicConfig(
        level=logging.DEBUG if config.debug else logging.INFO,
        format="%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        handlers=handlers,
    )


if __name__ == "__main__":
    sys.exit(main())
