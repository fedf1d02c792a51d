# SPDX-License-Identifier: Apache-2.0
"""Certificates: those that amphorae and controllers show each other."""
