# SPDX-License-Identifier: Apache-2.0
"""The step that makes a generation live on one amphora."""

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass

from octavia.dataplane.cloud_init.agent_conf import render as render_agent_conf
from octavia.dataplane.haproxy import render as haproxy
from octavia.dataplane.keepalived import render as keepalived
from octavia.dataplane.l4.build import build as build_l4
from octavia.dataplane.l4.model import L4Config
from octavia.domain.errors import Refused, Terminal, Transient, Unreachable
from octavia.domain.tree import Role
from octavia.drivers.amphora.contract import Applied, Configuration, Lacks
from octavia.worker.outcome import Done, Outcome
from octavia.worker.steps import certificates
from octavia.worker.world import Branch

LOG = logging.getLogger(__name__)


def acknowledgement(key: str, excluded: Collection[str]) -> str:
    """What to record of an amphora that took a configuration without what was refused.

    It differs from that of a whole one, so that the next pass tries again what was left out.
    """
    return hashlib.sha256(repr((key, sorted(excluded))).encode()).hexdigest() if excluded else key


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
            applied, left_out = self._apply(branch)
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
        digest = acknowledgement(self.key, left_out)
        branch.record(generation=applied.generation, config_digest=digest, unreachable_since=None)
        return Done(further=True)

    def _apply(self, branch: Branch) -> tuple[Applied, frozenset[str]]:
        """Send it; what HAProxy refuses is left out, so that the rest goes live.

        :returns: with the ids of what is not as wanted here: the branch beside may know of more by now.
        """
        while True:
            rendered, left_out = self._haproxy(branch)
            files, unfetched = self._certificates(branch, rendered)
            l4, refused = self._l4(branch, left_out)
            left_out |= refused
            configuration = Configuration(
                load_balancer_id=branch.lb.id,
                generation=branch.lb.generation,
                haproxy=rendered.text if rendered else None,
                keepalived=self._keepalived(branch),
                certificates=files,
                l4=l4,
            )
            try:
                applied = branch.world.amphora.apply(branch.row, configuration, fence=branch.lease.fence)
                return applied, left_out | unfetched
            except Lacks as lack:
                # Not even an old one is there: without it, then.
                for file in rendered.secret_files if rendered else ():
                    if file.name in lack.names:
                        branch.unfetched[file.owner] = False
            except Refused as refusal:
                guilty = rendered.blame(refusal.why) if rendered else None
                if guilty is None or guilty in left_out:
                    raise
                LOG.warning("HAProxy refuses %s of %s: %s", guilty, branch.lb.id, refusal.why)
                branch.excluded[guilty] = f"HAProxy does not accept it: {refusal.why}"
                if rendered and any(file.owner == guilty for file in rendered.secret_files):
                    # It may be a new certificate: first it shall go on with the one that it has.
                    branch.unfetched[guilty] = guilty not in branch.unfetched

    @staticmethod
    def _certificates(
        branch: Branch, rendered: haproxy.Rendered | None
    ) -> tuple[dict[str, bytes | None], frozenset[str]]:
        """Files to send; what cannot be had now stays as the amphora has it, and is somebody's fault.

        :returns: with whose certificates cannot be had.
        """
        if rendered is None:
            return {}, frozenset()
        files: dict[str, bytes | None] = {name: text.encode() for name, text in rendered.crt_lists.items()}
        unfetched = set()
        for file in rendered.secret_files:
            if branch.unfetched.get(file.owner):
                files[file.name] = None
                unfetched.add(file.owner)
                continue
            try:
                files[file.name] = certificates.content(branch.world.tenant_certificates, file)
            except (Terminal, Transient) as error:
                files[file.name] = None
                unfetched.add(file.owner)
                LOG.warning("A certificate of %s %s cannot be had: %s", branch.lb.id, file.owner, error)
                branch.excluded[file.owner] = f"A certificate cannot be had: {error.why}"
                branch.unfetched[file.owner] = True
        return files, frozenset(unfetched)

    @staticmethod
    def _haproxy(branch: Branch) -> tuple[haproxy.Rendered | None, frozenset[str]]:
        left_out = frozenset(one for one in branch.excluded if not branch.unfetched.get(one))
        rendered = haproxy.render(
            branch.lb,
            branch.peers,
            branch.settings.haproxy,
            amphora_id=branch.row.id,
            haproxy_version=branch.known.agents[branch.row.id].haproxy_version,
            excluded=left_out,
        )
        if rendered:
            branch.excluded.update(rendered.refused)
            left_out |= rendered.refused.keys()
        return rendered, left_out

    @staticmethod
    def _l4(branch: Branch, left_out: frozenset[str]) -> tuple[L4Config | None, frozenset[str]]:
        """UDP and SCTP listeners, and what of them nothing can be made of."""
        built = build_l4(branch.lb, excluded=left_out)
        branch.excluded.update(built.refused)
        return built.config, frozenset(built.refused)

    @staticmethod
    def _keepalived(branch: Branch) -> str | None:
        if branch.row.role is Role.STANDALONE:
            return None
        return keepalived.render(
            branch.lb, branch.row, branch.peers, branch.settings.keepalived, _vip_subnets(branch)
        )


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
