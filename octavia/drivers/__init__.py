# SPDX-License-Identifier: Apache-2.0
"""The world behind small typed contracts: one ``Protocol`` a family, each with a real, a local
and an in-memory implementation, and one contract test for all of them.

A driver translates its library's errors at its border into :class:`octavia.domain.errors.Transient`
and :class:`octavia.domain.errors.Terminal`. Every call has a timeout.
"""
