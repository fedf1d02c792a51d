# SPDX-License-Identifier: Apache-2.0
"""What the API lists, shows and writes, on each database: the API's own tests with this folder's fixtures."""

# ruff: noqa: F401, F811  imported tests run here; pytest's fixtures are arguments

import pytest

from tests.api.conftest import Api, api, make_api
from tests.api.test_concurrency import (
    test_a_write_marks_what_the_contract_says_and_all_under_one_generation,
    test_what_is_on_its_way_out_leaves_its_place_to_another,
    tree,
)
from tests.api.test_graph import (
    test_a_thousand_members_fit_into_one_request,
    test_everything_in_one_request_comes_back_whole,
    test_policies_and_rules_come_with_their_listeners,
)
from tests.api.test_l7 import (
    ground,
    test_a_deleted_listener_takes_policies_and_rules_along,
    test_a_moved_policy_pushes_the_others_and_touches_none_of_them,
    test_a_pool_knows_the_listeners_whose_policies_can_lead_to_it,
    test_a_pool_that_a_policy_leads_to_stays,
    test_positions_close_up_when_a_policy_is_really_gone,
)
from tests.api.test_lists import (
    test_a_list_can_be_sorted_filtered_and_cut,
    test_a_list_that_cannot_be_asked_for,
    test_filters_of_children,
    test_links_lead_through_all_pages_and_keep_the_query,
    test_the_number_of_queries_does_not_grow,
    test_the_previous_page_ends_just_before_the_marker,
    three,
    two_of_each,
)
from tests.api.test_load_balancers import (
    test_amphorae_are_shown_and_filtered,
    test_failover_stamps_the_amphorae_that_are_there,
    test_statistics_add_up_and_only_live_amphorae_have_connections,
    test_the_status_tree_has_exactly_the_keys_that_clients_compare,
)
from tests.api.test_quotas import (
    enforcing,
    test_a_graph_is_counted_whole_and_nothing_of_it_is_left,
    test_each_resource_has_its_limit,
    test_limits_are_set_and_go_back_to_the_defaults,
    test_the_list_has_the_projects_with_a_record_and_can_be_cut_and_filtered,
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
