# SPDX-License-Identifier: Apache-2.0
"""HAProxy takes what is rendered for a machine, and does as it says."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from octavia.amphora_agent.children import ChildSupervisor
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.details import Versions
from octavia.amphora_agent.haproxy import Haproxy, Invalid
from octavia.amphora_agent.processes import Processes
from octavia.dataplane.haproxy.render import Rendered, render
from octavia.domain.tree import LoadBalancer
from tests import pki
from tests.haproxy.live import HAPROXY, check, directory, needs_haproxy, needs_root, running, settings
from tests.unit.dataplane.samples import AMPHORA, LB, amphorae, listener, load_balancer, pool
from tests.unit.dataplane.tls_samples import site, store

pytestmark = [pytest.mark.haproxy, needs_haproxy]

SITE = load_balancer((site(connection_limit=100), pool()))
PLAIN = load_balancer((listener(connection_limit=100), pool()))
GIGABYTES_KB = 6_000_000
MOST_KB = 500_000  # of address space; more than HAProxy needs, less than a cache of that machine


@pytest.fixture
def base() -> Iterator[Path]:
    with directory() as made:
        yield made


def rendered_on(
    lb: LoadBalancer, base: Path, *, memory_kb: int | None = None, isolated_cpus: int | None = None
) -> Rendered:
    """What an amphora of such a machine gets, with its certificates in their places."""
    row = replace(amphorae()[0], memory_kb=memory_kb, isolated_cpus=isolated_cpus)
    made = render(lb, (row,), settings(base), amphora_id=AMPHORA, haproxy_version="2.6.12")
    assert made is not None
    pki.write(base / "certs" / LB, pki.files(made, store()))
    return made


@pytest.mark.parametrize("isolated_cpus", [None, 1, 3, 63, 2**31])
@pytest.mark.parametrize("memory_kb", [None, 0, 16_000, 60_000])
def test_haproxy_accepts_each_machine_without_a_warning(
    memory_kb: int | None, isolated_cpus: int | None, base: Path
) -> None:
    made = rendered_on(SITE, base, memory_kb=memory_kb, isolated_cpus=isolated_cpus)
    assert ("tune.ssl.cachesize" in made.text) is (memory_kb is not None and memory_kb > 15_700)
    assert ("nbthread" in made.text) is (isolated_cpus is not None)
    result = check(made.text, base)
    assert (result.returncode, result.stderr) == (0, "")


@needs_root
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a second processor")
def test_threads_run_beside_the_first_processor(base: Path) -> None:
    made = rendered_on(PLAIN, base, isolated_cpus=1)
    with running(made.text, base) as haproxy:
        assert "Nbthread: 1\n" in haproxy.ask("show info")
        status = Path(f"/proc/{haproxy.process.pid}/status").read_text()
    assert "Cpus_allowed_list:\t1\n" in status


def agent(base: Path, haproxy_cmd: Path) -> Haproxy:
    config = AgentConfig(
        amphora_id=AMPHORA, base_path=base, base_cert_dir=base / "certs", haproxy_cmd=str(haproxy_cmd)
    )
    processes = Processes()
    versions = Versions(processes, HAPROXY, config.keepalived_cmd)
    supervisor = ChildSupervisor(processes, lambda service, serves: None)
    return Haproxy(LB, config, supervisor, processes, versions, Counter())


def test_a_configuration_is_validated_without_the_memory_that_it_takes_to_run_it(base: Path) -> None:
    """Else each change of a member would cost what filling a cache of gigabytes costs."""
    made = rendered_on(SITE, base, memory_kb=GIGABYTES_KB)
    poor = base / "haproxy"
    poor.write_text(f'#!/bin/sh\nulimit -v {MOST_KB}\nexec {shlex.quote(HAPROXY)} "$@"\n')
    poor.chmod(0o755)
    one = agent(base, poor)
    one.stage(made.text)
    assert one.text() == made.text
    # It is the agent's own file that does it, and what HAProxy does not know is refused all the same.
    with pytest.raises(Invalid):
        one.stage(made.text.replace("tune.ssl.cachesize", "tune.ssl.cachesizes"))
    (one.directory / "agent-check.cfg").write_text("global\n")
    with pytest.raises(Invalid):
        one.stage(made.text)
