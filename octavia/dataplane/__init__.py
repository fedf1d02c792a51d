# SPDX-License-Identifier: Apache-2.0
"""Configuration of HAProxy and keepalived as pure text: model, render, parse, compare.

No file, socket or process is touched here: the amphora agent does that.
"""
