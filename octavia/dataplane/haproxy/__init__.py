# SPDX-License-Identifier: Apache-2.0
"""HAProxy: the model of its configuration, rendering, comparing, and the words of its runtime socket."""
