# SPDX-License-Identifier: Apache-2.0
"""The real controller in a simulated world: whole histories from a seed, invariants instead of examples.

How it is put together and how to add a rule is in ``docs/contributor/simulator.md``.
"""
