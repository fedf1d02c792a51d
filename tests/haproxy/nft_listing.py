# SPDX-License-Identifier: Apache-2.0
"""What ``nft -j list ruleset`` has to say of a table: by what each node means, not by its text."""

import contextlib
import json
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from octavia.dataplane.l4.ruleset import (
    AddressMap,
    Count,
    CountBy,
    Counter,
    DrawMark,
    FlowSet,
    Goto,
    GotoBy,
    LimitFlows,
    Match,
    Named,
    Recall,
    Remember,
    SetMark,
    Source,
    SourceMap,
    Statement,
    Table,
    Translate,
)
from octavia.dataplane.l4.words import Data, Do, Draw, Hook, Key, Value

_KEYS = {
    Key.PROTOCOL: {"meta": {"key": "l4proto"}},
    Key.VERSION: {"meta": {"key": "nfproto"}},
    Key.PORT: {"payload": {"protocol": "th", "field": "dport"}},
    Key.SOURCE4: {"payload": {"protocol": "ip", "field": "saddr"}},
    Key.SOURCE6: {"payload": {"protocol": "ip6", "field": "saddr"}},
    Key.TARGET4: {"payload": {"protocol": "ip", "field": "daddr"}},
    Key.TARGET6: {"payload": {"protocol": "ip6", "field": "daddr"}},
    Key.ICMPV6: {"payload": {"protocol": "icmpv6", "field": "type"}},
    Key.DIRECTION: {"ct": {"key": "direction"}},
    Key.MARK: {"ct": {"key": "mark"}},
    Key.ORIGINAL_PORT: {"ct": {"key": "proto-dst", "dir": "original"}},
    Key.ORIGINAL_TARGET4: {"ct": {"key": "ip daddr", "dir": "original"}},
    Key.ORIGINAL_TARGET6: {"ct": {"key": "ip6 daddr", "dir": "original"}},
}
_HOOKS = {
    Hook.RAW_IN: ("filter", "prerouting", -300),
    Hook.RAW_OUT: ("filter", "output", -300),
    Hook.MANGLE_IN: ("filter", "prerouting", -150),
    Hook.FILTER_OUT: ("filter", "output", 0),
    Hook.TRANSLATE_IN: ("nat", "prerouting", -100),
    Hook.TRANSLATE_OUT: ("nat", "postrouting", 100),
}
_DRAWS: dict[Draw, dict[str, Any]] = {
    Draw.IN_TURN: {"numgen": {"mode": "inc", "offset": 0}},
    Draw.BY_LOT: {"numgen": {"mode": "random", "offset": 0}},
    Draw.BY_SOURCE4: {"jhash": {"expr": _KEYS[Key.SOURCE4]}},
    Draw.BY_SOURCE6: {"jhash": {"expr": _KEYS[Key.SOURCE6]}},
}
_REFUSED = {"reject": {"type": "icmpx", "expr": "port-unreachable"}}
_MARK = _KEYS[Key.MARK]


def meant(table: Table) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """As :func:`listed` gives it: objects, hooks of chains, rules of chains."""
    objects = [(Named(one.kind, name), _object(one)) for name, one in table.objects.items()]
    objects += [(Named("map", name), _object(one)) for name, one in table.addresses.items()]
    hooks = {name: _HOOKS[one.hook] if one.hook else None for name, one in table.chains.items()}
    rules = {
        name: [[_statement(each) for each in rule] for rule in one.rules]
        for name, one in table.chains.items()
    }
    return sorted(objects, key=repr), hooks, rules


def listed(output: str) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """What nft says, without handles, counts, and the order of what has none.

    :raises AssertionError: there is anything beside one table of ours.
    """
    objects, hooks = [], {}
    rules: dict[str, Any] = {}
    tables = []
    for item in json.loads(output)["nftables"]:
        ((kind, body),) = item.items()
        if kind == "metainfo":
            continue
        assert (body["family"], body.get("table", "octavia_l4")) == ("inet", "octavia_l4")
        if kind == "table":
            tables.append(body["name"])
        elif kind == "chain":
            hooks[body["name"]] = (body["type"], body["hook"], body["prio"]) if "hook" in body else None
            assert body.get("policy", "accept") == "accept"
            rules.setdefault(body["name"], [])
        elif kind == "rule":
            rules[body["chain"]].append([each for one in body["expr"] for each in _apart(_sorted(one))])
        else:
            noise = ("family", "name", "table", "handle", "packets", "bytes", "flags")
            like = {key: value for key, value in body.items() if key not in noise}
            like |= {"elem": sorted(_ordered(like["elem"]))} if "elem" in like else {}
            objects.append((Named(kind, body["name"]), like))
    assert tables == ["octavia_l4"]
    return sorted(objects, key=repr), hooks, rules


def _object(one: Counter | FlowSet | SourceMap | AddressMap) -> dict[str, Any]:
    match one:
        case Counter():
            return {}
        case FlowSet():
            return {"type": "inet_proto", "size": 16}
        case SourceMap(data, size, timeout):
            return {"type": data.text, "map": "mark", "size": size, "timeout": timeout}
        case AddressMap(data, places):
            elements = sorted([mark, {"concat": [str(to.address), to.port]}] for mark, to in places.items())
            like = {"type": "mark", "map": f"{data.text} . inet_service"}
            return like | ({"elem": elements} if elements else {})


def _statement(one: Statement) -> Any:
    match one:
        case Match(key, value, unequal):
            values = value if isinstance(value, tuple) else (value,)
            networks = isinstance(values[0], IPv4Network | IPv6Network)
            only = values[0] if isinstance(values[0], int) else str(values[0])
            right: Any = only if len(values) == 1 else {"set": sorted(map(str, values))}
            right = _spans(values) if networks else right
            return {"match": {"op": "!=" if unequal else "==", "left": _KEYS[key], "right": right}}
        case Do.REJECT:
            return _REFUSED
        case Do():
            return {one.value: None}
        case Goto(chain):
            return {"goto": {"target": chain}}
        case GotoBy(keys, names):
            data = [[_concat(place), {"goto": {"target": name}}] for place, name in names]
            return {"vmap": {"key": _concat([_KEYS[key] for key in keys]), "data": _set(data)}}
        case CountBy(keys, names):
            by = [[_concat(place), name] for place, name in names]
            return {"counter": {"map": {"key": _concat([_KEYS[key] for key in keys]), "data": _set(by)}}}
        case Count(counter):
            return {"counter": counter}
        case Remember(to, source, change):
            # Our nft has no JSON for statements of maps.
            text = "ip" if source.key is Key.SOURCE4 else "ip6"
            text += f" saddr & {source.mask}" if source.mask else " saddr"
            return f"{change.value} @{to} {{ {text} : ct mark }}"
        case Recall(out_of, source):
            return _marked({"key": _source(source), "data": f"@{out_of}"})
        case DrawMark(how, runs, seed):
            ((kind, like),) = _DRAWS[how].items()
            like = {**like, "mod": sum(count for count, _ in runs)} | ({"seed": seed} if seed else {})
            return _marked({"key": {kind: like}, "data": _set([*_ranges(runs)])})
        case SetMark(mark):
            return {"mangle": {"key": _MARK, "value": mark}}
        case LimitFlows(flows, most):
            stmt = [{"ct count": {"val": most, "inv": True}}]
            return {"set": {"op": "add", "elem": _KEYS[Key.PROTOCOL], "set": f"@{flows}", "stmt": stmt}}
        case Translate(family, map_):
            address = {"map": {"key": _MARK, "data": f"@{map_}"}}
            return {"dnat": {"family": "ip" if family is Data.IPV4 else "ip6", "addr": address}}


def _marked(by: dict[str, Any]) -> dict[str, Any]:
    return {"mangle": {"key": _MARK, "value": {"map": by}}}


def _source(one: Source) -> Any:
    return {"&": [_KEYS[one.key], str(one.mask)]} if one.mask else _KEYS[one.key]


def _ranges(runs: tuple[tuple[int, int], ...]) -> Iterator[list[Any]]:
    start = 0
    for count, mark in runs:
        yield [{"range": [start, start + count - 1]} if count > 1 else start, mark]
        start += count


def _concat(parts: Any) -> dict[str, Any]:
    return {"concat": [one if isinstance(one, int | dict) else str(one) for one in parts]}


def _set(elements: list[Any]) -> dict[str, Any]:
    return {"set": sorted(elements, key=repr)}


def _sorted(statement: Any) -> Any:
    """A statement as nft lists it, with the elements of sets in order, and networks as spans."""
    if isinstance(statement, str):
        return " ".join(map(_usual, statement.split()))
    ((kind, body),) = statement.items()
    if kind == "match":
        right = body["right"]
        several = right["set"] if isinstance(right, dict) and "set" in right else None
        if body["left"] in (_KEYS[Key.SOURCE4], _KEYS[Key.SOURCE6]):
            return {kind: body | {"right": _spans(several or [right])}}
        return {kind: body | {"right": {"set": sorted(map(str, several))} if several else _ordered(right)}}
    return _ordered(statement)


def _apart(statement: Any) -> list[Any]:
    """nft takes a protocol and a port of any protocol together as a port of that protocol."""
    match statement:
        case {
            "match": {"left": {"payload": {"protocol": "udp" | "sctp" as protocol, "field": "dport"}}} as body
        }:
            first = {"op": "==", "left": _KEYS[Key.PROTOCOL], "right": protocol}
            return [{"match": first}, {"match": body | {"left": _KEYS[Key.PORT]}}]
    return [statement]


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: _ordered(one) for key, one in value.items()}
        return _set(found["set"]) if isinstance(found.get("set"), list) else found
    if isinstance(value, list):
        return [_ordered(one) for one in value]
    return _usual(value) if isinstance(value, str) else value


def _usual(word: str) -> str:
    """An address as Python spells it: where an IPv4 address is inside, nft spells it otherwise."""
    with contextlib.suppress(ValueError):
        return str(ip_address(word))
    return word


def _spans(values: Any) -> list[list[int]]:
    """Addresses, networks and ranges as first and last numbers, neighbours joined."""
    found: list[list[int]] = []
    for first, last in sorted(map(_span, values)):
        if found and first <= found[-1][1] + 1:
            found[-1][1] = max(last, found[-1][1])
        else:
            found.append([first, last])
    return found


def _span(value: Value | dict[str, Any]) -> tuple[int, int]:
    if isinstance(value, dict) and "range" in value:
        first, last = map(ip_address, value["range"])
        return int(first), int(last)
    if isinstance(value, dict):
        value = f"{value['prefix']['addr']}/{value['prefix']['len']}"
    net = ip_network(value)
    return int(net.network_address), int(net.broadcast_address)
