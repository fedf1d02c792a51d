# SPDX-License-Identifier: Apache-2.0
"""Every endpoint of the route table has a story."""

from importlib import import_module
from pathlib import Path

import falcon
import pytest

from octavia.api import app
from octavia.api.settings import ApiSettings
from tests.api.stories import TOLD

ROUTES = {**app.LBAAS, **{f"//v2.0/octavia{path}": methods for path, methods in app.OCTAVIA.items()}}
ENDPOINTS = sorted(f"{method} {path}" for path, methods in ROUTES.items() for method in methods)

for _file in Path(__file__).parent.glob("test_story_*.py"):
    if _file.stem != Path(__file__).stem:
        import_module(f"tests.api.{_file.stem}")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_has_a_story(endpoint: str) -> None:
    assert endpoint in TOLD


def test_no_story_tells_of_an_endpoint_that_there_is_not() -> None:
    assert set(ENDPOINTS) >= TOLD


def test_the_table_has_the_contracts_endpoints() -> None:
    # api.md section 26 counts 75: there /quotas/defaults is one of its own, and /statuses is an alias.
    assert len(ENDPOINTS) == 75 - 1 + 1


def test_each_endpoint_stands_in_both_trees_and_most_without_lbaas_too() -> None:
    table = app.routes(ApiSettings())
    for root in ("/v2", "/v2.0"):
        for path, methods in app.LBAAS.items():
            assert set(methods) <= set(table[f"{root}/lbaas{path}"]) & set(table[f"{root}{path}"])
            assert f"{root}/octavia{path}" not in table
        for path, methods in app.OCTAVIA.items():
            assert set(methods) <= set(table[f"{root}/octavia{path}"])
            assert f"{root}{path}" not in table
            assert f"{root}/lbaas{path}" not in table


def test_no_method_is_one_that_http_does_not_have() -> None:
    assert {endpoint.split()[0] for endpoint in ENDPOINTS} <= set(falcon.HTTP_METHODS)
