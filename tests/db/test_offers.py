# SPDX-License-Identifier: Apache-2.0
"""Flavors and availability zones on each database: unique names, references, shared locks."""

# ruff: noqa: F401  imported tests run here

from tests.api.conftest import api, make_api
from tests.api.test_load_balancers import (
    test_an_agents_configuration_is_asked_for_and_no_status_moves,
    test_only_a_failed_amphora_can_be_deleted,
)
from tests.api.test_offers import (
    pair,
    test_a_choice_that_is_deleted_meanwhile_leaves_nothing,
    test_a_flavor_decides_over_the_topology_and_the_provider,
    test_a_profile_in_use_can_only_be_renamed,
    test_create_show_list_update_delete,
    test_lists_can_be_sorted_filtered_and_cut,
    test_names_are_taken_once,
    test_the_placeholder_is_not_there,
    test_what_a_load_balancer_uses_stays,
)
