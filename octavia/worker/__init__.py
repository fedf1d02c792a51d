# SPDX-License-Identifier: Apache-2.0
"""Desired state → world: lease, load, observe, plan, steps, settle.

The worker is told *which* load balancer, never *what* to do. Create, update, delete, failover and
repair are one path with different differences (``docs/decisions/0001-reconcile.md``).
"""
