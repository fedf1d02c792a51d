# SPDX-License-Identifier: Apache-2.0
"""What the API lists, shows and writes, on each database: the API's own tests, on other ones than SQLite."""

# ruff: noqa: F401  imported tests run here, on the databases of this folder's fixtures

import pytest

from tests.api.conftest import Api, api, make_api
from tests.api.test_concurrency import (
    tree,
)
from tests.api.test_lists import (
    three,
    two_of_each,
)


def test_any_unicode_is_kept_and_found(api: Api) -> None:
    for name in ("ä", "Ä", "🐙", "日本", "a'b\"c\\d%_", " x"):
        lb = api.load_balancer(name=name, tags=[name])
        for query in ({"name": name}, {"tags": name}):
            found = api.get("/loadbalancers", params=query)["loadbalancers"]
            assert [one["id"] for one in found] == [lb["id"]]


@pytest.mark.parametrize("value", ["9" * 30, "-1", "1e3", "0x1", "½", "٣"])
def test_numbers_that_no_column_holds_find_nothing(api: Api, value: str) -> None:
    api.listener(api.load_balancer())
    assert api.get("/listeners", params={"protocol_port": value})["listeners"] == []
