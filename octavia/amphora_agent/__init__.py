# SPDX-License-Identifier: Apache-2.0
"""Inside the amphora: a REST server, HAProxy, keepalived, interfaces, heartbeats.

One process, threads, few imports: what it uses is taken from the tenant's traffic. It imports
``dataplane``, ``wire`` and ``domain``, cheroot, and the standard library.
"""
