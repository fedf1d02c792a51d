# SPDX-License-Identifier: Apache-2.0
"""The words of HAProxy's runtime socket: commands, what its answers mean, its tables.

Sockets are not here: the amphora agent owns them. Answers are those of HAProxy 2.4 to 3.0
(management guide, section 9.3); they are the only interface that it offers.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from octavia.dataplane.haproxy.model import HaproxyConfig
from octavia.dataplane.haproxy.server import ServerKey, all_servers

SHOW_INFO: Final = "show info"
SHOW_SERVERS_STATE: Final = "show servers state"
SHOW_LISTENERS: Final = "show stat -1 1 -1"
SHOW_POOLS: Final = "show stat -1 6 -1"
SHOW_ALL: Final = "show stat -1 -1 -1"

_UNSPECIFIED: Final = "0.0.0.0"  # noqa: S104  # nobody listens here


class Verdict(Enum):
    """What an answer means for whoever sent the command."""

    DONE = "done"
    BUSY = "busy"  # not yet: the same command will succeed later
    FAILED = "failed"  # reload instead


@dataclass(frozen=True, slots=True)
class Command:
    """One line for the socket.

    :param payload: lines that follow it; they may be secret, so the command is shown without them.
    :param done: a pattern that the whole of a good answer matches.
    :param busy: a pattern of the answer that asks for patience; None if there is none.
    """

    text: str
    done: str = ""
    busy: str | None = None
    payload: str = field(default="", repr=False)

    def verdict(self, answer: str) -> Verdict:
        """What HAProxy's answer to this command means."""
        said = answer.strip()
        if re.fullmatch(self.done, said):
            return Verdict.DONE
        if self.busy is not None and re.match(self.busy, said):
            return Verdict.BUSY
        return Verdict.FAILED


def add_server(key: ServerKey, endpoint: str, words: Iterable[str]) -> Command:
    """Make a server; it begins in maintenance, its health checks off."""
    # A server added at runtime does not get the default of -1 and would never keep a
    # connection for reuse (HAProxy 2.6: `show servers conn`, idle_lim 0).
    pool = ("pool-max-conn", "-1", "pool-purge-delay", "5s")
    return Command(
        " ".join(("add server", str(key), endpoint, *words, *pool)), done=r"New server registered\."
    )


def enable_health(key: ServerKey) -> Command:
    """Begin checking a server that was added with a check."""
    return Command(f"enable health {key}")


def set_state(key: ServerKey, *, ready: bool) -> Command:
    """In or out of maintenance. Maintenance ends no session; it only takes no new one."""
    return Command(f"set server {key} state {'ready' if ready else 'maint'}")


def set_weight(key: ServerKey, weight: int) -> Command:
    """0 to 256; 0 drains."""
    return Command(f"set server {key} weight {weight}")


def set_address(key: ServerKey, address: str, port: int) -> Command:
    """Where the next connection goes; present ones stay."""
    return Command(
        f"set server {key} addr {address} port {port}",
        done=r"(IP changed from|no need to change the addr).* by 'stats socket command'",
    )


def set_check(key: ServerKey, address: str | None, port: int | None) -> Command:
    """Whom the health check asks; None: as in a file that does not say, the server's own.

    An unspecified address and port 0 are how HAProxy itself keeps what is not said.
    """
    return Command(f"set server {key} check-addr {address or _UNSPECIFIED} port {port or 0}")


def compute_cookies(backend: str) -> Command:
    """Give servers added at runtime their cookie; those of the others do not change."""
    return Command(f"enable dynamic-cookie backend {backend}")


def delete_server(key: ServerKey) -> Command:
    """Forget a server in maintenance; busy as long as it has a session. Absent is a success."""
    return Command(
        f"del server {key}",
        done=r"Server deleted\.|No such server\.|No such backend\.",
        busy=r"Server still has connections attached",
    )


def shut_sessions(key: ServerKey) -> Command:
    """End what is left on a server whose time is up. Absent is a success."""
    return Command(f"shutdown sessions server {key}", done=r"(No such (server|backend)\.)?")


def expect_pattern(acl_id: int, value: str) -> Command:
    """Changes nothing; fails unless the value is all that this condition compares with."""
    listed = re.escape(f" {value}".rstrip())
    return Command(f"show acl #{acl_id}", done=f"0x[0-9a-f]+{listed}")


def add_pattern(acl_id: int, value: str) -> Command:
    """One more value that the condition matches. Fails where HAProxy's start would, for the same reason."""
    return Command(f"add acl #{acl_id} {_escaped(value)}")


def delete_pattern(acl_id: int, value: str) -> Command:
    """One value less. One that begins with ``#`` is taken for an address of HAProxy's and not found."""
    return Command(f"del acl #{acl_id} {_escaped(value)}")


def _escaped(word: str) -> str:
    """Any text without control characters as one word: a backslash takes the meaning of what follows.

    Separators, semicolons and the ``<<`` of a payload among it (management guide, section 9.3).
    """
    return re.sub(r"(?=[\x20-\x7e])[^A-Za-z0-9]", r"\\\g<0>", word)


def new_tls_file(kind: str, path: str) -> Command:
    """A file that HAProxy has not loaded; it is empty until something is set and committed.

    :param kind: ``cert``, ``ca-file`` or ``crl-file``, like below.
    """
    return Command(f"new ssl {kind} {path}", done=r"New .*!")


def set_tls_file(kind: str, path: str, content: str) -> Command:
    """What :func:`commit_tls_file` will make live; until then nothing changes."""
    payload = "".join(f"{line}\n" for line in content.splitlines() if line.strip())
    done = r"[Tt]ransaction (created|updated) for (certificate|CA|CRL) .*!"
    return Command(f"set ssl {kind} {path}", done=done, payload=payload)


def commit_tls_file(kind: str, path: str) -> Command:
    """New connections get what was set, wherever the file is used; present ones stay."""
    return Command(f"commit ssl {kind} {path}", done=r"(?s)Committing .*Success!")


def add_to_crt_list(crt_list: str, path: str) -> Command:
    """One certificate more, for the names that are in it."""
    return Command(f"add ssl crt-list {crt_list} {path}", done=r"(?s)Inserting certificate .*Success!")


def remove_from_crt_list(crt_list: str, path: str) -> Command:
    """One certificate less."""
    return Command(f"del ssl crt-list {crt_list} {path}", done=r"Entry .* deleted in crtlist .*!")


def forget_certificate(path: str) -> Command:
    """Free a certificate that is used nowhere; one that still is stays until the next reload."""
    return Command(f"del ssl cert {path}", done=r"(?s).*")


# --- tables -----------------------------------------------------------------------------------


class RowType(Enum):
    """What a row of ``show stat`` is about."""

    LISTENER = "0"  # frontend
    POOL = "1"  # backend
    MEMBER = "2"  # server
    SOCKET = "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """One row of ``show stat``, the columns that we read; counters since HAProxy started.

    :param session_limit: of current sessions; None where there is none.
    """

    proxy: str
    server: str
    type: RowType
    status: str
    weight: int
    cookie: str
    current_sessions: int
    session_limit: int | None
    total_sessions: int
    bytes_in: int
    bytes_out: int
    request_errors: int


_READ: Final = frozenset(
    {
        *("pxname", "svname", "type", "status", "weight", "cookie"),
        *("scur", "slim", "stot", "bin", "bout", "ereq"),
    }
)


def parse_stat(text: str) -> list[Stat]:
    """The rows of ``show stat``.

    :raises ValueError: it is no such table.
    """
    if not text.startswith("# "):
        raise ValueError(f"HAProxy's answer is no table: {text[:80]!r}")
    columns, *rows = csv.reader(text[2:].splitlines())
    read = [(name, at) for at, name in enumerate(columns) if name in _READ]  # of about a hundred
    try:
        return [_stat({name: row[at] for name, at in read}) for row in rows if len(row) >= len(columns)]
    except KeyError as error:
        raise ValueError(f"HAProxy's table has no column {error}") from error


def _stat(row: Mapping[str, str]) -> Stat:
    return Stat(
        proxy=row["pxname"],
        server=row["svname"],
        type=RowType(row["type"]),
        status=row["status"],
        weight=int(row["weight"] or 0),
        cookie=row.get("cookie") or "",
        current_sessions=int(row["scur"] or 0),
        session_limit=int(limit) if (limit := row.get("slim")) else None,
        total_sessions=int(row["stot"] or 0),
        bytes_in=int(row["bin"] or 0),
        bytes_out=int(row["bout"] or 0),
        request_errors=int(row["ereq"] or 0),
    )


def parse_info(text: str) -> dict[str, str]:
    """``show info`` as a mapping, like ``{"Version": "2.6.12", "Uptime_sec": "12"}``."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


@dataclass(frozen=True, slots=True)
class ServersState:
    """``show servers state``: its version, the names of its columns, its rows.

    :param rows: each maps a column to its word.
    """

    version: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]

    def text(self) -> str:
        """As HAProxy reads it from its server-state-file."""
        table = (" ".join(row[column] for column in self.columns) for row in self.rows)
        return "\n".join((self.version, "# " + " ".join(self.columns), *table)) + "\n"


def parse_servers_state(text: str) -> ServersState:
    """The table that ``show servers state`` prints.

    :raises ValueError: it is none, or of a version that is not 1.
    """
    read = [line for line in text.splitlines() if line.strip()]
    if len(read) < 2 or read[0].strip() != "1" or not read[1].startswith("# "):
        raise ValueError(f"HAProxy's answer is no state of servers: {text[:80]!r}")
    columns = tuple(read[1][2:].split())
    rows = (line.split() for line in read[2:])
    return ServersState("1", columns, tuple(dict(zip(columns, row, strict=True)) for row in rows))


_MAINTENANCE_OR_DRAIN: Final = 0x01 | 0x02 | 0x08 | 0x10 | 0x20 | 0x40

_NO_TARGETS_OF_CHECKS: Final = {
    "srv_check_port": "0",
    "srv_check_addr": "-",
    "srv_agent_addr": "-",
    "srv_agent_port": "0",
}


def state_for_reload(state: str, wanted: HaproxyConfig) -> str:
    """What the server-state-file should say, given what the running process says.

    The file exists so that a reload remembers who is up. But HAProxy restores from it everything
    that the runtime socket was ever told, and prefers that to its configuration: a weight set at
    runtime would outlive a reload that changes it, and a member disabled at runtime would stay so
    for ever. So only health survives, and only of servers that stay what they are; all else comes
    from the wanted configuration.

    :param state: what ``show servers state`` answered.
    :raises ValueError: that is no such table, or a wanted server cannot be compared.
    """
    servers, table, rows = all_servers(wanted), parse_servers_state(state), []
    for row in table.rows:
        server = servers.get(ServerKey(row["be_name"], row["srv_name"]))
        if server is None or server.disabled or int(row["srv_admin_state"]) & _MAINTENANCE_OR_DRAIN:
            continue
        if (row["srv_addr"], row["srv_port"]) != (server.address, str(server.port)):
            continue
        weight = str(server.weight)
        configured = {"srv_uweight": weight, "srv_iweight": weight, "srv_admin_state": "0"}
        known = {name: word for name, word in _NO_TARGETS_OF_CHECKS.items() if name in row}
        rows.append({**row, **configured, **known})
    return ServersState(table.version, table.columns, tuple(rows)).text()
