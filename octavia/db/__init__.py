# SPDX-License-Identifier: Apache-2.0
"""The database: the one place that knows SQL.

Desired state (:mod:`~octavia.db.tree`), the work queue (:mod:`~octavia.db.work`), the one writer of
statuses (:mod:`~octavia.db.statuses`), amphorae, reservations, statistics, what the API lists
(:mod:`~octavia.db.views`). Transactions are short and never surround a call to the outside.
"""
