# SPDX-License-Identifier: Apache-2.0
"""The REST API: requests in, desired state out (contract: api.md).

:mod:`~octavia.api.app` has the table of URLs; a handler reads a request by its schema, asks
:mod:`octavia.domain.rules` for the new tree, saves it together with its work row and rings the doorbell.
Reads go through :mod:`octavia.db.views`. Making changes real is not here: see :mod:`octavia.worker`.
"""
