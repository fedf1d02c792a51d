# SPDX-License-Identifier: Apache-2.0
"""The simulator's compute: virtual boots, deaths and faults."""

from datetime import timedelta

import pytest

from octavia.domain.errors import Terminal, Transient
from octavia.drivers.compute.contract import ServerStatus
from octavia.drivers.compute.memory import MemoryCompute
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.memory import MemoryNetwork
from tests.unit.drivers.clock import StoppedClock
from tests.unit.drivers.compute_contract import ComputeContract, a_spec


class TestInMemory(ComputeContract):
    @pytest.fixture
    def compute(self) -> MemoryCompute:
        return MemoryCompute(StoppedClock())

    @pytest.fixture
    def network(self) -> BookNetwork:
        return MemoryNetwork()


def test_a_boot_takes_the_clocks_time() -> None:
    clock = StoppedClock()
    compute = MemoryCompute(clock, boot_time=timedelta(seconds=40))
    compute_id = compute.create(a_spec()).compute_id

    def status() -> ServerStatus:
        server = compute.get(compute_id)
        assert server is not None
        return server.status

    assert status() is ServerStatus.BUILDING
    assert not compute.is_running(compute_id)
    clock.advance(timedelta(seconds=39))
    assert status() is ServerStatus.BUILDING
    clock.advance(timedelta(seconds=1))
    assert status() is ServerStatus.ACTIVE
    assert compute.is_running(compute_id)


def test_a_crashed_server_is_in_error_until_it_is_deleted() -> None:
    compute, network = MemoryCompute(StoppedClock()), MemoryNetwork()
    spec = a_spec()
    compute_id = compute.create(spec).compute_id
    compute.crash(compute_id, "fire")
    server = compute.create(spec)
    assert (server.status, server.fault) == (ServerStatus.ERROR, "fire")
    with pytest.raises(Terminal):
        compute.attach_port(
            compute_id, network.create_member_port("a", "b", network.list_networks()[0].id, ())
        )
    compute.delete(compute_id)
    assert compute.get(compute_id) is None


def test_a_vanished_server_leaves_nothing() -> None:
    compute = MemoryCompute(StoppedClock())
    compute_id = compute.create(a_spec()).compute_id
    compute.vanish(compute_id)
    assert compute.get(compute_id) is None


def test_a_lost_answer_leaves_a_server_that_is_adopted() -> None:
    compute = MemoryCompute(StoppedClock())
    spec = a_spec()
    compute.faults.lose_answer("create", Transient("timeout"))
    with pytest.raises(Transient):
        compute.create(spec)
    assert len(list(compute.list())) == 1
    compute.create(spec)
    assert len(list(compute.list())) == 1
    assert compute.files(spec.amphora_id) == spec.files
