# SPDX-License-Identifier: Apache-2.0
"""What octavia.conf says of logs reaches the amphorae."""

from pathlib import Path

import pytest

from octavia import config
from octavia.dataplane.cloud_init.rsyslog import RSYSLOG_CONF
from octavia.domain.errors import Terminal
from octavia.worker.settings import WorkerSettings, from_config
from tests.unit.worker.test_reconcile import settled
from tests.unit.worker.world import controller


def settings(tmp_path: Path, lines: str) -> WorkerSettings:
    file = tmp_path / "octavia.conf"
    file.write_text(f"[health_manager]\nheartbeat_key = insecure\n[amphora_agent]\n{lines}\n")
    conf = config.load([], program="octavia-worker", files=[str(file)])
    return from_config(conf, owner="test")


def test_every_option_is_in_the_file(tmp_path: Path) -> None:
    made = settings(
        tmp_path,
        "tenant_log_targets = 192.0.2.1:514, [2001:db8::1]:1514\nadmin_log_targets = log.example.org:6514\n"
        "user_log_facility = 3\nadministrative_log_facility = 4\nlog_protocol = TCP\nlog_retry_count = 11\n"
        "log_retry_interval = 12\nlog_queue_size = 13\nforward_all_logs = True\n"
        "disable_local_log_storage = True",
    )
    text = made.rsyslog_conf.decode()
    for part in (
        'target="192.0.2.1" port="514"',
        'target="2001:db8::1" port="1514"',
        'target="log.example.org" port="6514"',
        "local3.=info call tenant_forwarding",
        "*.*;local3.none call admin_forwarding",
        'protocol="tcp"',
        'action.resumeRetryCount="11"',
        'action.resumeInterval="12"',
        'queue.size="13"',
        "\n*.* stop\n",
    ):
        assert part in text
    assert (made.haproxy.user_log_facility, made.agent.administrative_log_facility) == (3, 4)


def test_a_template_of_the_operators_replaces_it(tmp_path: Path) -> None:
    template = tmp_path / "mine.template"
    template.write_text("local{{ user_log_facility }}.* @{{ admin_log_targets[0].host }}\n")
    lines = f"admin_log_targets = 192.0.2.9:514\nlogging_template_override = {template}"
    assert settings(tmp_path, lines).rsyslog_conf == b"local0.* @192.0.2.9\n"
    template.unlink()
    with pytest.raises(Terminal, match=r"logging_template_override.*mine.template"):
        settings(tmp_path, lines)


def test_an_amphora_gets_it_when_it_is_made() -> None:
    with controller() as world:
        (row,) = world.amphorae(settled(world).id)
        assert row.compute_id
        given = world.compute.files(row.compute_id)[RSYSLOG_CONF]
        assert given == world.settings.rsyslog_conf != b""
