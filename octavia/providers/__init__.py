# SPDX-License-Identifier: Apache-2.0
"""Whoever makes load balancers real, by the name that a request chooses; octavia-lib's side of the service.

The amphora provider is ours under its three names; others are third parties' drivers, which are called here
and report through the driver agent (contract: provider-drivers.md).
"""
