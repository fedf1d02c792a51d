# SPDX-License-Identifier: Apache-2.0
"""Which logs of an amphora go where; that a real rsyslogd does so is shown in tests/netns."""

from dataclasses import replace

import pytest

from octavia.dataplane.cloud_init.rsyslog import BadTemplate, RsyslogSettings, Target, render

FIRST, SECOND = Target("192.0.2.1", 514), Target("2001:db8::1", 1514)


def text(template: str | None = None, **options: object) -> str:
    return render(replace(RsyslogSettings(), **options), template).decode()  # type: ignore[arg-type]


def test_with_no_host_and_nothing_forbidden_there_is_nothing_to_say() -> None:
    assert text() == "# Octavia: which logs leave this amphora.\n"


def test_tenants_logs_are_one_facility_at_exactly_info() -> None:
    said = text(tenant_log_targets=[FIRST], user_log_facility=5)
    assert said.endswith("\nlocal5.=info call tenant_forwarding\n")
    assert "admin_forwarding" not in said


def test_the_second_host_is_for_when_the_first_is_suspended() -> None:
    said = text(
        tenant_log_targets=[FIRST, SECOND],
        log_protocol="TCP",
        log_retry_count=7,
        log_retry_interval=3,
        log_queue_size=99,
    )
    queue, first, second = said.split("action(type")
    assert 'queue.type="LinkedList" queue.size="99"' in queue
    assert '="omfwd" target="192.0.2.1" port="514"' in first
    assert '="omfwd" target="2001:db8::1" port="1514"' in second
    for action in (first, second):
        assert 'protocol="tcp"' in action
        assert 'action.resumeRetryCount="7"' in action
        assert 'action.resumeInterval="3"' in action
    assert "execOnlyWhenPreviousIsSuspended" not in first
    assert 'action.execOnlyWhenPreviousIsSuspended="on"' in second


@pytest.mark.parametrize(("every", "chosen"), [(False, "local6.*"), (True, "*.*;local2.none")])
def test_the_operator_gets_one_facility_or_all_but_the_tenants(every: bool, chosen: str) -> None:
    said = text(
        admin_log_targets=[FIRST],
        forward_all_logs=every,
        user_log_facility=2,
        administrative_log_facility=6,
    )
    assert said.endswith(f"\n{chosen} call admin_forwarding\n")
    assert "tenant_forwarding" not in said


def test_nothing_is_kept_after_it_was_forwarded() -> None:
    said = text(tenant_log_targets=[FIRST], admin_log_targets=[FIRST], disable_local_log_storage=True)
    assert said.endswith("call admin_forwarding\n*.* stop\n")


def test_no_host_becomes_a_directive() -> None:
    with pytest.raises(ValueError, match="is no host"):
        text(tenant_log_targets=[Target('x" port="1") action(type="omprog', 514)])


def test_an_operators_template_is_given_the_options_by_name() -> None:
    template = "{% for one in tenant_log_targets %}*.* @{{ one.host }}:{{ one.port }}\n{% endfor %}"
    template += "{{ log_protocol }}\n"
    assert text(template, tenant_log_targets=[FIRST]) == "*.* @192.0.2.1:514\nUDP\n"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ no_such_option }}", "no_such_option"),
        ("{% if %}", "Expected an expression"),
        ("{{ tenant_log_targets.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_with_a_mistake_says_which(template: str, why: str) -> None:
    with pytest.raises(BadTemplate, match=why):
        text(template)
