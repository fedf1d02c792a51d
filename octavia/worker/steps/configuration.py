# SPDX-License-Identifier: Apache-2.0
"""The step that makes a generation live on one amphora."""

import logging
from dataclasses import dataclass, field, replace

from octavia.dataplane.cloud_init.agent_conf import render as render_agent_conf
from octavia.dataplane.haproxy import render as haproxy
from octavia.dataplane.haproxy.blame import words
from octavia.dataplane.haproxy.tls import SecretFile
from octavia.dataplane.keepalived import render as keepalived
from octavia.dataplane.l4.build import build as build_l4
from octavia.dataplane.l4.model import L4Config
from octavia.domain.errors import Refused, Terminal, Transient, Unreachable
from octavia.domain.forms import can_stand, with_forms
from octavia.domain.tree import L7Policy, Protocol, Role
from octavia.drivers.amphora.contract import AgentInfo, Applied, Configuration, Lacks
from octavia.wire.agent import EXTENSION_L4, EXTENSION_SCTP
from octavia.worker.outcome import Done, Outcome
from octavia.worker.steps import certificates
from octavia.worker.trouble import (
    CERTIFICATE,
    UNSUPPORTED,
    Trouble,
    Troubles,
    absent,
    acknowledgement,
    former,
    marks,
)
from octavia.worker.world import Branch

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Push:
    """The amphora runs the newest generation, as far as HAProxy accepts it.

    :param key: recorded as acknowledged.
    """

    key: str

    def apply(self, branch: Branch) -> Outcome:
        """Render, send, record the acknowledgement."""
        row = branch.row
        try:
            if row.id not in branch.known.agents:
                branch.known.agents[row.id] = branch.world.amphora.info(row)
            applied, marked = self._apply(branch)
        except Unreachable as error:
            if row.unreachable_since is None:
                branch.record(
                    f"Amphora {row.id} is out of reach: {error}",
                    unreachable_since=branch.world.clock.now(),
                )
            branch.known.agents.pop(row.id, None)
            raise
        if applied.reload_reason:
            LOG.info("Amphora %s reloaded HAProxy: %s", row.id, applied.reload_reason)
        if any(one.code == UNSUPPORTED for one in branch.troubles.values()):
            branch.known.agents.pop(row.id, None)  # after a reboot it may be able to
        digest = acknowledgement(self.key, marked)
        branch.record(generation=applied.generation, config_digest=digest, unreachable_since=None)
        return Done(further=True)

    def _apply(self, branch: Branch) -> tuple[Applied, frozenset[str]]:
        """Send it. What is refused gives way to its last good form or to nothing: the rest goes live.

        :returns: with the marks of what is not as wanted here: the branch beside may know of more by now.
        """
        while True:
            known = dict(branch.troubles)
            content = _content(branch, known)
            if content.refused:
                moved = [_give_way(branch, known, content, *one) for one in _causes(branch, content).items()]
                if not any(moved):
                    raise Terminal("; ".join(content.refused.values()))
                continue
            try:
                applied = branch.world.amphora.apply(
                    branch.row, self._configuration(branch, content), fence=branch.lease.fence
                )
                return applied, marks(content.troubles)
            except Lacks as lack:
                # Not even an old one is there.
                owners = {file.owner for file in content.secret_files if file.name in lack.names}
                moved = [_give_way(branch, content.troubles, content, one, lack.why) for one in owners]
                if not any(moved):
                    raise
            except Refused as refusal:
                guilty = content.haproxy.blame(refusal.why) if content.haproxy else None
                if guilty is None:
                    raise
                LOG.warning("HAProxy refuses %s of %s: %s", guilty, branch.lb.id, refusal.why)
                why = f"HAProxy does not accept it: {words(refusal.why)}"
                if not _give_way(branch, content.troubles, content, guilty, why):
                    raise

    def _configuration(self, branch: Branch, content: "_Content") -> Configuration:
        return Configuration(
            load_balancer_id=branch.lb.id,
            generation=branch.lb.generation,
            haproxy=content.haproxy.text if content.haproxy else None,
            keepalived=self._keepalived(branch),
            certificates=content.files,
            l4=content.l4,
        )

    @staticmethod
    def _keepalived(branch: Branch) -> str | None:
        if branch.row.role is Role.STANDALONE:
            return None
        return keepalived.render(
            branch.lb, branch.row, branch.peers, branch.settings.keepalived, _vip_subnets(branch)
        )


@dataclass(slots=True)
class _Content:
    """What one amphora is to serve, some of it perhaps in another form than wanted.

    :param refused: nothing can be made of these as they are; the reasons.
    :param troubles: what is not as wanted in this.
    """

    haproxy: haproxy.Rendered | None
    l4: L4Config | None
    refused: dict[str, str]
    troubles: dict[str, Trouble]
    files: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def secret_files(self) -> tuple[SecretFile, ...]:
        """Those that HAProxy's configuration names."""
        return self.haproxy.secret_files if self.haproxy else ()


def _content(branch: Branch, known: dict[str, Trouble]) -> _Content:
    """:param known: what is not to be as wanted."""
    gone = absent(known)
    substitutes = former(known)
    kept = branch.settled_forms() if substitutes else {}
    lb = with_forms(branch.lb, {name: kept[name] for name in substitutes & kept.keys()})
    agent = branch.known.agents[branch.row.id]
    rendered = haproxy.render(
        lb,
        branch.peers,
        branch.settings.haproxy,
        amphora_id=branch.row.id,
        haproxy_version=agent.haproxy_version,
        excluded=gone,
    )
    unsupported = _unsupported(branch, agent)
    built = build_l4(lb, excluded=gone | unsupported.keys())
    refused = {**(rendered.refused if rendered else {}), **built.refused}
    content = _Content(rendered, built.config, refused, unsupported | known)
    if rendered and not refused:
        _fetch(branch, rendered, content)
    return content


def _unsupported(branch: Branch, agent: AgentInfo) -> dict[str, Trouble]:
    """Listeners that this amphora cannot serve, whatever they are like; another may."""
    if EXTENSION_L4 not in agent.extensions or EXTENSION_SCTP in agent.extensions:
        return {}
    found = {
        one.id: Trouble(f"The kernel of amphora {branch.row.id} does not track SCTP", UNSUPPORTED)
        for one in branch.lb.listeners
        if one.protocol is Protocol.SCTP and not one.leaving
    }
    for name, trouble in found.items():
        branch.troubles.setdefault(name, trouble)
    return found


def _fetch(branch: Branch, rendered: haproxy.Rendered, content: _Content) -> None:
    """The files to send; what cannot be had now stays as the amphora has it, and is somebody's fault."""
    content.files.update((name, text.encode()) for name, text in rendered.crt_lists.items())
    for file in rendered.secret_files:
        trouble = content.troubles.get(file.owner)
        content.files[file.name] = None
        if trouble and trouble.kept:
            continue
        try:
            content.files[file.name] = certificates.content(branch.world.tenant_certificates, file)
        except (Terminal, Transient) as error:
            LOG.warning("A certificate of %s %s cannot be had: %s", branch.lb.id, file.owner, error)
            trouble = trouble or Trouble(f"A certificate cannot be had: {error.why}", CERTIFICATE)
            content.troubles[file.owner] = branch.troubles[file.owner] = replace(trouble, kept=True)


def _causes(branch: Branch, content: _Content) -> dict[str, str]:
    """What was refused for itself. Policies come last: one may stand again once its rule or its pool does."""
    policies = {one.id for one in branch.lb.walk() if isinstance(one, L7Policy)}
    return {name: why for name, why in content.refused.items() if name not in policies} or content.refused


def _give_way(branch: Branch, known: Troubles, content: _Content, guilty: str, why: str) -> bool:
    """Something else goes in the stead of an object that was refused, if that is not what was refused.

    :param known: what it was when it was refused.
    """
    before = known.get(guilty)
    if branch.troubles.get(guilty, before) != before:
        return True  # the branch beside was faster
    resource = next((one for one in branch.lb.walk() if one.id == guilty), None)
    form = branch.settled_forms().get(guilty)
    after = (before or Trouble(why)).next(
        has_form=resource is not None and form is not None and can_stand(branch.lb, resource, form),
        has_files=any(file.owner == guilty for file in content.secret_files),
    )
    if after is None:
        return False
    branch.troubles[guilty] = after
    return True


@dataclass(frozen=True, slots=True)
class UpdateAgentConfiguration:
    """The agent has its configuration as it would be rendered today."""

    def apply(self, branch: Branch) -> Outcome:
        """Render, send, forget that it was asked for."""
        row = branch.row
        text = render_agent_conf(branch.settings.agent, amphora_id=row.id, topology=branch.lb.topology)
        taken = branch.world.amphora.update_agent_configuration(row, text, fence=branch.lease.fence)
        said = "has a new configuration" if taken else "is too old to take a configuration"
        branch.record(f"The agent of amphora {row.id} {said}", config_requested=None)
        return Done(further=True)


def _vip_subnets(branch: Branch) -> list[keepalived.VipSubnet]:
    """Where each VIP lives, for the routes that keepalived brings along with it."""
    lb = branch.lb
    vips = [(lb.vip.address, lb.vip.subnet_id)]
    vips += [(vip.address, vip.subnet_id) for vip in lb.additional_vips]
    found = []
    for address, subnet_id in vips:
        if address and subnet_id:
            subnet = branch.known.subnets.get(subnet_id)
            if subnet is None:
                subnet = branch.world.network.get_subnet(subnet_id)
                branch.known.subnets[subnet_id] = subnet
            found.append(
                keepalived.VipSubnet(
                    vip_address=address,
                    cidr=subnet.cidr,
                    gateway=subnet.gateway_ip,
                    host_routes=tuple((route.destination, route.nexthop) for route in subnet.host_routes),
                )
            )
    return found
