# SPDX-License-Identifier: Apache-2.0
"""The shape of each resource: one table of fields a resource, in the order of responses."""
