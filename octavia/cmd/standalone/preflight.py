# SPDX-License-Identifier: Apache-2.0
"""What this machine must offer, asked before anything is changed."""

import os
import re
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from typing import Final

from oslo_config import cfg

from octavia.cmd.standalone.errors import Refusal

_PROGRAMS: Final = {
    "haproxy": "HAProxy",
    "keepalived": "keepalived",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ping": "ping",
    "rsyslogd": "rsyslog",
}
_IP_FREEBIND: Final = 15  # <linux/in.h>; the socket module has no name for it


def use_system_programs() -> None:
    """HAProxy and keepalived live where PATH of an ordinary user does not look."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def require_package() -> None:
    """:raises Refusal: the package was installed without what standalone needs."""
    if find_spec("pyroute2") is None:
        raise Refusal("pyroute2 is missing: install with \"pip install 'octavia[standalone]'\".")


def require_root() -> None:
    """:raises Refusal: not Linux, or not root."""
    if not sys.platform.startswith("linux"):
        raise Refusal("amphorae are Linux namespaces: run this on Linux, for instance in a VM.")
    if os.geteuid() != 0:
        raise Refusal("network namespaces need root: run it again with sudo.")


def require_programs() -> str:
    """What was found, for people.

    :raises Refusal: a program is missing.
    """
    missing = [title for program, title in _PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise Refusal(
            f"{', '.join(missing)} missing: install with your distribution's package manager"
            " (Debian, Ubuntu: apt-get install haproxy keepalived iproute2 nftables conntrack iputils-ping"
            " rsyslog)."
        )
    return f"HAProxy {_version('haproxy', '-v')}, keepalived {_version('keepalived', '-v')}"


def _version(program: str, flag: str) -> str:
    said = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    found = re.search(r"v(?:ersion )?(\d+(?:\.\d+)+)", said.stdout + said.stderr)
    return found.group(1) if found else "of an unknown version"


def require_namespaces() -> None:
    """:raises Refusal: the kernel, or the container around us, forbids them."""
    attempt = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if attempt.returncode != 0:
        raise Refusal(
            f"this machine forbids network namespaces ({attempt.stderr.strip()}):"
            " use a VM, or a container started with --privileged."
        )


def require_free_ports(conf: cfg.ConfigOpts) -> None:
    """:raises Refusal: another program listens where the API or the health manager should."""
    api = conf.api_settings
    if not _can_bind(api.bind_host, api.bind_port, socket.SOCK_STREAM):
        raise Refusal(
            f"port {api.bind_port} of {api.bind_host} is taken: end the program that listens there"
            f" ('ss -ltnp' names it) or set [api_settings] bind_port in {_file(conf)}."
        )
    heartbeats = conf.health_manager
    if not _can_bind(heartbeats.bind_ip, heartbeats.bind_port, socket.SOCK_DGRAM):
        raise Refusal(
            f"UDP port {heartbeats.bind_port} of {heartbeats.bind_ip} is taken: end the program that listens"
            f" there ('ss -lunp' names it) or set [health_manager] bind_port in {_file(conf)}."
        )


def _can_bind(host: str, port: int, kind: socket.SocketKind) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as attempt:
        if kind == socket.SOCK_STREAM:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The management network's address is not there before the first start.
        attempt.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True


def _file(conf: cfg.ConfigOpts) -> str:
    return f"{conf.standalone.state_dir}/octavia.conf"
