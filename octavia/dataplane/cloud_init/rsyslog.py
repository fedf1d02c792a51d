# SPDX-License-Identifier: Apache-2.0
"""10-rsyslog.conf, as it is injected into an amphora: which logs go where.

HAProxy writes a record a connection or request to ``local<user_log_facility>`` at exactly *info*; whatever
else an amphora has to say is the operator's (contract: amphora-agent.md section 13). What the records look
like is not here: see :mod:`octavia.dataplane.haproxy.frontend`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import jinja2
import jinja2.sandbox

RSYSLOG_CONF: Final = "/etc/rsyslog.d/10-rsyslog.conf"
_HOST: Final = re.compile(r"[0-9A-Za-z.:-]+")


class BadTemplate(ValueError):
    """The operator's template cannot be rendered; the text says why."""


class Target(NamedTuple):
    """A log host; IPv6 without brackets."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RsyslogSettings:
    """Options of ``[amphora_agent]``, by their names; the defaults are the contract's.

    :param tenant_log_targets: the first takes the flow logs, the others stand in for it in this order.
    :param admin_log_targets: the same for all other logs.
    :param log_protocol: ``UDP`` or ``TCP``.
    :param log_retry_count: attempts to reach a log host before the next one is taken; -1 for ever.
    :param log_retry_interval: seconds between them.
    :param log_queue_size: messages that wait for a log host; what comes on top is dropped.
    :param forward_all_logs: the operator's logs are everything but the tenant's, not one facility.
    :param disable_local_log_storage: nothing is written into files of the amphora.
    """

    tenant_log_targets: Sequence[Target] = ()
    admin_log_targets: Sequence[Target] = ()
    user_log_facility: int = 0
    administrative_log_facility: int = 1
    log_protocol: str = "UDP"
    log_retry_count: int = 5
    log_retry_interval: int = 2
    log_queue_size: int = 10000
    forward_all_logs: bool = False
    disable_local_log_storage: bool = False


def render(settings: RsyslogSettings, template: str | None = None) -> bytes:
    """The file, the same for every amphora.

    :param template: the operator's own, in Jinja; its variables are the fields of ``settings``.
    :raises BadTemplate: it has a mistake, or names a variable that there is not.
    :raises ValueError: a target is no host.
    """
    if template is not None:
        return _from_template(settings, template)
    return "\n".join(["# Octavia: which logs leave this amphora.", *_lines(settings), ""]).encode()


def _lines(settings: RsyslogSettings) -> Iterator[str]:
    tenant, admin = f"local{settings.user_log_facility}", f"local{settings.administrative_log_facility}"
    if settings.tenant_log_targets:
        yield from _ruleset("tenant_forwarding", settings.tenant_log_targets, settings)
        yield f"{tenant}.=info call tenant_forwarding"
    if settings.admin_log_targets:
        yield from _ruleset("admin_forwarding", settings.admin_log_targets, settings)
        chosen = f"*.*;{tenant}.none" if settings.forward_all_logs else f"{admin}.*"
        yield f"{chosen} call admin_forwarding"
    if settings.disable_local_log_storage:
        yield "*.* stop"


def _ruleset(name: str, targets: Sequence[Target], settings: RsyslogSettings) -> Iterator[str]:
    # The queue is the ruleset's: with one of its own, an action never looks suspended, and the next target
    # would never be taken. A full queue drops at once: waiting for room would hold local files up too.
    yield f'ruleset(name="{name}" queue.type="LinkedList" queue.size="{settings.log_queue_size}"'
    yield '        queue.timeoutEnqueue="0") {'
    for number, target in enumerate(targets):
        if not _HOST.fullmatch(target.host):
            raise ValueError(f"{target.host!r} is no host.")
        yield f'    action(type="omfwd" target="{target.host}" port="{target.port}"'
        yield f'           protocol="{settings.log_protocol.lower()}"'
        if number:
            yield '           action.execOnlyWhenPreviousIsSuspended="on"'
        yield f'           action.resumeRetryCount="{settings.log_retry_count}"'
        yield f'           action.resumeInterval="{settings.log_retry_interval}")'
    yield "}"


def _from_template(settings: RsyslogSettings, template: str) -> bytes:
    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    values = {one.name: getattr(settings, one.name) for one in fields(settings)}
    try:
        return environment.from_string(template).render(values).encode()
    except jinja2.TemplateError as error:
        raise BadTemplate(str(error)) from error
