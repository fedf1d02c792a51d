# SPDX-License-Identifier: Apache-2.0
"""A load balancer as the configuration of HAProxy (contract: data-plane.md sections 1 to 6).

Pure: values in, text out. Listeners that something else serves, or that a later part of the house
will render, are left out: UDP and SCTP (keepalived's LVS), and PROMETHEUS. What L7 policies say is in
:mod:`octavia.dataplane.haproxy.l7`, what makes TLS in :mod:`octavia.dataplane.haproxy.tls`. Delivering
the text is not here: see the amphora agent.

The shapes that agents parse again are in amphora-agent.md section 7. Where this text differs from
the usual one, on purpose:

* The stats socket is mode 0600 and level ``admin``: changes at runtime need it, and only root asks.
* ``balance source`` hashes consistently and HTTP cookies are computed by HAProxy from address and
  port: only so can servers be added at runtime (HAProxy refuses ``cookie`` on those, up to 3.0).
* Servers have fixed numbers, see :func:`octavia.dataplane.haproxy.values.server_ids`.
* A single amphora with a stick table is its own peer, so that a reload keeps the table.
* A TLS-HELLO monitor makes a real TLS handshake.
* The cache of TLS sessions has HAProxy's own size: one that follows the amphora's free memory would be
  another size, and so a reload, with every change.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from octavia.dataplane.haproxy import l7, tls, values
from octavia.dataplane.haproxy.model import Directive, HaproxyConfig, Section, UnsafeWord, lines, serialize
from octavia.dataplane.haproxy.peer import PEER_PORT, peer_name
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.haproxy.values import Unrenderable
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import (
    Algorithm,
    Amphora,
    HealthMonitor,
    L7Action,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Resource,
    Topology,
)

SERVED: Final = frozenset({Protocol.HTTP, Protocol.HTTPS, Protocol.TCP, Protocol.TERMINATED_HTTPS})
MAX_CONNECTIONS: Final = 1_000_000

_HTTP: Final = frozenset({Protocol.HTTP, Protocol.TERMINATED_HTTPS})
_PROXY: Final = {Protocol.PROXY: "send-proxy", Protocol.PROXYV2: "send-proxy-v2"}
_TLS_HEADERS: Final = {
    "X-SSL-Client-Verify": "%[ssl_c_verify]",
    "X-SSL-Client-Has-Cert": "%[ssl_c_used]",
    "X-SSL-Client-DN": "%{+Q}[ssl_c_s_dn]",
    "X-SSL-Client-CN": "%{+Q}[ssl_c_s_dn(cn)]",
    "X-SSL-Issuer": "%{+Q}[ssl_c_i_dn]",
    "X-SSL-Client-SHA1": "%[ssl_c_sha1,hex]",
    "X-SSL-Client-Not-Before": "%[ssl_c_notbefore]",
    "X-SSL-Client-Not-After": "%[ssl_c_notafter]",
}
_BALANCE: Final = {
    Algorithm.ROUND_ROBIN: "roundrobin",
    Algorithm.LEAST_CONNECTIONS: "leastconn",
    Algorithm.SOURCE_IP: "source",
}
_GONE: Final = frozenset({ProvisioningStatus.PENDING_DELETE, ProvisioningStatus.DELETED})
_MONITORED_BY_HTTP: Final = frozenset({MonitorType.HTTP, MonitorType.HTTPS})
_MONITORED_OVER_TLS: Final = frozenset({MonitorType.HTTPS, MonitorType.TLS_HELLO})
_MONITORS: Final = _MONITORED_BY_HTTP | _MONITORED_OVER_TLS | {MonitorType.TCP, MonitorType.PING}
# Only an HTTP proxy knows a request: elsewhere HAProxy would refuse the format.
_HTTP_ONLY_TOKENS = re.compile(r"%\{\+Q\}r|%r|%\{\+Q\}ST|%ST")
_AT_LINE = re.compile(r"\[[^\]\s]*:(\d+)\]")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What an amphora's HAProxy should run.

    :param owners: for each line of the text the id of the object that it is there for.
    :param refused: objects that could not be rendered and are left out, with the reason.
    :param secret_files: the files that it names and that are made of secrets.
    :param crt_lists: the texts of the other files that it names, by their names.
    """

    config: HaproxyConfig
    text: str
    owners: tuple[str | None, ...]
    refused: dict[str, str] = field(default_factory=dict)
    secret_files: tuple[tls.SecretFile, ...] = ()
    crt_lists: dict[str, str] = field(default_factory=dict)

    def owner_of(self, line: int) -> str | None:
        """The object that a 1-based line is there for; None for what belongs to all."""
        return self.owners[line - 1] if 1 <= line <= len(self.owners) else None

    def blame(self, output: str) -> str | None:
        """The object that HAProxy's complaint is about, if it names one by line or by name.

        :param output: what ``haproxy -c`` printed.
        """
        complaints = [one for one in output.splitlines() if "[ALERT]" in one] or output.splitlines()
        for complaint in complaints:
            for line in _AT_LINE.findall(complaint):
                if owner := self.owner_of(int(line)):
                    return owner
        known = {owner for owner in self.owners if owner}
        for complaint in complaints:
            # The last name is the most particular one: a server stands after its backend.
            for name in reversed(_UUID.findall(complaint)):
                if name in known:
                    return str(name)
        return None


def render(
    lb: LoadBalancer,
    amphorae: Sequence[Amphora],
    settings: HaproxySettings,
    *,
    amphora_id: str,
    haproxy_version: str,
    excluded: frozenset[str] = frozenset(),
) -> Rendered | None:
    """The configuration of one amphora's HAProxy; None when it has nothing to run.

    :param amphorae: of this load balancer; those with an address become each other's peers.
    :param amphora_id: for whom this is; it is always among its own peers.
    :param haproxy_version: as the agent says it; the first two numbers count.
    :param excluded: ids of listeners, pools, members and monitors to leave out.
    :raises ValueError: the version is none.
    """
    rendering = _Rendering(lb, amphorae, settings, amphora_id, values.version(haproxy_version), excluded)
    if lb.provisioning_status in _GONE or not rendering.listeners():
        return None
    config = HaproxyConfig(tuple(rendering.sections()))
    owners = tuple(owner for _, owner in lines(config))
    return Rendered(
        config,
        serialize(config),
        owners,
        rendering.refused,
        tuple(rendering.secret_files),
        rendering.crt_lists,
    )


def backend_name(pool: Pool, listener: Listener) -> str:
    """What the backend of a pool is called, for one of the listeners that use it."""
    return f"{pool.id}:{listener.id}"


def _mode(listener: Listener) -> str:
    return "http" if listener.protocol in _HTTP else "tcp"


def _pool_mode(pool: Pool, listener: Listener) -> str:
    if pool.protocol in _PROXY:
        return _mode(listener)
    return "http" if pool.protocol == Protocol.HTTP else "tcp"


def _wants_header(listener: Listener, header: str) -> bool:
    return str(listener.insert_headers.get(header, "")).lower() == "true"


@dataclass(slots=True)
class _Rendering:
    """One call of :func:`render`: its arguments, and who was refused."""

    lb: LoadBalancer
    amphorae: Sequence[Amphora]
    settings: HaproxySettings
    amphora_id: str
    version: tuple[int, int]
    excluded: frozenset[str]
    refused: dict[str, str] = field(default_factory=dict)
    secret_files: dict[tls.SecretFile, None] = field(default_factory=dict)  # in their order, each once
    crt_lists: dict[str, str] = field(default_factory=dict)

    @property
    def certificates(self) -> str:
        """The directory of this load balancer's certificates, in the amphora."""
        return f"{self.settings.base_cert_dir}/{self.lb.id}"

    # --- what is to be rendered ---------------------------------------------------------------

    def wanted(self, resource: Resource) -> bool:
        gone = resource.leaving or resource.provisioning_status in _GONE
        return resource.id not in self.excluded and not gone

    def listeners(self) -> list[Listener]:
        return [one for one in self.lb.listeners if self.wanted(one) and one.protocol in SERVED]

    def enabled_listeners(self) -> list[Listener]:
        return [one for one in self.listeners() if one.admin_state_up and self.lb.admin_state_up]

    def pools(self, listener: Listener) -> list[Pool]:
        return [one for one in self.lb.pools_used_by(listener) if self.wanted(one) and one.admin_state_up]

    def monitor(self, pool: Pool) -> HealthMonitor | None:
        """The pool's monitor, if it is one that is served, enabled and in order."""
        monitor = pool.health_monitor
        if monitor is None or not monitor.admin_state_up or not self.wanted(monitor):
            return None
        if monitor.type not in _MONITORS or monitor.id in self.refused:
            return None
        return monitor

    # --- sections -----------------------------------------------------------------------------

    def sections(self) -> Iterator[Section]:
        proxies = list(self.proxies())  # first, because what is refused changes what is global
        enabled = [one for one in self.enabled_listeners() if one.id not in self.refused]
        yield self.global_section(enabled, proxies)
        yield self.defaults_section()
        if self.has_peers():
            yield self.peers_section()
        yield from proxies

    def global_section(self, enabled: Sequence[Listener], proxies: Sequence[Section]) -> Section:
        settings, base = self.settings, f"{self.settings.base_path}/{self.lb.id}"
        rows: list[tuple[str, ...]] = []
        if settings.user:
            rows.append(("user", settings.user))
        if settings.log_socket:
            rows.append(("log", settings.log_socket, f"local{settings.user_log_facility}"))
            facility = f"local{settings.administrative_log_facility}"
            rows.append(("log", settings.log_socket, facility, "notice"))
        rows.append(
            ("stats", "socket", f"{base}.sock", "mode", "0600", "level", "admin", "expose-fd", "listeners")
        )
        rows.append(("server-state-file", f"{base}/servers-state"))
        total = sum(self.connection_limit(listener) for listener in enabled)
        if self.version >= (2, 1):
            # Where fewer file descriptors are to be had, fewer connections beat not starting.
            rows.append(("no", "strict-limits"))
        rows.append(("maxconn", str(total if 0 < total < MAX_CONNECTIONS else MAX_CONNECTIONS)))
        if any(row.words == ("option", "external-check") for one in proxies for row in one.directives):
            rows.append(("external-check",))
            if self.version >= (2, 2):
                rows.append(("insecure-fork-wanted",))
        return Section(("global",), tuple(map(Directive, rows)))

    def defaults_section(self) -> Section:
        options = ("redispatch", "splice-request", "splice-response", "http-keep-alive")
        rows: list[tuple[str, ...]] = [("log", "global") if self.settings.logs_connections else ("no", "log")]
        rows.append(("retries", "3"))
        rows.extend(("option", option) for option in options)
        return Section(("defaults",), tuple(map(Directive, rows)))

    @property
    def peers_name(self) -> str:
        return f"{self.lb.id.replace('-', '')}_peers"

    def peers(self) -> list[Amphora]:
        """Sorted by id, so that the same pair always makes the same text."""
        return sorted((one for one in self.amphorae if one.is_peer), key=lambda one: one.id)

    def has_peers(self) -> bool:
        """A pair always has; a single amphora talks to itself across a reload, if it has a table."""
        if self.lb.topology == Topology.ACTIVE_STANDBY:
            return bool(self.peers())
        has_own = any(one.id == self.amphora_id for one in self.peers())
        return has_own and any(
            self.has_stick_table(pool, listener)
            for listener in self.enabled_listeners()
            for pool in self.pools(listener)
        )

    def peers_section(self) -> Section:
        rows = []
        for one in self.peers():
            if self.lb.topology == Topology.ACTIVE_STANDBY or one.id == self.amphora_id:
                rows.append(Directive(("peer", peer_name(one.id), f"{one.vrrp_ip}:{PEER_PORT}")))
        return Section(("peers", self.peers_name), tuple(rows))

    def proxies(self) -> Iterator[Section]:
        for listener in self.enabled_listeners():
            backends = [made for pool in self.pools(listener) if (made := self.backend(pool, listener))]
            try:
                frontend = self.frontend(listener, backends)
            except (Unrenderable, UnsafeWord) as error:
                self.refused[listener.id] = str(error)
                continue
            yield frontend
            yield from backends
            used = {one.owner for one in backends if any(row.words[0] == "server" for row in one.directives)}
            for pool in self.pools(listener):
                if pool.id in used:
                    self.secret_files.update(dict.fromkeys(tls.files_of_pool(pool)))
            if listener.protocol is Protocol.TERMINATED_HTTPS:
                self.secret_files.update(dict.fromkeys(tls.files_of_listener(listener)))
                self.crt_lists[tls.crt_list_name(listener)] = tls.crt_list(listener, self.certificates)

    # --- frontend -----------------------------------------------------------------------------

    def connection_limit(self, listener: Listener) -> int:
        limit = listener.connection_limit
        return limit if limit and limit > 0 else self.settings.default_connection_limit

    def frontend(self, listener: Listener, backends: Sequence[Section]) -> Section:
        client_ms = listener.timeout_client_data or self.settings.timeout_client_data_ms
        inspect_ms = listener.timeout_tcp_inspect or self.settings.timeout_tcp_inspect_ms
        rows: list[tuple[str, ...]] = []
        if self.settings.logs_connections:
            rows.append(("log-format", self.log_format(listener)))
        rows.append(("maxconn", str(self.connection_limit(listener))))
        secured: list[str] = []
        if listener.protocol is Protocol.TERMINATED_HTTPS:
            tls.crt_list(listener, self.certificates)  # or there is none
            secured = tls.bind_words(listener, self.certificates, self.settings.default_listener_ciphers)
        for vip in self.lb.vip_addresses:
            rows.append(("bind", values.endpoint(vip, listener.protocol_port, "VIP"), *secured))
        rows.append(("mode", _mode(listener)))
        if secured:
            rows.extend(self.https_rows(listener))
        policies = self.policy_rows(listener, [one.name for one in backends])
        default = f"{listener.default_pool_id}:{listener.id}"
        rows.extend(("default_backend", one.name) for one in backends if one.name == default)
        rows.append(("timeout", "client", str(client_ms)))
        if inspect_ms:
            rows.append(("tcp-request", "inspect-delay", str(inspect_ms)))
        made = _section(("frontend", listener.id), listener.id, rows)
        return Section(made.words, (*made.directives, *policies), owner=made.owner)

    def https_rows(self, listener: Listener) -> Iterator[tuple[str, ...]]:
        yield ("http-request", "redirect", "scheme", "https", "unless", "{", "ssl_fc", "}")
        if listener.hsts_max_age is not None:
            value = f"max-age={values.count(listener.hsts_max_age, 0, 2**31 - 1, 'HSTS age')};"
            value += " includeSubDomains;" if listener.hsts_include_subdomains else ""
            value += " preload;" if listener.hsts_preload else ""
            # From 2.2 on the answers that HAProxy makes itself can have it too.
            when = "http-after-response" if self.version >= (2, 2) else "http-response"
            yield (when, "set-header", "Strict-Transport-Security", value)

    def policy_rows(self, listener: Listener, backends: Sequence[str]) -> tuple[Directive, ...]:
        """Conditions first, then what follows from them in the order in which HAProxy asks anyway."""
        if _mode(listener) != "http":
            return ()
        conditions: list[Directive] = []
        consequences: list[tuple[int, Directive]] = []
        for policy in listener.l7_policies:
            if not self.wanted(policy):
                continue
            try:
                made = self.policy(policy, listener, backends)
            except (Unrenderable, UnsafeWord) as error:
                self.refused[policy.id] = str(error)
                continue
            if made:
                conditions += made.conditions
                consequences.append((made.turn, made.consequence))
        return (*conditions, *(one for _, one in sorted(consequences, key=lambda pair: pair[0])))

    def policy(self, policy: L7Policy, listener: Listener, backends: Sequence[str]) -> l7.Rendered | None:
        """One policy; None if it can match nothing, or leads to a pool that is switched off.

        :raises Unrenderable: it cannot be told without one of its rules, or without its pool.
        """
        rules = [one for one in policy.rules if one.admin_state_up and not one.leaving]
        if not policy.admin_state_up or not rules:
            return None
        for rule in rules:
            # Without one of its conditions it would match more than it is meant to.
            if rule.id in self.excluded or not self.told(rule):
                raise Unrenderable(f"Its rule {rule.id} cannot be given to HAProxy; change that.")
        backend = None
        if policy.action is L7Action.REDIRECT_TO_POOL:
            pool = self.lb.pool(policy.redirect_pool_id)
            if pool is None or not pool.admin_state_up:
                return None
            backend = backend_name(pool, listener)
            if backend not in backends:
                raise Unrenderable(f"Its pool {pool.id} cannot be given to HAProxy; change that.")
        return l7.render(policy, rules, backend)

    def told(self, rule: L7Rule) -> bool:
        """Can the rule be rendered? If not, it is among the refused now."""
        try:
            l7.condition(rule)
        except (Unrenderable, UnsafeWord) as error:
            self.refused[rule.id] = str(error)
            return False
        return True

    def log_format(self, listener: Listener) -> str:
        text = self.settings.user_log_format
        if _mode(listener) != "http":
            text = _HTTP_ONLY_TOKENS.sub("-", text)
        # Keystone's project ids are not ours: whatever they are, they stay plain text here.
        project = values.log_format_literal(self.lb.project_id or "-")
        return text.replace("{{ project_id }}", project).replace("{{ lb_id }}", self.lb.id)

    # --- backend ------------------------------------------------------------------------------

    def backend(self, pool: Pool, listener: Listener) -> Section | None:
        """One pool as one listener uses it; None if the pool cannot be rendered."""
        name = backend_name(pool, listener)
        try:
            pooled = _section(("backend", name), pool.id, self.pool_rows(pool, listener))
            check = self.monitor_rows(pool)
            headers = _directives(self.header_rows(pool, listener), listener.id)
            limits = _directives(self.limit_rows(listener), listener.id)
        except (Unrenderable, UnsafeWord) as error:
            self.refused[pool.id] = str(error)
            return None
        servers = tuple(self.servers(pool, listener))
        return Section(
            pooled.words, (*pooled.directives, *check, *headers, *limits, *servers), owner=pooled.owner
        )

    def pool_rows(self, pool: Pool, listener: Listener) -> Iterator[tuple[str, ...]]:
        mode = _pool_mode(pool, listener)
        yield ("mode", mode)
        if mode == "http":
            yield ("http-reuse", "safe")
        algorithm = _BALANCE.get(pool.lb_algorithm, "roundrobin")
        yield ("balance", algorithm)
        if algorithm == "source":
            yield ("hash-type", "consistent")
        yield from self.persistence_rows(pool, listener)
        yield ("option", "allbackups")

    def has_stick_table(self, pool: Pool, listener: Listener) -> bool:
        persistence = pool.session_persistence
        if persistence is None:
            return False
        by_cookie = persistence.type == PersistenceType.APP_COOKIE
        return persistence.type == PersistenceType.SOURCE_IP or (
            by_cookie and _pool_mode(pool, listener) == "http"
        )

    def persistence_rows(self, pool: Pool, listener: Listener) -> Iterator[tuple[str, ...]]:
        persistence = pool.session_persistence
        if persistence is None:
            return
        size = ("size", values.stick_size(self.settings.stick_size))
        peers = ("peers", self.peers_name) if self.has_peers() else ()
        if persistence.type == PersistenceType.SOURCE_IP:
            yield ("stick-table", "type", "ipv6", *size, *peers)
            yield ("stick", "on", "src")
        elif _pool_mode(pool, listener) != "http":
            return  # there are no cookies in a stream of bytes
        elif persistence.type == PersistenceType.APP_COOKIE:
            cookie = values.cookie_name(persistence.cookie_name)
            yield ("stick-table", "type", "string", "len", "64", *size, *peers)
            yield ("stick", "store-response", f"res.cook({cookie})")
            yield ("stick", "match", f"req.cook({cookie})")
        else:
            yield ("cookie", "SRV", "insert", "indirect", "nocache", "dynamic")
            # The same on every amphora of the load balancer. It hides the addresses of members
            # from their clients, who do not know the pool's id.
            yield ("dynamic-cookie-key", pool.id)

    def monitor_rows(self, pool: Pool) -> tuple[Directive, ...]:
        """What the monitor adds to the backend; a monitor that cannot be rendered is as absent."""
        monitor = self.monitor(pool)
        if monitor is None:
            return ()
        try:
            self.check_words(monitor, pool)
            return _directives(self.check_rows(monitor), monitor.id)
        except (Unrenderable, UnsafeWord) as error:
            self.refused[monitor.id] = str(error)
            return ()

    def check_rows(self, monitor: HealthMonitor) -> Iterator[tuple[str, ...]]:
        yield ("timeout", "check", values.seconds(monitor.timeout, "timeout"))
        yield ("load-server-state-from-file", "global")
        if monitor.type in _MONITORED_BY_HTTP:
            yield from self.http_check_rows(monitor)
        elif monitor.type == MonitorType.PING:
            yield ("option", "external-check")
            yield ("external-check", "command", self.settings.ping_command)

    def http_check_rows(self, monitor: HealthMonitor) -> Iterator[tuple[str, ...]]:
        method = values.http_method(monitor.http_method or "GET")
        path = values.url_path(monitor.url_path or "/")
        http_version = (f"HTTP/{monitor.http_version:.1f}",) if monitor.http_version else ()
        yield ("option", "httpchk", method, path, *http_version)
        # Before 2.2 the header could only be smuggled in behind the version, with a line end.
        if monitor.domain_name and monitor.http_version == 1.1 and self.version >= (2, 2):
            host = values.log_format_literal(values.host_name(monitor.domain_name))
            yield ("http-check", "send", "hdr", "Host", host)
        yield ("http-check", "expect", "rstatus", values.status_pattern(monitor.expected_codes or "200"))

    def header_rows(self, pool: Pool, listener: Listener) -> Iterator[tuple[str, ...]]:
        if _mode(listener) != "http" or _pool_mode(pool, listener) != "http":
            return
        if pool.protocol == Protocol.HTTP and _wants_header(listener, "X-Forwarded-For"):
            yield ("option", "forwardfor")
        if pool.protocol == Protocol.HTTP and _wants_header(listener, "X-Forwarded-Port"):
            yield ("http-request", "set-header", "X-Forwarded-Port", "%[dst_port]")
        if _wants_header(listener, "X-Forwarded-Proto"):
            scheme = "http" if listener.protocol == Protocol.HTTP else "https"
            yield ("http-request", "set-header", "X-Forwarded-Proto", scheme)
        if listener.protocol is Protocol.TERMINATED_HTTPS:
            for header, value in _TLS_HEADERS.items():
                if _wants_header(listener, header):
                    yield ("http-request", "set-header", header, value)

    def limit_rows(self, listener: Listener) -> Iterator[tuple[str, ...]]:
        connect_ms = listener.timeout_member_connect or self.settings.timeout_member_connect_ms
        server_ms = listener.timeout_member_data or self.settings.timeout_member_data_ms
        yield ("fullconn", str(self.connection_limit(listener)))
        yield ("timeout", "connect", str(connect_ms))
        yield ("timeout", "server", str(server_ms))

    # --- servers ------------------------------------------------------------------------------

    def servers(self, pool: Pool, listener: Listener) -> Iterator[Directive]:
        numbers = values.server_ids(member.id for member in pool.members)
        for member in pool.members:
            if not self.wanted(member):
                continue
            try:
                words = self.server_words(member, pool, listener)
                yield Directive((*words, "id", str(numbers[member.id])), owner=member.id)
            except (Unrenderable, UnsafeWord) as error:
                self.refused[member.id] = str(error)

    def server_words(self, member: Member, pool: Pool, listener: Listener) -> tuple[str, ...]:
        words = ["server", member.id, values.endpoint(member.address, member.protocol_port, "member")]
        words += ["weight", values.count(member.weight, 0, 256, "weight")]
        if monitor := self.monitor(pool):
            words += self.check_words(monitor, pool)
            if member.monitor_address is not None:
                words += ["addr", values.bracketed(member.monitor_address, "monitor address")]
            if member.monitor_port is not None:
                words += ["port", values.port(member.monitor_port, "monitor port")]
        if member.backup:
            words.append("backup")
        if not member.admin_state_up:
            words.append("disabled")
        if pool.protocol is Protocol.PROXYV2 and listener.protocol is Protocol.TERMINATED_HTTPS:
            words.append("send-proxy-v2-ssl-cn")
        elif pool.protocol in _PROXY:
            words.append(_PROXY[pool.protocol])
        words += tls.server_words(pool, self.certificates, self.settings.default_pool_ciphers)
        return tuple(words)

    def check_words(self, monitor: HealthMonitor, pool: Pool) -> list[str]:
        words = ["check", "inter", values.seconds(monitor.delay, "delay")]
        words += ["rise", values.count(monitor.max_retries, 1, 10000, "number of retries")]
        words += ["fall", values.count(monitor.max_retries_down, 1, 10000, "number of retries down")]
        if monitor.type in _MONITORED_OVER_TLS:
            words.append("check-ssl")
            # There is one "verify" for checks and traffic: of a pool that speaks TLS it is the pool's.
            words += [] if pool.tls_enabled else ["verify", "none"]
        return words + tls.check_words(pool)


def _directives(rows: Iterable[tuple[str, ...]], owner: str) -> tuple[Directive, ...]:
    return tuple(Directive(row, owner) for row in rows)


def _section(words: tuple[str, ...], owner: str, rows: Iterable[tuple[str, ...]]) -> Section:
    return Section(words, _directives(rows, owner), owner=owner)
