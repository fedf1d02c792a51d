# SPDX-License-Identifier: Apache-2.0
"""The load balancer tree, its statuses and its rules. Imports the standard library alone."""
