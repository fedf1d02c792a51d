# SPDX-License-Identifier: Apache-2.0
"""Entry points: read the configuration, wire the parts, run."""
