# SPDX-License-Identifier: Apache-2.0
"""The syslog of local amphorae, as far as it can be told without one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from octavia.dataplane.cloud_init import rsyslog
from octavia.dataplane.cloud_init.rsyslog import RSYSLOG_CONF, RsyslogSettings, Target
from octavia.drivers.local import syslog


def test_no_socket_is_made_in_the_hosts_dev() -> None:
    conf = syslog.files()[syslog.SYSLOG_CONF].decode()
    assert 'module(load="imuxsock" SysSock.Use="off")' in conf


def test_what_leaves_is_decided_before_what_stays() -> None:
    conf = syslog.files()[syslog.SYSLOG_CONF].decode()
    assert conf.index(f'include(file="{RSYSLOG_CONF}"') < conf.index(":omfile:")


@pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="needs rsyslogd")
@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
@pytest.mark.parametrize("every", [True, False])
def test_rsyslogd_accepts_both_files_without_a_warning(tmp_path: Path, protocol: str, every: bool) -> None:
    targets = (Target("192.0.2.1", 514), Target("2001:db8::1", 514))
    settings = RsyslogSettings(
        tenant_log_targets=targets,
        admin_log_targets=targets,
        log_protocol=protocol,
        forward_all_logs=every,
        disable_local_log_storage=every,
    )
    files = {**syslog.files(), RSYSLOG_CONF: rsyslog.render(settings)}
    for name, content in files.items():
        path = tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.replace(b"/etc/", f"{tmp_path}/etc/".encode()))
    conf = tmp_path / syslog.SYSLOG_CONF[1:]
    done = subprocess.run(
        ["rsyslogd", "-N1", "-f", str(conf)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "config validation run" not in line]
    assert said == []
