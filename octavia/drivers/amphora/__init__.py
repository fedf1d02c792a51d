# SPDX-License-Identifier: Apache-2.0
"""The controller's side of the conversation with the agent in an amphora."""
