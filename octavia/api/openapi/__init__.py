# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: the tables of URLs and of shapes, told in the words of OpenAPI 3.1.

Nothing about a field or a URL is written here: shapes come from :mod:`octavia.api.schemas`, paths from the
application's routes, what can be filtered by from :mod:`octavia.db.views`. What stands here is what those
tables do not know: which codes a call can answer (``operations``), and the frame (``document``).
"""
