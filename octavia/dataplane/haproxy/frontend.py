# SPDX-License-Identifier: Apache-2.0
"""A listener as a ``frontend``, with its policies (contract: data-plane.md sections 3 and 6)."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from octavia.dataplane.haproxy import l7, prometheus, tls, values
from octavia.dataplane.haproxy.context import Context, backend_name, mode, section
from octavia.dataplane.haproxy.model import Directive, Section, UnsafeWord
from octavia.dataplane.haproxy.values import Unrenderable
from octavia.domain.tree import L7Action, L7Policy, L7Rule, Listener, Protocol

# Only an HTTP proxy knows a request: elsewhere HAProxy would refuse the format.
_HTTP_ONLY_TOKENS: Final = re.compile(r"%\{\+Q\}r|%r|%\{\+Q\}ST|%ST")
_NETWORKS_A_LINE: Final = 30  # HAProxy reads 64 words and 2048 characters


def frontend(context: Context, listener: Listener, backends: Sequence[Section]) -> Section:
    """One open listener.

    :param backends: of its pools; of a PROMETHEUS listener none.
    :raises Unrenderable: something of it cannot be told.
    """
    client_ms = listener.timeout_client_data or context.settings.timeout_client_data_ms
    inspect_ms = listener.timeout_tcp_inspect or context.settings.timeout_tcp_inspect_ms
    rows: list[tuple[str, ...]] = []
    if context.settings.logs_connections:
        record = _log_format(context, listener)
        rows.append(("log-format", record))
        if context.version >= (2, 5):
            # Else a failed handshake is told in a format of HAProxy's own, without the load balancer.
            rows.append(("error-log-format", record))
    rows.append(("maxconn", str(context.connection_limit(listener))))
    secured: list[str] = []
    if tls.terminates(listener):
        tls.crt_list(listener, context.certificates)  # or there is none
        secured = tls.bind_words(listener, context.certificates, context.settings.default_listener_ciphers)
    for vip in context.lb.vip_addresses:
        rows.append(("bind", values.endpoint(vip, listener.protocol_port, "VIP"), *secured))
    rows.append(("mode", mode(listener)))
    if mode(listener) == "http" and context.version >= (2, 6):
        # At a reload HAProxy would close connections that wait for their next request, while that may be on
        # its way. So it answers one more and announces the end with it, as it did before 2.4.
        rows.append(("option", "idle-close-on-response"))
    rows.extend(_admission_rows(listener))
    if listener.protocol is Protocol.TERMINATED_HTTPS:
        rows.extend(_https_rows(context, listener))
    policies = _policy_rows(context, listener, [one.name for one in backends])
    default = f"{listener.default_pool_id}:{listener.id}"
    rows.extend(("default_backend", one.name) for one in backends if one.name == default)
    if listener.protocol is Protocol.PROMETHEUS:
        rows.append(("default_backend", prometheus.BACKEND))
    rows.append(("timeout", "client", str(client_ms)))
    if inspect_ms:
        rows.append(("tcp-request", "inspect-delay", str(inspect_ms)))
    made = section(("frontend", listener.id), listener.id, rows)
    return Section(made.words, (*made.directives, *policies), owner=made.owner)


def _admission_rows(listener: Listener) -> Iterator[tuple[str, ...]]:
    """Who may connect. Lines of one name add up: no line can have all networks of a long list."""
    networks = [values.network(one, "allowed CIDR") for one in listener.allowed_cidrs]
    for first in range(0, len(networks), _NETWORKS_A_LINE):
        yield ("acl", "allowed_cidrs", "src", *networks[first : first + _NETWORKS_A_LINE])
    if networks:
        yield ("tcp-request", "connection", "reject", "unless", "allowed_cidrs")


def _https_rows(context: Context, listener: Listener) -> Iterator[tuple[str, ...]]:
    yield ("http-request", "redirect", "scheme", "https", "unless", "{", "ssl_fc", "}")
    if listener.hsts_max_age is not None:
        value = f"max-age={values.count(listener.hsts_max_age, 0, 2**31 - 1, 'HSTS age')};"
        value += " includeSubDomains;" if listener.hsts_include_subdomains else ""
        value += " preload;" if listener.hsts_preload else ""
        # From 2.2 on the answers that HAProxy makes itself can have it too.
        when = "http-after-response" if context.version >= (2, 2) else "http-response"
        yield (when, "set-header", "Strict-Transport-Security", value)


def _policy_rows(context: Context, listener: Listener, backends: Sequence[str]) -> tuple[Directive, ...]:
    """Conditions first, then what follows from them in the order in which HAProxy asks anyway."""
    if mode(listener) != "http":
        return ()
    conditions: list[Directive] = []
    consequences: list[tuple[int, Directive]] = []
    for policy in listener.l7_policies:
        if not context.wanted(policy):
            continue
        try:
            made = _policy(context, policy, listener, backends)
        except (Unrenderable, UnsafeWord) as error:
            context.refused[policy.id] = str(error)
            continue
        if made:
            conditions += made.conditions
            consequences.append((made.turn, made.consequence))
    return (*conditions, *(one for _, one in sorted(consequences, key=lambda pair: pair[0])))


def _policy(
    context: Context, policy: L7Policy, listener: Listener, backends: Sequence[str]
) -> l7.Rendered | None:
    """One policy; None if it can match nothing, or leads to a pool that is switched off.

    :raises Unrenderable: it cannot be told without one of its rules, or without its pool.
    """
    rules = [one for one in policy.rules if one.admin_state_up and not one.leaving]
    if not policy.admin_state_up or not rules:
        return None
    for rule in rules:
        # Without one of its conditions it would match more than it is meant to.
        if rule.id in context.excluded or not _told(context, rule):
            raise Unrenderable(f"Its rule {rule.id} cannot be given to HAProxy; change that.")
    backend = None
    if policy.action is L7Action.REDIRECT_TO_POOL:
        pool = context.lb.pool(policy.redirect_pool_id)
        if pool is None or not pool.admin_state_up:
            return None
        backend = backend_name(pool, listener)
        if backend not in backends:
            raise Unrenderable(f"Its pool {pool.id} cannot be given to HAProxy; change that.")
    return l7.render(policy, rules, backend, context.acl_ids)


def _told(context: Context, rule: L7Rule) -> bool:
    """Can the rule be rendered? If not, it is among the refused now."""
    try:
        l7.condition(rule, context.acl_ids[rule.id])
    except (Unrenderable, UnsafeWord) as error:
        context.refused[rule.id] = str(error)
        return False
    return True


def _log_format(context: Context, listener: Listener) -> str:
    text = context.settings.user_log_format
    if mode(listener) != "http":
        text = _HTTP_ONLY_TOKENS.sub("-", text)
    # A quote in a certificate's name must not end the field.
    text = text.replace("%{+Q}[", "%{+Q,+E}[")
    # Keystone's project ids are not ours: whatever they are, here they are one word.
    project = values.log_word(context.lb.project_id or "-")
    return text.replace("{{ project_id }}", project).replace("{{ lb_id }}", context.lb.id)
