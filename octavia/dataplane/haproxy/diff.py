# SPDX-License-Identifier: Apache-2.0
"""The gentlest way from the configuration that runs to the one that is wanted.

Commands for HAProxy's runtime socket where they lead to the same state as a reload would;
otherwise a reload, with the reason. Whoever applies the commands

* rewrites the file in step, because a reload forgets what the socket was told,
* sends each command of each change in order and asks :meth:`Command.verdict` about each answer;
  anything but DONE means: reload with the wanted file,
* repeats ``deferred`` of a :class:`RemoveServer` while its verdict is BUSY, and at a limit of its
  own choice sends ``at_limit`` first; a reload, or the server being wanted again, ends that.

Applying is not here: see the amphora agent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from octavia.dataplane.haproxy import patterns, runtime
from octavia.dataplane.haproxy.model import HaproxyConfig, Section
from octavia.dataplane.haproxy.parse import ParseError, parse
from octavia.dataplane.haproxy.patterns import SetPattern
from octavia.dataplane.haproxy.reload import Cause, OnlyReload, Reload
from octavia.dataplane.haproxy.runtime import Command
from octavia.dataplane.haproxy.server import Server, ServerKey, Unreadable, remember_lines, servers_of

# With others HAProxy neither adds servers nor changes weights at runtime (management guide,
# "add server" and "set weight").
_DYNAMIC_ALGORITHMS: Final = frozenset({"roundrobin", "leastconn", "random"})
_REMEMBERED: Final = 3  # times what is served
_CAUSES: Final = {"frontend": Cause.LISTENER, "backend": Cause.POOL}
_LESS: Final = {"frontend": "the values of its rules", "backend": "its servers"}
# These tie a backend to its servers in ways that only HAProxy's start works out.
_BINDING_DIRECTIVES: Final = frozenset({"default-server", "server-template", "use-server"})


@dataclass(frozen=True, slots=True)
class AddServer:
    """A new server, checked and taking traffic from its first moment, unless it is disabled."""

    server: Server
    dynamic_cookie: bool = False

    @property
    def commands(self) -> tuple[Command, ...]:
        """Cookie and checks first: it must not take traffic without them."""
        server = self.server
        words = ["weight", str(server.weight)]
        words += [word for setting in server.settings for word in setting]
        words += ["addr", server.check_address] if server.check_address else []
        words += ["port", str(server.check_port)] if server.check_port else []
        words += ["disabled"] if server.disabled else []
        endpoint = f"{server.address}:{server.port}"
        commands = [runtime.add_server(server.key, endpoint, words)]
        if self.dynamic_cookie:
            commands.append(runtime.compute_cookies(server.key.backend))
        if server.has("check"):
            commands.append(runtime.enable_health(server.key))
        if not server.disabled:
            commands.append(runtime.set_state(server.key, ready=True))
        return tuple(commands)


@dataclass(frozen=True, slots=True)
class SetWeight:
    """A share of new sessions; 0 drains."""

    key: ServerKey
    weight: int

    @property
    def commands(self) -> tuple[Command, ...]:
        """One."""
        return (runtime.set_weight(self.key, self.weight),)


@dataclass(frozen=True, slots=True)
class SetState:
    """Disabled or enabled."""

    key: ServerKey
    ready: bool

    @property
    def commands(self) -> tuple[Command, ...]:
        """One."""
        return (runtime.set_state(self.key, ready=self.ready),)


@dataclass(frozen=True, slots=True)
class SetAddress:
    """Where new connections go."""

    key: ServerKey
    address: str
    port: int

    @property
    def commands(self) -> tuple[Command, ...]:
        """One."""
        return (runtime.set_address(self.key, self.address, self.port),)


@dataclass(frozen=True, slots=True)
class SetCheck:
    """Whom health checks ask."""

    key: ServerKey
    address: str | None
    port: int | None

    @property
    def commands(self) -> tuple[Command, ...]:
        """One; whichever of the two is None is the server's own."""
        return (runtime.set_check(self.key, self.address, self.port),)


@dataclass(frozen=True, slots=True)
class RemoveServer:
    """No new connection from now on; present sessions end when they end."""

    key: ServerKey

    @property
    def commands(self) -> tuple[Command, ...]:
        """At once: once they are done, the removal is live."""
        return (runtime.set_state(self.key, ready=False),)

    @property
    def deferred(self) -> Command:
        """To be repeated while it answers BUSY."""
        return runtime.delete_server(self.key)

    @property
    def at_limit(self) -> Command:
        """Before ``deferred``, once patience has ended."""
        return runtime.shut_sessions(self.key)


RuntimeChange = AddServer | SetWeight | SetState | SetAddress | SetCheck | RemoveServer | SetPattern


def change(
    running: str, wanted: str, *, pending: Mapping[ServerKey, Server] | None = None
) -> Reload | list[RuntimeChange]:
    """What leads the running process to the state that a reload of ``wanted`` would give it.

    :param running: the text that the process runs, runtime changes included.
    :param pending: servers removed at runtime that HAProxy has not deleted yet, as they were.
    :returns: changes in the order in which to apply them: capacity is added before it is taken.
    """
    try:
        return list(_changes(parse(running), parse(wanted), pending or {}))
    except (ParseError, Unreadable) as reason:
        return Reload(Cause.UNREADABLE, str(reason))
    except OnlyReload as difference:
        return difference.reload


def removed(changes: list[RuntimeChange], running: str) -> dict[ServerKey, Server]:
    """What those changes leave pending: for the next call of :func:`change`.

    :param running: the same text that :func:`change` was given.
    """
    keys = {one.key for one in changes if isinstance(one, RemoveServer)}
    backends = (section for section in parse(running).sections if section.keyword == "backend")
    servers = (server for section in backends for server in servers_of(section).values())
    return {server.key: server for server in servers if server.key in keys}


def _changes(
    old: HaproxyConfig, new: HaproxyConfig, pending: Mapping[ServerKey, Server]
) -> Iterator[RuntimeChange]:
    remember_lines(_REMEMBERED * sum(len(one.directives) for one in new.sections))
    _require_same_frame(old, new)
    changes: list[RuntimeChange] = []
    for before, after in zip(old.sections, new.sections, strict=True):
        if after.keyword == "frontend":
            changes.extend(patterns.changes(before, after))
        elif before != after or any(key.backend == after.name for key in pending):
            changes.extend(_backend_changes(before, after, pending))
    if any(isinstance(one, AddServer | RemoveServer) for one in changes):
        for section in new.sections:
            if section.keyword == "defaults":
                _require_no_bindings(section)
    yield from sorted(changes, key=_order)


def _order(one: RuntimeChange) -> int:
    """Capacity in, then adjustments, then capacity out."""
    if isinstance(one, AddServer) or (isinstance(one, SetState) and one.ready):
        return 0
    return 2 if isinstance(one, RemoveServer | SetState) else 1


def _require_same_frame(old: HaproxyConfig, new: HaproxyConfig) -> None:
    """Everything but the servers of backends and the values of rules must be equal."""
    before, after = [one.words for one in old.sections], [one.words for one in new.sections]
    if before != after:
        differing = [words for words in after if words not in before] or [
            words for words in before if words not in after
        ]
        what = " ".join(differing[0]) if differing else "the order of sections"
        cause = _CAUSES.get(differing[0][0], Cause.PROCESS) if differing else Cause.PROCESS
        raise OnlyReload(cause, f"{what} is new, gone or moved")
    for one, other in zip(old.sections, new.sections, strict=True):
        if one != other and _frame(one) != _frame(other) and not _only_loses_peers(one, other):
            less = _LESS.get(one.keyword)
            how = f"differs in more than {less}" if less else "differs"
            raise OnlyReload(_CAUSES.get(one.keyword, Cause.PROCESS), f"{' '.join(one.words)} {how}")


def _only_loses_peers(old: Section, new: Section) -> bool:
    """Nobody is left to answer under those names, so that the process may go on calling them.

    A reload under traffic is not free: requests that arrive while the new process still learns the tables
    of the old one can tie their clients to other members.
    """
    return old.keyword == "peers" and set(new.directives) <= set(old.directives)


def _frame(section: Section) -> tuple[tuple[str, ...], ...]:
    """What can only change by a reload."""
    if section.keyword == "backend":
        return tuple(one.words for one in section.directives if one.words[0] != "server")
    return patterns.without_values(section)


def _backend_changes(
    old: Section, new: Section, pending: Mapping[ServerKey, Server]
) -> Iterator[RuntimeChange]:
    before, after = servers_of(old), servers_of(new)
    for server in after.values():
        present = before.get(server.key.server)
        if present is None and (gone := pending.get(server.key)):
            # Still there, in maintenance: what it was is brought back, not added again.
            present = replace(gone, disabled=True)
        if present is None:
            yield _add(new, server)
        else:
            yield from _server_changes(new, present, server)
    for server in before.values():
        if server.key.server not in after:
            _require_no_bindings(new)
            yield RemoveServer(server.key)


def _add(section: Section, server: Server) -> AddServer:
    _require_no_bindings(section)
    _require_dynamic_balance(section)
    if server.has("cookie"):
        raise OnlyReload(
            Cause.MEMBER, f"server {server.key} has a fixed cookie, which HAProxy takes only at its start"
        )
    if server.has("check") and _has(section, ("option", "external-check")):
        # HAProxy 2.6 dies of it: the check's environment is made at its start only.
        raise OnlyReload(
            Cause.MEMBER, f"server {server.key} is checked by a program, which HAProxy sets up at its start"
        )
    cookie = any(one.words[0] == "cookie" and "dynamic" in one.words for one in section.directives)
    return AddServer(server, dynamic_cookie=cookie)


def _server_changes(section: Section, old: Server, new: Server) -> Iterator[RuntimeChange]:
    if old.settings != new.settings:
        raise OnlyReload(Cause.MEMBER, f"server {new.key} differs in what HAProxy takes only at its start")
    if (old.check_address, old.check_port) != (new.check_address, new.check_port):
        yield _set_check(new)
    if (old.address, old.port) != (new.address, new.port):
        _require_no_reuse(section, new)
        yield SetAddress(new.key, new.address, new.port)
    if old.weight != new.weight:
        _require_dynamic_balance(section)
        yield SetWeight(new.key, new.weight)
    if old.disabled != new.disabled:
        yield SetState(new.key, ready=not new.disabled)


def _require_no_reuse(section: Section, server: Server) -> None:
    # HAProxy drops idle connections to the old address, but uses those again that were busy at that moment:
    # as long as there is load, requests would go there.
    if not _has(section, ("mode", "tcp")):
        raise OnlyReload(
            Cause.MEMBER,
            f"HAProxy would keep using its connections to the old address of server {server.key}",
        )


def _set_check(new: Server) -> SetCheck:
    # A check with a target of its own sends no PROXY header unless told to (configuration manual,
    # "check-send-proxy").
    if any(new.has(one) for one in ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn")):
        raise OnlyReload(
            Cause.MEMBER, f"the health check of server {new.key} changes whether it sends a PROXY header"
        )
    if new.has("ssl"):
        # The same holds for TLS, unless it was asked for by name.
        raise OnlyReload(Cause.MEMBER, f"the health check of server {new.key} changes whether it speaks TLS")
    return SetCheck(new.key, new.check_address, new.check_port)


def _has(section: Section, words: tuple[str, ...]) -> bool:
    return any(one.words == words for one in section.directives)


def _require_no_bindings(section: Section) -> None:
    for directive in section.directives:
        if directive.words[0] in _BINDING_DIRECTIVES:
            raise OnlyReload(Cause.POOL, f"backend {section.name} uses '{directive.words[0]}'")


def _require_dynamic_balance(section: Section) -> None:
    balance = [one.words[1] for one in section.directives if one.words[0] == "balance" and one.words[1:]]
    consistent = any(one.words[:2] == ("hash-type", "consistent") for one in section.directives)
    if not balance or not (balance[-1] in _DYNAMIC_ALGORITHMS or consistent):
        raise OnlyReload(
            Cause.POOL, f"backend {section.name} balances by an algorithm fixed at HAProxy's start"
        )
