# SPDX-License-Identifier: Apache-2.0
"""Octavia: operator-scale load balancing as a service for OpenStack."""
