# SPDX-License-Identifier: Apache-2.0
"""What every compute driver promises. Subclasses give the driver, and a network that it can use."""

from uuid import uuid4

import pytest

from octavia.domain.errors import Terminal
from octavia.domain.tree import Vip
from octavia.drivers.compute.contract import AmphoraSpec, ComputeDriver, ServerStatus
from octavia.drivers.local.addresses import subnet_id
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.contract import Port


def a_spec() -> AmphoraSpec:
    return AmphoraSpec(
        amphora_id=str(uuid4()),
        load_balancer_id=str(uuid4()),
        files={
            "/etc/octavia/amphora-agent.conf": b"[DEFAULT]\n",
            "/etc/octavia/certs/server.pem": b"certificate and key\n",
        },
    )


class ComputePromises:
    """Of every driver, also of one that keeps nothing. For subclasses."""

    @pytest.fixture
    def compute(self) -> ComputeDriver:
        raise NotImplementedError

    @pytest.fixture
    def network(self) -> BookNetwork:
        raise NotImplementedError

    def boot(self, compute: ComputeDriver, spec: AmphoraSpec) -> str:
        server = compute.create(spec)
        found = compute.get(server.compute_id)
        assert found is not None
        assert found.status is ServerStatus.ACTIVE
        return server.compute_id

    def a_port(self, network: BookNetwork, spec: AmphoraSpec) -> Port:
        return network.create_vrrp_port(
            spec.amphora_id, spec.load_balancer_id, Vip(subnet_id=subnet_id("demo")), ()
        )

    def test_a_server_has_an_address_and_knows_its_amphora(self, compute: ComputeDriver) -> None:
        spec = a_spec()
        server = compute.get(self.boot(compute, spec))
        assert server is not None
        assert server.amphora_id == spec.amphora_id
        assert server.lb_network_ip
        assert server.fault is None

    def test_a_port_is_attached_and_detached_any_number_of_times(
        self, compute: ComputeDriver, network: BookNetwork
    ) -> None:
        spec = a_spec()
        compute_id = self.boot(compute, spec)
        port = self.a_port(network, spec)
        for _ in range(2):
            compute.attach_port(compute_id, port)
            compute.attach_port(compute_id, port)
            compute.detach_port(compute_id, port.id)
            compute.detach_port(compute_id, port.id)

    def test_asking_again_answers_with_the_same_server(self, compute: ComputeDriver) -> None:
        spec = a_spec()
        assert compute.create(spec) == compute.create(spec)

    def test_deleting_and_detaching_may_be_repeated(self, compute: ComputeDriver) -> None:
        compute_id = self.boot(compute, a_spec())
        for one in (compute_id, compute_id, str(uuid4())):
            compute.detach_port(one, str(uuid4()))
            compute.delete(one)

    def test_no_port_for_what_cannot_be_a_server(self, compute: ComputeDriver, network: BookNetwork) -> None:
        with pytest.raises(Terminal):
            compute.attach_port("no-such-server", self.a_port(network, a_spec()))


class ComputeContract(ComputePromises):
    """Of a driver that keeps what it made."""

    def test_what_was_asked_for_twice_is_there_once(self, compute: ComputeDriver) -> None:
        spec = a_spec()
        first = compute.create(spec)
        compute.create(spec)
        assert [server.compute_id for server in compute.list()] == [first.compute_id]

    def test_two_servers_have_two_addresses(self, compute: ComputeDriver) -> None:
        one, two = compute.create(a_spec()), compute.create(a_spec())
        assert one.compute_id != two.compute_id
        assert one.lb_network_ip != two.lb_network_ip
        assert {server.compute_id for server in compute.list()} == {one.compute_id, two.compute_id}

    def test_a_deleted_server_is_gone_and_may_be_deleted_again(self, compute: ComputeDriver) -> None:
        compute_id = self.boot(compute, a_spec())
        compute.delete(compute_id)
        compute.delete(compute_id)
        assert compute.get(compute_id) is None
        assert list(compute.list()) == []

    def test_what_never_was_is_none_and_can_be_deleted(self, compute: ComputeDriver) -> None:
        assert compute.get(str(uuid4())) is None
        compute.delete(str(uuid4()))
        compute.detach_port(str(uuid4()), str(uuid4()))

    def test_no_port_for_a_server_that_is_not_there(
        self, compute: ComputeDriver, network: BookNetwork
    ) -> None:
        spec = a_spec()
        port = self.a_port(network, spec)
        with pytest.raises(Terminal):
            compute.attach_port(spec.amphora_id, port)
        compute_id = self.boot(compute, spec)
        compute.delete(compute_id)
        with pytest.raises(Terminal):
            compute.attach_port(compute_id, port)
