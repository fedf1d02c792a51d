# SPDX-License-Identifier: Apache-2.0
"""The ``server`` directives of a configuration as values that can be compared.

What to do about a difference is not here: see :mod:`octavia.dataplane.haproxy.diff`.
"""

import functools
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from octavia.dataplane.haproxy.model import HaproxyConfig, Section

# Keywords of a server line that we write, and how many words follow each. Anything else is
# another controller's: it is understood well enough to be left as it is, not to be changed.
KEYWORDS: Final = {
    "addr": 1,
    "alpn": 1,
    "backup": 0,
    "ca-file": 1,
    "check": 0,
    "check-alpn": 1,
    "check-ssl": 0,
    "ciphers": 1,
    "ciphersuites": 1,
    "cookie": 1,
    "crl-file": 1,
    "crt": 1,
    "disabled": 0,
    "fall": 1,
    "id": 1,
    "inter": 1,
    "no-sslv3": 0,
    "no-tlsv10": 0,
    "no-tlsv11": 0,
    "no-tlsv12": 0,
    "no-tlsv13": 0,
    "port": 1,
    "rise": 1,
    "send-proxy": 0,
    "send-proxy-v2": 0,
    "send-proxy-v2-ssl-cn": 0,
    "sni": 1,
    "ssl": 0,
    "verify": 1,
    "weight": 1,
}
# HAProxy's runtime socket splits commands at semicolons and unescapes backslashes.
_CLI_WORD = re.compile(r"[A-Za-z0-9_.:/@+%=,!\[\]-]+")


class Unreadable(ValueError):
    """A server that cannot be compared; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class ServerKey:
    """Where a server is; ``str`` is how HAProxy's runtime socket calls it."""

    backend: str
    server: str

    def __str__(self) -> str:
        """``backend/server``."""
        return f"{self.backend}/{self.server}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of one backend.

    :param settings: every other keyword with its values, sorted: their order means nothing.
    """

    key: ServerKey
    address: str
    port: int
    weight: int = 1
    disabled: bool = False
    check_address: str | None = None
    check_port: int | None = None
    settings: tuple[tuple[str, ...], ...] = ()

    def has(self, keyword: str) -> bool:
        """Is the keyword on the line?"""
        return any(setting[0] == keyword for setting in self.settings)


@functools.lru_cache(maxsize=4096)  # of two texts to be compared, nearly all lines are the same
def read_server(backend: str, words: tuple[str, ...]) -> Server:
    """A ``server`` line of a backend.

    :raises Unreadable: a keyword we do not write, a name to be resolved, a word the runtime
        socket could not be told.
    """
    if len(words) < 3:
        raise Unreadable(f"a server of backend {backend} has no address")
    key = ServerKey(backend, words[1])
    for word in (backend, *words[1:]):
        if not _CLI_WORD.fullmatch(word):
            raise Unreadable(f"server {key} has the word {word!r}, which cannot be said at runtime")
    settings = _settings(key, words[3:])
    address, port = _endpoint(key, words[2])
    known = {setting[0]: setting[-1] for setting in settings}
    return Server(
        key=key,
        address=address,
        port=port,
        weight=_number(key, known.get("weight", "1")),
        disabled="disabled" in known,
        check_address=known.get("addr"),
        check_port=_number(key, known["port"]) if "port" in known else None,
        settings=tuple(
            sorted(one for one in settings if one[0] not in ("weight", "disabled", "addr", "port"))
        ),
    )


def remember_lines(most: int) -> None:
    """Forget those that were read, if they are more: most belong to members that are gone.

    They would stay in memory, each in a corner of its own, and little of what is freed between them could be
    given back to the system.
    """
    if read_server.cache_info().currsize > most:
        read_server.cache_clear()


def servers_of(section: Section) -> dict[str, Server]:
    """The servers of a backend by name, in the order of the file.

    :raises Unreadable: one cannot be compared, or two have one name.
    """
    servers: dict[str, Server] = {}
    for directive in section.directives:
        if directive.words[0] == "server":
            server = read_server(section.name, directive.words)
            if server.key.server in servers:
                raise Unreadable(f"server {server.key} is there twice")
            servers[server.key.server] = server
    return servers


def all_servers(config: HaproxyConfig) -> dict[ServerKey, Server]:
    """Every server of every backend.

    :raises Unreadable: one cannot be compared.
    """
    return {
        server.key: server
        for section in config.sections
        if section.keyword == "backend"
        for server in servers_of(section).values()
    }


def _settings(key: ServerKey, words: tuple[str, ...]) -> list[tuple[str, ...]]:
    settings: list[tuple[str, ...]] = []
    at = 0
    while at < len(words):
        arguments = KEYWORDS.get(words[at])
        if arguments is None or at + arguments >= len(words):
            raise Unreadable(f"server {key} uses '{words[at]}', which is not ours")
        settings.append(words[at : at + 1 + arguments])
        at += 1 + arguments
    if len({one[0] for one in settings}) != len(settings):
        raise Unreadable(f"server {key} has a keyword twice")
    return settings


def _endpoint(key: ServerKey, word: str) -> tuple[str, int]:
    host, _, port = word.rpartition(":")
    try:
        return str(ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError as error:
        raise Unreadable(f"server {key} has the address {word!r}, which is not IP:port") from error


def _number(key: ServerKey, word: str) -> int:
    if not word.isascii() or not word.isdigit():
        raise Unreadable(f"server {key} has {word!r} where a number belongs")
    return int(word)
