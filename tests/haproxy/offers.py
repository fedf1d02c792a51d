# SPDX-License-Identifier: Apache-2.0
"""A load balancer over REST that takes a string wherever a tenant may write one, or refuses it.

Which fields there are follows from the tables of the API: a new one is offered every string from its
first day.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from octavia.api.schemas.fields import Schema
from octavia.api.schemas.health_monitor import HEALTH_MONITOR
from octavia.api.schemas.l7_policy import L7_POLICY
from octavia.api.schemas.l7_rule import L7_RULE
from octavia.api.schemas.listener import LISTENER
from octavia.api.schemas.load_balancer import LOAD_BALANCER
from octavia.api.schemas.member import MEMBER
from octavia.api.schemas.pool import POOL
from octavia.api.schemas.types import JsonSchema, schema_of
from octavia.api.settings import ApiSettings
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.db.tree.loading import load
from octavia.domain.tree import LoadBalancer, RuleType
from tests.api.conftest import Api
from tests.unit.dataplane.tls_samples import store

# What makes a string worth a thought where it alone would be refused for its beginning.
DRESSED: Final = {
    "redirect_url": ("{}", "https://a.example/{}", "https://{}.example/"),
    "redirect_prefix": ("{}", "http://a.example{}"),
    "url_path": ("{}", "/{}", "/a?b={}"),
    "domain_name": ("{}", "{}.example"),
    "expected_codes": ("{}", "200,{}"),
    "tls_ciphers": ("{}", "ECDHE-ECDSA-AES128-GCM-SHA256:{}"),
    "value": ("{}", '"{}"'),
}


class Offers:
    """The load balancer, its objects, and the way back to how they were."""

    def __init__(self) -> None:
        self.certificates = store()
        engine = create_engine("sqlite://")
        t.metadata.create_all(engine)
        self.api = Api(Database(engine), ApiSettings(), certificates=self.certificates)
        self.targets: list[tuple[str, Schema]] = []
        self._lb_id = self._fill()
        self._engine = engine
        connection: Any = engine.raw_connection().driver_connection
        self._database = connection
        self._saved = sqlite3.connect(":memory:")
        self._database.backup(self._saved)

    def close(self) -> None:
        self._saved.close()
        self._engine.dispose()

    def accepted(self, text: str) -> tuple[LoadBalancer, list[str]]:
        """The tree with the string wherever the API took it, and where that was."""
        self._saved.backup(self._database)
        taken = [
            f"{path} {', '.join(values)}"
            for path, schema in self.targets
            for values in written(schema, text)
            if self._takes("PUT", path, {schema.root: values})
        ]
        members = f"/pools/{self._pool_id}/members"
        for field in ("address", "monitor_address", "subnet_id"):
            body = {"address": "192.0.2.9", "protocol_port": 9} | {field: text}
            if self._takes("POST", members, {"member": body}):
                taken.append(f"{members} {field}")
        with self.api.database.read() as tx:
            lb = load(tx, self._lb_id)
        assert lb is not None
        created = {"vip_subnet_id": self.api.subnet, "project_id": text}
        if self._takes("POST", "/loadbalancers", {"loadbalancer": created}):
            lb = replace(lb, project_id=text)
            taken.append("/loadbalancers project_id")
        return lb, taken

    def _takes(self, method: str, path: str, body: Any) -> bool:
        text = json.dumps(body).encode()  # in ASCII: half a surrogate pair can be written so, too
        result = self.api.request(method, path, text, headers={"Content-Type": "application/json"})
        assert result.status_code in (200, 201, 400, 404, 413), (path, body, result.text)
        return result.status_code < 300

    def _fill(self) -> str:
        api = self.api
        lb = api.load_balancer()
        pool = api.pool(lb, session_persistence={"type": "APP_COOKIE", "cookie_name": "sid"})
        secure = api.pool(lb, tls_enabled=True, tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
        plain = api.listener(lb, default_pool_id=pool["id"])
        site = api.listener(
            lb,
            protocol="TERMINATED_HTTPS",
            protocol_port=443,
            default_tls_container_ref="site",
            default_pool_id=secure["id"],
        )
        datagrams = api.pool(lb, protocol="UDP")
        served = api.listener(lb, protocol="UDP", protocol_port=53, default_pool_id=datagrams["id"])
        monitors = [
            api.monitor(pool, http_version=1.1, domain_name="a.example"),
            api.monitor(datagrams),
        ]
        self._pool_id = pool["id"]
        self.targets = [(f"/pools/{one['id']}", POOL) for one in (pool, secure, datagrams)]
        self.targets += [(f"/listeners/{one['id']}", LISTENER) for one in (plain, site, served)]
        self.targets += [(f"/healthmonitors/{one['id']}", HEALTH_MONITOR) for one in monitors]
        for one in (pool, secure, datagrams):
            made = api.member(one)
            self.targets.append((f"/pools/{one['id']}/members/{made['id']}", MEMBER))
        for number, (action, target) in enumerate(
            (
                ("REDIRECT_TO_URL", {"redirect_url": "https://a.example/"}),
                ("REDIRECT_PREFIX", {"redirect_prefix": "https://a.example"}),
                ("REDIRECT_TO_POOL", {"redirect_pool_id": pool["id"]}),
            )
        ):
            policy = api.policy(plain if number else site, action=action, **target)
            api.rule(policy)
            self.targets.append((f"/l7policies/{policy['id']}", L7_POLICY))
        for values in _rules():
            # Each in a policy of its own: a policy goes with its rule.
            policy = api.policy(plain)
            rule = api.rule(policy, **values)
            self.targets.append((f"/l7policies/{policy['id']}/rules/{rule['id']}", L7_RULE))
        self.targets.append((f"/loadbalancers/{lb['id']}", LOAD_BALANCER))
        api.settle()
        return str(lb["id"])


def _rules() -> Iterator[dict[str, Any]]:
    keys = {RuleType.HEADER: "X-A", RuleType.COOKIE: "sid", RuleType.SSL_DN_FIELD: "CN"}
    for type_ in RuleType:
        key = {"key": keys[type_]} if type_ in keys else {}
        if type_ is RuleType.SSL_CONN_HAS_CERT:
            yield {"type": type_, "compare_type": "EQUAL_TO", "value": "True"}
        elif type_ is RuleType.SSL_VERIFY_RESULT:
            yield {"type": type_, "compare_type": "EQUAL_TO", "value": "1"}
        else:
            yield {"type": type_, "compare_type": "EQUAL_TO", "value": "x", **key}
            yield {"type": type_, "compare_type": "REGEX", "value": "x", **key}


def written(schema: Schema, text: str) -> Iterator[dict[str, Any]]:
    """Updates that a string fits into."""
    fields = {one.name: one for one in schema.fields if one.type and one.update}
    if "name" in fields:  # nothing is asked of these but their length
        yield {"tags": [text], **{name: text for name in ("name", "description") if name in fields}}
    for field in fields.values():
        if field.name not in ("name", "description", "tags") and field.type is not None:
            for dress in DRESSED.get(field.name, ("{}",)):
                worn = dress.replace("{}", text)
                yield from ({field.name: one} for one in _shaped(field.name, schema_of(field.type), worn))


def _shaped(name: str, kind: JsonSchema, text: str) -> Iterator[Any]:
    if name == "session_persistence":
        yield {"type": "APP_COOKIE", "cookie_name": text}
        yield {"type": "SOURCE_IP", "persistence_granularity": text}
    elif kind.get("type") == "string":
        yield text
    elif kind.get("type") == "array":
        yield [text]
    elif kind.get("type") == "object":
        yield {text: "true", "X-Forwarded-For": text}
