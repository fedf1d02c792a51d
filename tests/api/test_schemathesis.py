# SPDX-License-Identifier: Apache-2.0
"""The API keeps what its OpenAPI document promises, whatever is sent that the document allows or forbids.

Each request meets the same small deployment, restored before it, so that ids in paths and bodies lead
somewhere. ``OCTAVIA_API_EXAMPLES`` sets how many random requests each operation gets besides the boundary
values of every field; ``OCTAVIA_API_SEED`` plays a printed seed again.
"""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import CheckContext
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.specs.openapi import checks

from octavia.api import app
from octavia.api.openapi import document
from octavia.api.settings import ApiSettings
from tests import luck
from tests.api.deployment import Deployment

EXAMPLES = int(os.environ.get("OCTAVIA_API_EXAMPLES", "6"))
SEED = luck.seed("OCTAVIA_API_SEED")


def only_told_server_errors(_ctx: CheckContext, response: Response, case: Any) -> None:
    """501 and 503 say something that the client can use; 500 is a defect of ours."""
    assert response.status_code < 500 or response.status_code in (501, 503), (case.body, response.text)


def tells(response: Response, case: Any, words: str) -> bool:
    """Does the answer say it, and not repeat it? Hypothesis draws from the texts of our own modules too."""
    return words in response.text and words not in unquote(f"{case.path_parameters} {case.query} {case.body}")


def tells_nothing_of_the_inside(_ctx: CheckContext, response: Response, case: Any) -> None:
    if response.status_code < 400:
        return
    for word in ("Traceback", "sqlite", "[SQL", 'File "', "site-packages"):
        assert not tells(response, case, word), response.text


def allows_nothing_that_is_refused_for_its_type(_ctx: CheckContext, response: Response, case: Any) -> None:
    """A valid body may break a rule of the domain, but each field is what the tables want."""
    if case.meta and case.meta.generation.mode.is_positive and response.status_code == 400:
        for words in ("Invalid input for field/attribute", "Unknown attribute", "Mandatory field missing"):
            assert not tells(response, case, words), (case.body, response.text)


CHECKS = [
    only_told_server_errors,
    allows_nothing_that_is_refused_for_its_type,
    tells_nothing_of_the_inside,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
SETTINGS = ApiSettings(healthcheck_enabled=True)
CONFIG = SchemathesisConfig()
# Methods that a path lacks are asked for in test_surface.
CONFIG.projects.default.phases.coverage.unexpected_methods = set()
# JSON Schema has no short word for "text without NUL"; test_hostile_fields sends it.
CONFIG.projects.default.generation.allow_x00 = False
SCHEMA = schemathesis.openapi.from_dict(document.write(app.routes(SETTINGS), SETTINGS), config=CONFIG)


def application(environ: Any, start_response: Any) -> Any:
    """Schemathesis wants it when tests are collected; the fixture makes what is behind it."""
    return DEPLOYED[0](environ, start_response)


DEPLOYED: list[Any] = []
SCHEMA.app = application
schemathesis.openapi.format("cidr", st.sampled_from(["192.0.2.0/24", "192.0.2.7", "::/0", "2001:db8::1/64"]))
QUIET = settings(
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    print(f"OCTAVIA_API_SEED={SEED}")  # noqa: T201 - shown when a test fails
    made = Deployment(SETTINGS)
    DEPLOYED[:] = [made.application()]
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert "Traceback" not in caplog.text


@SCHEMA.parametrize()
@seed(SEED)
@settings(QUIET, max_examples=EXAMPLES)
def test_every_answer_is_a_documented_one(case: Any, deployment: Deployment) -> None:
    deployment.restore()
    deployment.aim(case)
    case.call_and_validate(checks=CHECKS)


def test_what_was_created_can_be_followed(deployment: Deployment) -> None:
    """Create, then show, change and delete what came of it, by the document's links."""
    followed: set[str] = set()

    class Machine(SCHEMA.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            deployment.restore()

        def before_call(self, case: Any) -> None:
            if case.operation.method == "post":
                deployment.aim(case, always=True)

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)
            if response.status_code < 300:
                followed.add(case.operation.definition.raw["operationId"])

    seed(SEED)(Machine.TestCase)
    run_state_machine_as_test(
        Machine, settings=settings(QUIET, max_examples=EXAMPLES * 5, stateful_step_count=6)
    )
    assert {one for one in followed if one.startswith("create")}
    assert {one for one in followed if one.startswith(("show", "update", "delete"))}
