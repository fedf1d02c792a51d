# SPDX-License-Identifier: Apache-2.0
"""The README's two commands on a machine that has Python and nothing else."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("bare_root.sh")

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a root file system of its own"),
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="needs mmdebstrap"),
    pytest.mark.skipif(not shutil.which("git"), reason="needs git"),
]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("bare") / "root"
    made = run("make", str(root))
    assert made.returncode == 0, made.stdout + made.stderr
    yield str(root)
    shutil.rmtree(root)


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("--reuid 65534 --clear-groups", "network namespaces need root: run 'sudo ./dev up'."),
        (
            "--bounding-set -sys_admin --inh-caps -sys_admin",
            "this machine forbids network namespaces: use a VM, or a container started with --privileged.",
        ),
    ],
)
def test_a_missing_right_is_one_sentence(bare: str, without: str, sentence: str) -> None:
    assert refusal(bare, "setpriv", *without.split(), "./dev", "up") == sentence


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (
            "apt-get",
            "conntrack haproxy iproute2 iputils-ping keepalived nftables rsyslog missing and"
            " there is no apt-get here:"
            " install them with your distribution's package manager and run again.",
        ),
        (
            "python3.11",
            "Python 3.11 or newer is needed and was not found:"
            " install it, for instance from Debian 12 or Ubuntu 24.04.",
        ),
    ],
)
def test_a_missing_program_is_one_sentence(bare: str, missing: str, sentence: str) -> None:
    program = Path(bare) / "usr/bin" / missing
    hidden = program.rename(program.with_suffix(".hidden"))
    try:
        assert refusal(bare, "./dev", "up") == sentence
    finally:
        hidden.rename(program)


def refusal(bare: str, *command: str) -> str:
    done = run("enter", bare, *command)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.removeprefix("dev: ").removesuffix("\n")


@pytest.fixture(scope="module")
def installed(bare: str) -> str:
    """What ``./dev up`` does first; with the network, as it needs a package index."""
    done = run("install", bare)
    assert done.returncode == 0, done.stdout + done.stderr
    return bare


def test_nothing_is_left_of_the_ban_on_starting_services(installed: str) -> None:
    assert not (Path(installed) / "usr/sbin/policy-rc.d").exists()


def test_both_commands_of_the_readme_work_without_any_network(installed: str) -> None:
    both = (
        "./dev up && .venv/bin/openstack --os-cloud octavia loadbalancer list -f value -c name"
        " && ./dev down --purge && ip -brief link && ls /var/lib /etc/openstack"
    )
    done = run("enter", installed, "sh", "-c", both)
    assert done.returncode == 0, done.stdout + done.stderr
    transcript, _, after = done.stdout.partition("done; everything is left running")
    assert "the VIP was silent for" in transcript
    assert "\ndemo\n" in after
    assert "octavia-standalone" not in after.rpartition("removed /var/lib/octavia-standalone")[2]
    assert "clouds.yaml" not in after.rpartition("removed /var/lib/octavia-standalone")[2]
