# SPDX-License-Identifier: Apache-2.0
"""octavia.conf means what operators expect."""

import re
from pathlib import Path

import pytest
from oslo_config import cfg, generator

from octavia import config
from octavia.config import checks, standalone


def load(tmp_path: Path, text: str = "", **options: object) -> cfg.ConfigOpts:
    file = tmp_path / "octavia.conf"
    file.write_text(text)
    return config.load([], program="octavia-api", files=[str(file)], **options)  # type: ignore[arg-type]


def options() -> list[tuple[str, cfg.Opt]]:
    return [(section, option) for section, table in config.list_opts() for option in table]


@pytest.mark.parametrize(("written", "read"), [("1", 1), ("2.0", 2), ("0.25", 0.25)])
def test_advertisement_interval_is_an_integer_until_it_has_a_fraction(
    tmp_path: Path, written: str, read: float
) -> None:
    conf = load(tmp_path, f"[keepalived_vrrp]\nvrrp_version = 3\nvrrp_advert_int = {written}\n")
    assert (conf.keepalived_vrrp.vrrp_advert_int, type(conf.keepalived_vrrp.vrrp_advert_int)) == (
        read,
        type(read),
    )


def test_files_that_use_old_names_still_load(tmp_path: Path) -> None:
    conf = load(
        tmp_path,
        "[haproxy_amphora]\nactive_connection_rety_interval = 7\n"
        "[api_settings]\ntls_cipher_blacklist = RC4\n"
        "[health_manager]\nstats_update_driver = gone\n",
    )
    assert conf.haproxy_amphora.active_connection_retry_interval == 7
    assert conf.api_settings.tls_cipher_prohibit_list == "RC4"


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("amphora_agent", "admin_log_targets", "192.0.2.1:514, 192.0.2.2"),
        ("amphora_agent", "haproxy_drain_limit", "0"),
        ("amphora_agent", "haproxy_hard_stop_after", "1000000"),
        ("amphora_agent", "log_queue_size", "0"),
        ("amphora_agent", "log_retry_interval", "0"),
        ("amphora_agent", "tenant_log_targets", "192.0.2.1:70000"),
        ("amphora_agent", "tenant_log_targets", "[log.example.org]:514"),
        ("amphora_agent", "tenant_log_targets", "[fe80::1%eth0]:514"),
        ("amphora_agent", "tenant_log_targets", 'a"b:514'),
        ("api_settings", "auth_strategy", "none"),
        ("api_settings", "bind_port", "70000"),
        ("api_settings", "concurrent_updates", "maybe"),
        ("api_settings", "default_pool_tls_versions", "TLSv9"),
        ("certificates", "server_certs_key_passphrase", "too-short"),
        ("controller_worker", "loadbalancer_topology", "RING"),
        ("keepalived_vrrp", "vrrp_advert_int", "0"),
        ("keepalived_vrrp", "vrrp_version", "4"),
    ],
)
def test_a_value_outside_its_type_is_refused(tmp_path: Path, section: str, option: str, value: str) -> None:
    with pytest.raises((ValueError, cfg.ConfigFileValueError)):
        load(tmp_path, f"[{section}]\n{option} = {value}\n")[section][option]


def test_log_hosts_are_split_at_the_last_colon(tmp_path: Path) -> None:
    hosts = "192.0.2.1:514, [2001:DB8::1]:515, 2001:db8::2:516, log.example.org:517"
    conf = load(tmp_path, f"[amphora_agent]\ntenant_log_targets = {hosts}\n")
    assert conf.amphora_agent.tenant_log_targets == [
        ("192.0.2.1", 514),
        ("2001:db8::1", 515),
        ("2001:db8::2", 516),
        ("log.example.org", 517),
    ]
    assert conf.amphora_agent.admin_log_targets is None


def test_exactly_these_options_may_change_while_running() -> None:
    assert {(section, option.name) for section, option in options() if option.mutable} == {
        ("health_manager", "heartbeat_key"),
        ("health_manager", "controller_ip_port_list"),
        ("health_manager", "heartbeat_interval"),
        ("controller_worker", "loadbalancer_topology"),
    }


def test_everything_that_sounds_secret_is_masked_in_logs() -> None:
    public = {"ca_private_key"}  # a path
    for section, option in options():
        if option.name.endswith(("_key", "passphrase", "password")) and option.name not in public:
            assert option.secret, f"[{section}] {option.name}"


def test_every_option_is_explained() -> None:
    assert [(section, option.name) for section, option in options() if not option.help] == []


def test_the_sample_file_can_be_generated(tmp_path: Path) -> None:
    sample = tmp_path / "sample.conf"
    generator_conf = cfg.ConfigOpts()
    generator.register_cli_opts(generator_conf)
    generator_conf(["--namespace", "octavia", "--output-file", str(sample)], default_config_files=[])
    generator.generate(generator_conf)
    text = sample.read_text()
    for section, option in options():
        assert f"\n#{option.dest} =" in text, f"[{section}] {option.name}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[api_settings]\nminimum_tls_version = TLSv1.3\n", "default_listener_tls_versions"),
        (
            "[api_settings]\ntls_cipher_prohibit_list = AES:DHE-RSA-CHACHA20-POLY1305\n",
            "default_listener_ciphers",
        ),
        ("[keepalived_vrrp]\nvrrp_advert_int = 0.5\n", "vrrp_version"),
    ],
)
def test_a_contradiction_is_named(tmp_path: Path, text: str, names: str) -> None:
    with pytest.raises(checks.Contradiction, match=names):
        load(tmp_path, text)


def test_a_file_wins_over_a_program_s_default(tmp_path: Path) -> None:
    defaults = {("api_settings", "bind_port"): 1, ("health_manager", "bind_port"): 2}
    conf = load(tmp_path, "[api_settings]\nbind_port = 3\n", defaults=defaults)
    assert (conf.api_settings.bind_port, conf.health_manager.bind_port) == (3, 2)


def test_processes_do_not_share_a_configuration(tmp_path: Path) -> None:
    one = load(tmp_path, "[DEFAULT]\nhost = one\n")
    other = load(tmp_path, "[DEFAULT]\nhost = other\n")
    assert (one.host, other.host) == ("one", "other")


def test_standalone_listens_where_its_amphorae_send(tmp_path: Path) -> None:
    (tmp_path / "octavia.conf").write_text("[standalone]\nmanagement_cidr = 10.9.8.0/24\n")
    conf = config.load_standalone([], tmp_path)
    assert conf.health_manager.bind_ip == "10.9.8.1"
    assert conf.health_manager.controller_ip_port_list == ["10.9.8.1:5555"]
    assert conf.database.connection == f"sqlite:///{tmp_path}/octavia.db"


def test_networks_of_standalone_have_subnets_of_both_versions() -> None:
    plans = standalone.parse_networks(["a=10.0.0.0/24", "a/six=fd00::/64", "b = 10.0.1.0/24"])
    assert [(plan.network, plan.subnet, plan.cidr.version) for plan in plans] == [
        ("a", "a", 4),
        ("a", "six", 6),
        ("b", "b", 4),
    ]


@pytest.mark.parametrize(
    "items",
    [
        ["demo"],
        ["=10.0.0.0/24"],
        ["demo/=10.0.0.0/24"],
        ["demo=10.0.0.1/24"],  # host bits set
    ],
)
def test_networks_of_standalone_that_cannot_be_are_refused(items: list[str]) -> None:
    with pytest.raises(ValueError, match=r"networks|host bits"):
        standalone.parse_networks(items)


def test_what_becomes_of_every_option_of_the_api_is_told() -> None:
    page = (Path(__file__).parents[3] / "docs/operator/configuration.md").read_text()
    about = page[page.index("### Of the API") : page.index("### Of the others")]
    sections = ("api_settings", "healthcheck", "oslo_middleware", "cors", "quotas", "networking")
    names = [option.name for section, option in options() if section in (*sections, "oslo_messaging")]
    missing = [name for name in names if f"`{name}`" not in about]
    assert missing == []


def test_an_option_without_effect_exists() -> None:
    page = (Path(__file__).parents[3] / "docs/operator/configuration.md").read_text()
    about = page[page.index("### Of the others") : page.index("Gone, and ignored")]
    cells = (line.split("|")[2] for line in about.splitlines() if line.startswith("|"))
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named
    assert named <= {option.name for _, option in options()}


def test_old_names_of_the_middleware_still_load(tmp_path: Path) -> None:
    conf = load(tmp_path, "[DEFAULT]\nosapi_max_request_body_size = 5\n")
    assert conf.oslo_middleware.max_request_body_size == 5
