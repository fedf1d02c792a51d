# SPDX-License-Identifier: Apache-2.0
"""Routes, bodies and errors, without a network."""

import io
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.amphora_agent.handlers import Handlers, routes
from octavia.amphora_agent.http import Application, Request, Response, Route


def ask(
    application: Application, method: str, path: str, body: bytes = b"", **environ: Any
) -> tuple[int, Any, dict[str, str]]:
    begun: list[Any] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **environ,
    }
    text = b"".join(application(environ, lambda status, headers: begun.extend((status, dict(headers)))))
    status, headers = begun
    is_json = headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(text)
    return int(status.split()[0]), json.loads(text) if is_json else text.decode(), headers


def echo(request: Request, **words: str) -> Response:
    return Response(200, {"words": words, "body": request.text(limit=10)})


def explode(request: Request) -> Response:
    raise RuntimeError(request.path)


APPLICATION = Application(
    [
        Route("PUT", "/vrrp/upload", lambda _: Response(200, "uploaded")),
        Route("PUT", "/vrrp/{action}", echo),
        Route("GET", "/explode", explode),
    ]
)


def test_the_first_route_wins() -> None:
    assert ask(APPLICATION, "PUT", "/vrrp/upload")[:2] == (200, "uploaded")
    assert ask(APPLICATION, "PUT", "/vrrp/start")[1]["words"] == {"action": "start"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", b"", 404),
        ("GET", "/vrrp/start", b"", 405),
        ("PUT", "/vrrp/a/b", b"", 404),
        ("PUT", "/vrrp/", b"", 404),
        ("PUT", "/vrrp/x", b"12345678901", 413),
        ("PUT", "/vrrp/x", b"\xff", 400),
        ("GET", "/explode", b"", 500),
    ],
)
def test_errors_of_http_have_the_contracts_shape(method: str, path: str, body: bytes, status: int) -> None:
    answered, document, _ = ask(APPLICATION, method, path, body)
    assert answered == status
    assert document["http_code"] == status
    assert isinstance(document["error"], str)


def test_a_body_without_a_length_is_none() -> None:
    environ: dict[str, Any] = {"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(b"GET / HTTP/1.1")}
    assert ask(APPLICATION, "PUT", "/vrrp/x", **environ)[1]["body"] == ""


@pytest.mark.parametrize(
    ("length", "status"), [("4", 200), ("5", 400), ("11", 413), ("-1", 400), ("\u0665", 400)]
)
def test_a_length_that_lies_is_refused(length: str, status: int) -> None:
    environ: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input": io.BytesIO(b"abcd")}
    assert ask(APPLICATION, "PUT", "/vrrp/x", **environ)[0] == status


@given(st.text(st.characters(max_codepoint=255)), st.sampled_from(["GET", "PUT", "POST", "DELETE", "X"]))
def test_any_path_gets_an_answer(path: str, method: str) -> None:
    assert ask(APPLICATION, method, path)[0] in (200, 404, 405, 500)


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "٣", "9" * 30, ""])
def test_a_fence_is_a_number(value: str) -> None:
    application = Application([Route("PUT", "/x", lambda one: Response(200, one.number("X-Octavia-Fence")))])
    assert ask(application, "PUT", "/x", HTTP_X_OCTAVIA_FENCE=value)[0] == 400
    assert ask(application, "PUT", "/x", HTTP_X_OCTAVIA_FENCE="7")[1] == 7
    assert ask(application, "PUT", "/x")[1] is None


class _Nobody:
    """An agent that nothing may be asked of: what is refused is refused before."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the agent was asked for {name}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/1.0/loadbalancer/..%2f..%2fetc/certificates/x.pem"),
        ("GET", "/1.0/loadbalancer/../haproxy"),
        ("DELETE", "/1.0/listeners/.."),
        ("DELETE", "/1.0/listeners/11111111-1111-4111-8111-11111111111"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/certificates/../x.pem"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/certificates/..pem"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/certificates/a..b.pem"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/certificates/.a.pem"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/certificates/a.pem\n"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/certificates/a b.pem"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/certificates/a.key"),
        ("PUT", "/1.0/loadbalancer/11111111-1111-4111-8111-111111111111/explode"),
        ("POST", "/1.0/plug/vip/eth0;reboot"),
        ("GET", "/1.0/interface/eth0"),
        ("PUT", "/1.0/vrrp/explode"),
    ],
)
def test_a_name_that_could_leave_its_directory_touches_nothing(method: str, path: str) -> None:
    application = Application(routes(Handlers(cast(Any, _Nobody()))))
    assert ask(application, method, path)[0] in (400, 404)


def test_discovery_needs_no_version() -> None:
    application = Application(routes(Handlers(cast(Any, _Nobody()))))
    assert ask(application, "GET", "/")[:2] == (200, {"api_version": "1.0"})
