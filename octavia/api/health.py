# SPDX-License-Identifier: Apache-2.0
"""What ``/healthcheck`` looks at, and whom it tells (contract: api.md section 1.4).

The back ends are oslo.middleware's, under its names, and the probe of the database. Answering is not here:
see :mod:`octavia.api.handlers.health_check`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from octavia.domain.errors import Terminal

DATABASE: Final = "octavia_db_check"
_PROXY_HEADERS: Final = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Names are the options' of octavia.conf's section ``[healthcheck]``.

    :param disable_by_file_paths: port of the server to a file that must not exist.
    """

    backends: tuple[str, ...] = (DATABASE,)
    detailed: bool = False
    allowed_source_ranges: tuple[IPv4Network | IPv6Network, ...] = ()
    ignore_proxied_requests: bool = False
    disable_by_file_path: Path | None = None
    disable_by_file_paths: tuple[tuple[str, Path], ...] = ()
    enable_by_file_paths: tuple[Path, ...] = ()

    def answers(self, environ: Mapping[str, Any]) -> bool:
        """Is this caller told anything?"""
        if self.ignore_proxied_requests and any(header in environ for header in _PROXY_HEADERS):
            return False
        if not self.allowed_source_ranges:
            return True
        try:
            caller = ip_address(str(environ.get("REMOTE_ADDR", "")))
        except ValueError:
            return False  # such as a Unix socket
        return any(caller in one for one in self.allowed_source_ranges)

    def trouble(self, environ: Mapping[str, Any], database_answers: Callable[[], bool]) -> dict[str, str]:
        """Back ends that are not well, with why."""
        found = {name: self._trouble(name, environ, database_answers) for name in self.backends}
        return {name: why for name, why in found.items() if why}

    def _trouble(self, name: str, environ: Mapping[str, Any], database_answers: Callable[[], bool]) -> str:
        if name == DATABASE:
            return "" if database_answers() else "UNAVAILABLE"
        if name == "enable_by_files":
            return "" if all(file.exists() for file in self.enable_by_file_paths) else "FILE PATH MISSING"
        if name == "disable_by_file":
            files = [self.disable_by_file_path] if self.disable_by_file_path else []
        else:
            here = str(environ.get("SERVER_PORT", ""))
            files = [file for port, file in self.disable_by_file_paths if port == here]
        return "DISABLED BY FILE" if any(file.exists() for file in files) else ""


def from_config(conf: cfg.ConfigOpts) -> Health:
    """The section of a process's octavia.conf.

    :raises Terminal: a value cannot be understood; with which.
    """
    options = conf.healthcheck
    if {"enable_by_files", "disable_by_file"} <= set(options.backends):
        raise Terminal("[healthcheck] backends: enable_by_files and disable_by_file exclude each other.")
    path = options.disable_by_file_path
    return Health(
        backends=tuple(options.backends),
        detailed=options.detailed,
        allowed_source_ranges=tuple(_network(one) for one in options.allowed_source_ranges),
        ignore_proxied_requests=options.ignore_proxied_requests,
        disable_by_file_path=Path(path) if path else None,
        disable_by_file_paths=tuple(_port_and_path(one) for one in options.disable_by_file_paths),
        enable_by_file_paths=tuple(Path(one) for one in options.enable_by_file_paths),
    )


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as why:
        raise Terminal(f"[healthcheck] allowed_source_ranges: {why}.") from None


def _port_and_path(text: str) -> tuple[str, Path]:
    port, colon, path = text.partition(":")
    if not colon or not port.isdecimal() or not path:
        raise Terminal(f"[healthcheck] disable_by_file_paths: {text!r} is not port:path.")
    return port, Path(path)
