# SPDX-License-Identifier: Apache-2.0
"""What a proxy in front says of the original request (RFC 7239, and the headers from before it).

To be believed only where the operator says that there is such a proxy: anybody can send these headers.
"""

from typing import Any, Final

_BEFORE_RFC_7239: Final = {
    "wsgi.url_scheme": "HTTP_X_FORWARDED_PROTO",
    "HTTP_HOST": "HTTP_X_FORWARDED_HOST",
    "REMOTE_ADDR": "HTTP_X_FORWARDED_FOR",
}
_RFC_7239: Final = {"wsgi.url_scheme": "proto", "HTTP_HOST": "host", "REMOTE_ADDR": "for"}


def believe(environ: dict[str, Any]) -> None:
    """Replace scheme, host, caller and prefix of a WSGI environment by what the first proxy saw."""
    forwarded = environ.get("HTTP_FORWARDED")
    if forwarded:
        pairs = (pair.partition("=") for pair in forwarded.partition(",")[0].split(";"))
        said = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        found = {key: said.get(name) for key, name in _RFC_7239.items()}
    else:
        found = {
            key: environ.get(name, "").partition(",")[0].strip() for key, name in _BEFORE_RFC_7239.items()
        }
    if found["wsgi.url_scheme"] not in {"http", "https"}:
        found["wsgi.url_scheme"] = None
    environ.update({key: value for key, value in found.items() if value})
    prefix = environ.get("HTTP_X_FORWARDED_PREFIX")
    if prefix:
        environ["SCRIPT_NAME"] = prefix.rstrip("/") + environ.get("SCRIPT_NAME", "")
