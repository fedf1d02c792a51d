# SPDX-License-Identifier: Apache-2.0
"""A load balancer as the configuration of HAProxy (contract: data-plane.md sections 1 to 6).

Pure: values in, text out. UDP and SCTP listeners, which something else serves, are left out. What is
rendered, and for whom, is in :mod:`octavia.dataplane.haproxy.context`; the sections are made beside it:
``process``, ``frontend`` (policies: ``l7``), ``backend`` (servers: ``members``), ``prometheus``; what makes
TLS is in ``tls``. Delivering the text is not here: see the amphora agent.

The shapes that agents parse again are in amphora-agent.md section 7. Where this text differs from
the usual one, on purpose:

* The stats socket is mode 0600 and level ``admin``: changes at runtime need it, and only root asks.
* ``balance source`` hashes consistently and HTTP cookies are computed by HAProxy from address and
  port: only so can servers be added at runtime (HAProxy refuses ``cookie`` on those, up to 3.0).
* Servers have fixed numbers, see :func:`octavia.dataplane.haproxy.values.server_ids`.
* A single amphora with a stick table is its own peer, so that a reload keeps the table.
* A TLS-HELLO monitor makes a real TLS handshake.
* ``allowed_cidrs`` are asked for here too: not every network has security groups.
* A reload closes no kept connection before it has answered one more request (``idle-close-on-response``).
* Where there is a PROMETHEUS listener, ``maxconn`` of the process has room for the connections inside.
* What follows from the amphora's machine follows from what that was when the amphora was ready: a cache of
  TLS sessions that followed its free memory would have another size, and so be a reload, with every change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from octavia.dataplane.haproxy import process, prometheus, tls, values
from octavia.dataplane.haproxy.backend import backend
from octavia.dataplane.haproxy.blame import blame
from octavia.dataplane.haproxy.context import GONE, Context
from octavia.dataplane.haproxy.frontend import frontend
from octavia.dataplane.haproxy.model import HaproxyConfig, Section, UnsafeWord, lines
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.haproxy.values import Unrenderable
from octavia.domain.tree import Amphora, Listener, LoadBalancer, Protocol


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
        return blame(self.config, self.owners, output)


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

    :param amphorae: of this load balancer; those with an address become each other's peers, and the one
        for whom this is says what its machine is like.
    :param amphora_id: for whom this is; it is always among its own peers.
    :param haproxy_version: as the agent says it; the first two numbers count.
    :param excluded: ids of listeners, pools, members and monitors to leave out.
    :raises ValueError: the version is none.
    """
    context = Context(lb, amphorae, settings, amphora_id, values.version(haproxy_version), excluded)
    if lb.provisioning_status in GONE or not context.listeners():
        return None
    config = HaproxyConfig(tuple(_sections(context)))
    written = list(lines(config))
    return Rendered(
        config,
        "".join(f"{text}\n" for text, _ in written),
        tuple(owner for _, owner in written),
        context.refused,
        tuple(context.secret_files),
        context.crt_lists,
    )


def _sections(context: Context) -> Iterator[Section]:
    proxies = list(_proxies(context))  # first, because what is refused changes what is global
    enabled = [one for one in context.enabled_listeners() if one.id not in context.refused]
    yield process.global_section(context, enabled, proxies)
    yield process.defaults_section(context)
    if context.has_peers():
        yield process.peers_section(context)
    yield from proxies


def _proxies(context: Context) -> Iterator[Section]:
    measured = False
    for listener in context.enabled_listeners():
        if listener.protocol is Protocol.PROMETHEUS and context.version < prometheus.SINCE:
            context.refused[listener.id] = (
                "The HAProxy of its amphora is too old to be measured; replace that."
            )
            continue
        backends = [made for pool in context.pools(listener) if (made := backend(context, pool, listener))]
        try:
            front = frontend(context, listener, backends)
        except (Unrenderable, UnsafeWord) as error:
            context.refused[listener.id] = str(error)
            continue
        yield front
        yield from backends
        _name_files(context, listener, backends)
        measured = measured or listener.protocol is Protocol.PROMETHEUS
    if measured:
        yield from prometheus.SECTIONS


def _name_files(context: Context, listener: Listener, backends: Sequence[Section]) -> None:
    """Remember the files that what was rendered names."""
    used = {one.owner for one in backends if any(row.words[0] == "server" for row in one.directives)}
    for pool in context.pools(listener):
        if pool.id in used:
            context.secret_files.update(dict.fromkeys(tls.files_of_pool(pool)))
    if tls.terminates(listener):
        context.secret_files.update(dict.fromkeys(tls.files_of_listener(listener)))
        context.crt_lists[tls.crt_list_name(listener)] = tls.crt_list(listener, context.certificates)
