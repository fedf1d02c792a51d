# SPDX-License-Identifier: Apache-2.0
"""Modules that WSGI servers import."""

import octavia.cmd as _cmd  # keeps Eventlet out before anything else is imported

__all__: list[str] = []
del _cmd
