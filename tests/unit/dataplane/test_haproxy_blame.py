# SPDX-License-Identifier: Apache-2.0
"""HAProxy's complaints, as a tenant reads them."""

from octavia.dataplane.haproxy.blame import words

CFG = "/run/amphora/lib/64038b8c-4900-48c8-b9a3-f162e6e4d257/haproxy.cfg"


def test_a_complaint_is_told_once_and_without_places_that_a_tenant_cannot_see() -> None:
    cipher = "Proxy 'p': unable to set SSL cipher list to 'NOSUCH' for bind '198.19.16.4:443' at"
    output = (
        "[NOTICE]   (112) : haproxy version is 2.6.12-1+deb12u4\n"
        f"[ALERT]    (112) : config : {cipher} [{CFG}.new:51].\n"
        f"{cipher} [{CFG}.new:51].\n"
        "[ALERT]    (112) : config : Fatal errors found in configuration.\n"
    )
    assert words(output) == f"{cipher} [haproxy.cfg:51]."


def test_every_complaint_is_told() -> None:
    said = "error detected while parsing ACL 'x' : regex '(' is invalid (error=missing closing parenthesis)"
    output = (
        f"[ALERT]    (7) : config : parsing [{CFG}.trial:10] : {said}\n"
        f"[ALERT]    (7) : config : parsing [{CFG}.trial:11] : error detected while parsing a condition\n"
        f"[ALERT]    (7) : config : Error(s) found in configuration file : {CFG}.trial\n"
        "[ALERT]    (7) : config : Fatal errors found in configuration.\n"
    )
    assert words(output) == (
        f"parsing [haproxy.cfg:10] : {said};"
        " parsing [haproxy.cfg:11] : error detected while parsing a condition"
    )


def test_what_is_no_complaint_stays_as_it_is() -> None:
    assert words("no new worker after a reload") == "no new worker after a reload"
