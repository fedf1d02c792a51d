# SPDX-License-Identifier: Apache-2.0
"""Tokens of Keystone, checked by keystonemiddleware (contract: api.md section 1.3).

The middleware is asked from inside of the application instead of standing before it: so its 401 carries a
request id and what browsers need, like every other answer. Which paths need no token is not here: see
:mod:`octavia.api.checked`.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from time import monotonic
from typing import Any, Final

import falcon
from keystoneauth1.exceptions import ClientException
from keystonemiddleware import auth_token
from oslo_config import cfg

from octavia.domain.errors import Terminal, Transient

_log = logging.getLogger(__name__)

GROUP: Final = "keystone_authtoken"
_CACHE: Final = "octavia.token_cache"
_SERVICE_TYPE: Final = "load-balancer"
_NO_ANSWER: Final = "The identity service does not answer: tokens cannot be checked just now."
_MOST_TOKENS: Final = 2_000  # with a large catalogue a token has about ten thousand bytes


class TokenCheck:
    """Asks the identity service about tokens, and remembers its answers for ``token_cache_time``.

    :raises Terminal: ``[keystone_authtoken]`` says not where to ask, or as whom.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        overrides: dict[str, Any] = {"oslo_config_config": conf}
        conf.register_opts([one for _, some in auth_token.list_opts() for one in some], group=GROUP)
        options = conf[GROUP]
        self._cache = None
        if not options.memcached_servers and not options.cache:
            self._cache = TokenCache()
            overrides["cache"] = _CACHE
        if options.delay_auth_decision:
            raise Terminal(f"[{GROUP}] delay_auth_decision would let everybody in: set it to False.")
        if not options.auth_type and not options.auth_section:
            raise Terminal(
                f"[{GROUP}] auth_type is not set: say there how to reach Keystone (auth_type, auth_url,"
                " username, password, project_name, …), or set [api_settings] auth_strategy = noauth."
            )
        # Application credentials may be restricted to paths of a service: this is which one we are.
        conf.set_default("service_type", _SERVICE_TYPE, group=GROUP)
        try:
            self._middleware = auth_token.AuthProtocol(_let_in, overrides)
        except Exception as why:  # plugins raise what they like
            raise Terminal(f"[{GROUP}] is not usable: {why}") from why

    def passes(self, req: falcon.Request, resp: falcon.Response) -> bool:
        """Has the request a valid token? Its environment then says whose, whatever it said before.

        False: the answer is complete.

        :raises Transient: the identity service does not answer.
        """
        environ = req.env
        if self._cache is not None:
            environ[_CACHE] = self._cache
        answer = _Answer()
        try:
            body = b"".join(self._middleware(environ, answer.start))
        except ClientException as error:
            _log.error("A token cannot be checked: %s", error)
            raise Transient(_NO_ANSWER) from error
        if answer.code == _LET_IN:
            return True
        if answer.code != falcon.HTTP_401.split(maxsplit=1)[0]:
            raise Transient(_NO_ANSWER)
        resp.status = answer.status
        for name, value in answer.headers:
            if name.lower() in ("www-authenticate", "content-type"):
                resp.set_header(name, value)
        resp.data = body
        resp.complete = True
        return False


class TokenCache:
    """What the identity service said about tokens, for all threads of this process.

    keystonemiddleware's own keeps a dictionary a thread, unbounded, and walks through all of it each time.
    The methods are the ones of a memcached client.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = _MOST_TOKENS) -> None:
        self._clock = clock
        self._most = most
        self._lock = Lock()
        self._tokens: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """What was said, if it still holds."""
        until, value = self._tokens.get(key, (0.0, b""))
        return value if until > self._clock() else None

    def set(self, key: str, value: bytes, time: float = 0) -> bool:
        """Remember for so many seconds."""
        with self._lock:
            self._tokens[key] = (self._clock() + time, value)
            self._tokens.move_to_end(key)
            if len(self._tokens) > self._most:
                self._tokens.popitem(last=False)
        return True


_LET_IN: Final = "204"


def _let_in(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What stands behind the middleware, as far as it knows."""
    start_response(f"{_LET_IN} No Content", [])
    return []


class _Answer:
    """What the middleware says."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []

    @property
    def code(self) -> str:
        """Of the status line."""
        return self.status.split(maxsplit=1)[0]

    def start(
        self, status: str, headers: list[tuple[str, str]], _exc_info: object = None
    ) -> Callable[..., None]:
        """WSGI's start_response."""
        self.status, self.headers = status, headers
        return lambda _: None
