# SPDX-License-Identifier: Apache-2.0
"""What controller and amphora say to each other: heartbeat datagrams, agent paths, payloads, versions."""
