# SPDX-License-Identifier: Apache-2.0
"""World to statuses: heartbeats become operating statuses and statistics, silence becomes work.

Replacing an amphora is not here: the worker does that.
"""
