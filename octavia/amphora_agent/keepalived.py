# SPDX-License-Identifier: Apache-2.0
"""The keepalived that settles with the peer who owns the VIP, and what tells it that HAProxy is down.

Two signals: the track file ``vrrp/haproxy_down``, written the moment HAProxy dies, and the check
script of REST 1.0 for configurations that use it (contract: amphora-agent.md section 10).
"""

import logging
import shlex
import signal
import sys
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from octavia.amphora_agent import durable, vrrp
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.supervisor import Service, Supervisor

LOG = logging.getLogger(__name__)

_CHECK_SCRIPT: Final = """\
#!/bin/bash
# Runs every check; keepalived counts this amphora as failed unless all of them exit with 0.
status=0
for check in {directory}/*; do
    [ -f "$check" ] || continue
    bash "$check"
    status=$((status + $?))
done
exit $status
"""


class Keepalived:
    """The VRRP keepalived of this amphora. Callers hold the agent's lock for everything that changes."""

    def __init__(self, config: AgentConfig, supervisor: Supervisor) -> None:
        directory = config.base_path / "vrrp"
        self.conf = directory / "octavia-keepalived.conf"
        self.haproxy_down = directory / "haproxy_down"
        self._check_script = directory / "check_script.sh"
        self._haproxy_check = directory / "check_scripts" / "haproxy_check_script.sh"
        self._applied: str | None = None
        self._supervisor = supervisor
        self.service = Service(
            name="octavia-keepalived",
            argv=(
                *(config.keepalived_cmd, "--dont-fork", "--vrrp", "--log-console"),
                *("--use-file", str(self.conf)),
                *("--pid", str(directory / "octavia-keepalived.pid")),
                *("--vrrp_pid", str(directory / "octavia-keepalived.vrrp.pid")),
            ),
            pid_file=directory / "octavia-keepalived.pid",
            reload_signal=signal.SIGHUP,
            notify_socket=directory / "octavia-keepalived.ntf",
            notifies=False,
            unit_options=("KillMode=process",),
            more_pid_files=(directory / "octavia-keepalived.vrrp.pid",),
        )

    @property
    def is_wanted(self) -> bool:
        """Does this amphora share its VIP with a peer?"""
        return self.conf.exists()

    @property
    def is_running(self) -> bool:
        """Is its process there?"""
        return self._supervisor.main_pid(self.service) is not None

    @property
    def pid(self) -> int | None:
        """Its process."""
        return self._supervisor.main_pid(self.service)

    def apply(self, text: str | None) -> bool:
        """Run this configuration; None stops it. True if something changed.

        :raises ServiceFailed: it does not come up.
        """
        if text is None:
            wanted = self.is_wanted
            self.stop()
            self.conf.unlink(missing_ok=True)
            self._applied = None
            return wanted
        if text == self._applied and self.is_running:
            return False
        self.upload(text)
        self.start()
        return True

    def upload(self, text: str) -> None:
        """Store a configuration for a later start or reload."""
        durable.write(self.conf, text, mode=0o644)

    def start(self) -> None:
        """Run what is stored; running already, it reads it anew. :raises ServiceFailed:"""
        text = self.conf.read_text(encoding="utf-8")
        if self.is_running:
            self._supervisor.reload(self.service)
        else:
            self._supervisor.start(self.service)
            vrrp.stand_back(text)
        self._applied = text

    def stop(self) -> None:
        """Let the peer take the VIP at once: keepalived says goodbye with priority 0."""
        self._supervisor.stop(self.service)
        self._applied = None

    def restore(self) -> None:
        """After a start of the agent or of the machine. :raises ServiceFailed:"""
        if self.is_wanted and not self._supervisor.adopt(self.service):
            self.start()

    def tell_haproxy_is_down(self, down: bool) -> None:
        """Write keepalived's track file; it watches the file, so this is immediate."""
        self.haproxy_down.parent.mkdir(parents=True, exist_ok=True)
        self.haproxy_down.write_text("1\n" if down else "0\n")

    def write_check_scripts(self, stats_sockets: Sequence[Path]) -> None:
        """Rewrite the check scripts for the HAProxies that should run."""
        directory = self._haproxy_check.parent
        durable.write(
            self._check_script, _CHECK_SCRIPT.format(directory=shlex.quote(str(directory))), mode=0o755
        )
        durable.write(self._haproxy_check, haproxy_check_script(stats_sockets), mode=0o755)

    def state(self, vip_addresses: Iterable[str]) -> str | None:
        """``MASTER``, ``BACKUP`` or ``FAULT``; None while no keepalived runs.

        Read from the kernel: who has the VIP's address is master, whatever anybody's log says.
        """
        pid = self.pid
        if pid is None:
            return None
        if self.haproxy_down.exists() and self.haproxy_down.read_text().strip() != "0":
            return "FAULT"
        try:
            held = local_addresses(Path(f"/proc/{pid}/net"))
        except OSError as error:
            LOG.debug("No VRRP state, keepalived is going away: %s", error)
            return None
        wanted = {str(ip_address(one)) for one in vip_addresses}
        return "MASTER" if wanted and wanted & held else "BACKUP"


def haproxy_check_script(stats_sockets: Sequence[Path]) -> str:
    """The check of HAProxy (contract: amphora-agent.md section 10)."""
    if not stats_sockets:
        # REST 1.0 has it fail here. Then a pair without listeners would sit in FAULT, and its first
        # listener would wait for two checks, ten seconds, before anybody owned the VIP.
        return "#!/bin/bash\n# There is nothing to serve, so nothing has failed.\nexit 0\n"
    # Run by path and without site-packages: it starts every few seconds.
    program = Path(__file__).parent.parent / "cmd" / "haproxy_vrrp_check.py"
    words = (sys.executable, "-S", "-E", str(program), *map(str, stats_sockets))
    return f"#!/bin/bash\n{' '.join(map(shlex.quote, words))}\nexit $?\n"


def local_addresses(proc_net: Path) -> set[str]:
    """Every address of a network namespace, as the kernel tells one of its processes."""
    found = set()
    previous = ""
    for line in (proc_net / "fib_trie").read_text().splitlines():
        stripped = line.strip()
        if stripped.startswith("/32 host LOCAL"):
            found.add(previous)
        elif stripped.startswith("|-- "):
            previous = stripped.removeprefix("|-- ")
    if (if_inet6 := proc_net / "if_inet6").exists():
        for line in if_inet6.read_text().splitlines():
            found.add(str(ip_address(bytes.fromhex(line.split()[0]))))
    return found
