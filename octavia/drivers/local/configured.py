# SPDX-License-Identifier: Apache-2.0
"""The drivers whose cloud is this machine, of an octavia.conf (section ``[standalone]``)."""

from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from oslo_config import cfg

from octavia.config.standalone import SubnetPlan, controller_address, parse_networks
from octavia.domain.errors import Terminal
from octavia.drivers.compute.local import LocalCompute
from octavia.drivers.local.addresses import NetworkSettings, SubnetSettings, Topology, network_id
from octavia.drivers.local.installation import Installation
from octavia.drivers.network.local import LocalNetwork

MANAGEMENT: Final = "management"


def network(conf: cfg.ConfigOpts) -> LocalNetwork:
    """``network_local_driver``.

    :raises Terminal: the networks make no sense; with what to change.
    """
    return LocalNetwork(topology(conf), _installation(conf))


def compute(conf: cfg.ConfigOpts) -> LocalCompute:
    """``compute_local_driver``, which works on the networks of the other one.

    :raises Terminal: as :func:`network`.
    """
    return LocalCompute(_installation(conf), network(conf), network_id(MANAGEMENT))


def topology(conf: cfg.ConfigOpts) -> Topology:
    """The management network, and the networks for VIPs and members.

    :raises Terminal: the configuration makes no sense; with what to change.
    """
    standalone = conf.standalone
    try:
        management = SubnetSettings(
            name=MANAGEMENT,
            cidr=str(ip_network(standalone.management_cidr)),
            gateway_ip=controller_address(standalone.management_cidr),
        )
        plans = parse_networks(standalone.networks)
        return Topology((NetworkSettings(name=MANAGEMENT, subnets=(management,)), *_networks(plans)))
    except ValueError as why:
        raise Terminal(f"{why} Change it in {standalone.state_dir}/octavia.conf.") from why


def _networks(plans: Sequence[SubnetPlan]) -> list[NetworkSettings]:
    return [
        NetworkSettings(
            name=name,
            subnets=tuple(
                SubnetSettings(name=plan.subnet, cidr=str(plan.cidr), gateway_ip=str(plan.cidr[1]))
                for plan in plans
                if plan.network == name
            ),
        )
        for name in dict.fromkeys(plan.network for plan in plans)
    ]


def _installation(conf: cfg.ConfigOpts) -> Installation:
    return Installation(Path(conf.standalone.state_dir))
