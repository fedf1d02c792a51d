# SPDX-License-Identifier: Apache-2.0
"""What the operator decides about the way to the API: sizes, proxies, health."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from oslo_config import cfg

from octavia import config
from octavia.api import health
from octavia.api.health import Health
from octavia.domain.errors import Terminal
from tests.api.conftest import Api

MakeApi = Callable[..., Api]


def conf_with(tmp_path: Path, text: str) -> cfg.ConfigOpts:
    file = tmp_path / "octavia.conf"
    file.write_text(text)
    return config.load(["--config-file", str(file)], program="octavia-api")


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_may_be_as_long_as_the_operator_says(make_api: MakeApi, more: int) -> None:
    api = make_api(max_request_body_size=200)
    body = b'{"pool": {}}'.ljust(200 + more)
    headers = {"Content-Type": "application/json"}
    result = api.request("POST", "/pools", body, headers=headers)
    assert result.status_code == (413 if more else 400)
    if more:
        assert "at most 200 bytes" in result.json["faultstring"]


PROXY = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "api.example.com",
    "X-Forwarded-Prefix": "/load-balancer",
}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (PROXY, "https://api.example.com/load-balancer/v2"),
        (
            {"Forwarded": 'for=192.0.2.1;proto=https;host="a.example.com", for=10.0.0.1'},
            "https://a.example.com/v2",
        ),
        ({"X-Forwarded-Proto": "javascript"}, "http://falconframework.org/v2"),
    ],
)
def test_links_are_as_the_proxys_clients_see_them(
    make_api: MakeApi, headers: dict[str, str], expected: str
) -> None:
    def link(api: Api) -> str:
        return str(api.get("//", headers=headers)["versions"][0]["links"][0]["href"])

    assert link(make_api(enable_proxy_headers_parsing=True)) == expected
    assert link(make_api()) == "http://falconframework.org/v2", "anybody can send such headers"


def healthcheck(make_api: MakeApi, **options: object) -> Callable[..., tuple[int, str]]:
    api = make_api(healthcheck_enabled=True, health=Health(**options))  # type: ignore[arg-type]

    def ask(**headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        result = api.request("GET", "//healthcheck", headers=named, remote_addr="192.0.2.7", port=8080)
        return result.status_code, result.text

    return ask


def test_a_file_takes_a_process_out_of_service(make_api: MakeApi, tmp_path: Path) -> None:
    file = tmp_path / "maintenance"
    ask = healthcheck(make_api, backends=("disable_by_file",), disable_by_file_path=file)
    assert ask() == (200, "OK")
    file.touch()
    assert ask() == (503, "DISABLED BY FILE")


def test_a_file_takes_one_port_out_of_service(make_api: MakeApi, tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    paths = (("8080", here), ("9876", elsewhere))
    ask = healthcheck(make_api, backends=("disable_by_files_ports",), disable_by_file_paths=paths)
    elsewhere.touch()
    assert ask() == (200, "OK")
    here.touch()
    assert ask() == (503, "DISABLED BY FILE")


def test_files_put_a_process_into_service(make_api: MakeApi, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    ask = healthcheck(make_api, backends=("enable_by_files",), enable_by_file_paths=(one, other))
    one.touch()
    assert ask() == (503, "FILE PATH MISSING")
    other.touch()
    assert ask() == (200, "OK")


def test_details_are_told_when_the_operator_says_so(make_api: MakeApi, tmp_path: Path) -> None:
    backends = ("octavia_db_check", "enable_by_files")
    missing = (tmp_path / "missing",)
    ask = healthcheck(make_api, backends=backends, enable_by_file_paths=missing, detailed=True)
    assert ask() == (503, "octavia_db_check: OK\nenable_by_files: FILE PATH MISSING")
    assert str(tmp_path) not in ask(Accept="application/json")[1]


def test_strangers_are_told_nothing(make_api: MakeApi) -> None:
    assert healthcheck(make_api, allowed_source_ranges=(ip_network("192.0.2.0/24"),))()[0] == 200
    assert healthcheck(make_api, allowed_source_ranges=(ip_network("198.51.100.0/24"),))()[0] == 404
    ask = healthcheck(make_api, ignore_proxied_requests=True)
    assert ask()[0] == 200
    assert ask(X_Forwarded_For="192.0.2.7")[0] == 404


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("allowed_source_ranges = 192.0.2.1/24", "allowed_source_ranges"),
        ("disable_by_file_paths = /tmp/off", "disable_by_file_paths"),
        ("backends = enable_by_files, disable_by_file", "exclude each other"),
    ],
)
def test_a_health_check_that_cannot_be_is_refused_at_the_start(tmp_path: Path, text: str, names: str) -> None:
    with pytest.raises(Terminal, match=names):
        health.from_config(conf_with(tmp_path, f"[healthcheck]\n{text}\n"))


def test_the_section_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = "backends = disable_by_files_ports\ndisable_by_file_paths = 80:/a,443:/b\ndetailed = True\n"
    made = health.from_config(conf_with(tmp_path, f"[healthcheck]\n{text}"))
    assert made.disable_by_file_paths == (("80", Path("/a")), ("443", Path("/b")))
    assert (made.backends, made.detailed) == (("disable_by_files_ports",), True)
    assert health.from_config(conf_with(tmp_path, "")) == Health()
