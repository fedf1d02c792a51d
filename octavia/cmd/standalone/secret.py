# SPDX-License-Identifier: Apache-2.0
"""``octavia-standalone secret``: tenants' certificates without Barbican.

Works whether the controller runs or not: it finds new work in its queue. The store itself is
:mod:`octavia.drivers.certificates.local_store`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from oslo_config import cfg

from octavia.cmd.standalone.configuration import configuration
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.state import State
from octavia.db import secrets, work
from octavia.db.engine import Connection, Database, create_engine
from octavia.db.tree import loading, saving
from octavia.domain import rules
from octavia.domain.clock import SystemClock
from octavia.drivers.certificates import local_store, pem
from octavia.drivers.certificates.local_store import LocalSecrets, StoredSecret


def add_parser(commands: Any) -> None:
    """The subcommand with its own subcommands."""
    parser = commands.add_parser("secret", help="keep certificates for listeners and pools that speak TLS")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = subcommands.add_parser(
        "add", help="keep a certificate with its key, CAs or a CRL; prints the reference for the client"
    )
    _add_content(add)
    add.add_argument("--name", help="for lists (default: what the certificate is for)")
    add.set_defaults(command=_add)
    update = subcommands.add_parser(
        "update", help="replace what is kept; load balancers take it over at once"
    )
    update.add_argument("ref", metavar="REF")
    _add_content(update)
    update.set_defaults(command=_update)
    listed = subcommands.add_parser("list", help="what is kept, and when it expires")
    listed.set_defaults(command=_list)
    show = subcommands.add_parser("show", help="what is known of one, and who uses it; never its key")
    show.add_argument("ref", metavar="REF")
    show.set_defaults(command=_show)
    remove = subcommands.add_parser("rm", help="remove one that nobody uses")
    remove.add_argument("ref", metavar="REF")
    remove.set_defaults(command=_remove)


def _add_content(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "certificate", nargs="?", type=Path, help="PEM; without a key: certificates of CAs, or a CRL"
    )
    parser.add_argument("key", nargs="?", type=Path, help="PEM of its private key")
    parser.add_argument("--intermediates", type=Path, help="PEM or PKCS#7 of what leads to the CA")
    parser.add_argument("--passphrase-file", type=Path, help="file with the pass phrase of key or bundle")
    parser.add_argument("--pkcs12", type=Path, help="PKCS#12 bundle instead of PEM")


def _add(arguments: argparse.Namespace, state: State) -> None:
    state.make()
    store = _store(configuration(state))
    content, name = _content(arguments)
    secret = store.add(arguments.name or name, **content)
    print(f"{_description(secret)}", file=sys.stderr)
    print(secret.ref)


def _update(arguments: argparse.Namespace, state: State) -> None:
    conf = _configuration(state)
    content, _ = _content(arguments)
    secret = _store(conf).replace(arguments.ref, **content)
    print(_description(secret))
    for name in _announce(conf, secret.ref):
        print(f"load balancer {name} takes it over")


def _list(_arguments: argparse.Namespace, state: State) -> None:
    now = SystemClock().now()
    rows = [("REF", "KIND", "NAME", "EXPIRES")]
    rows += [(one.ref, one.kind, one.name, _expiry(one, now)) for one in _store(_configuration(state)).list()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def _show(arguments: argparse.Namespace, state: State) -> None:
    conf = _configuration(state)
    print("\n".join(_details(_store(conf).read(arguments.ref), _users(conf, arguments.ref))))


def _remove(arguments: argparse.Namespace, state: State) -> None:
    conf = _configuration(state)
    users = _users(conf, arguments.ref)
    if users:
        raise Refusal(f"{arguments.ref} is in use by {', '.join(f'{one.noun} {one.id}' for one in users)}.")
    _store(conf).remove(arguments.ref)


def _configuration(state: State) -> cfg.ConfigOpts:
    if not state.exists():
        raise Refusal(f"there is nothing in {state.path}: nothing is kept yet.")
    return configuration(state)


def _store(conf: cfg.ConfigOpts) -> LocalSecrets:
    manager = conf.certificates.cert_manager
    if manager != "local_cert_manager":
        raise Refusal(f"[certificates] cert_manager = {manager} keeps secrets elsewhere.")
    return local_store.from_config(conf)


def _content(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What to keep, and a name for it.

    :raises Refusal: the arguments make no sense, or a file cannot be read.
    :raises Unusable: a file does not hold what it should.
    """
    passphrase = None
    if arguments.passphrase_file:
        passphrase = _read(arguments.passphrase_file).rstrip(b"\r\n")
    if arguments.pkcs12:
        if arguments.certificate:
            raise Refusal("a PKCS#12 bundle has everything in it: leave out the other files.")
        certificate = pem.from_pkcs12(_read(arguments.pkcs12), passphrase)
        return {"certificate": certificate}, certificate.names[0]
    if arguments.certificate is None:
        raise Refusal("name the file of a certificate, or --pkcs12.")
    first = _read(arguments.certificate)
    if arguments.key is None and not pem.holds_private_key(first):
        return {"payload": _payload(first, arguments.certificate)}, arguments.certificate.name
    key = _read(arguments.key) if arguments.key else first
    intermediates = _read(arguments.intermediates) if arguments.intermediates else b""
    certificate = pem.from_parts(first, key, intermediates, passphrase)
    return {"certificate": certificate}, certificate.names[0]


def _payload(content: bytes, path: Path) -> bytes:
    if b"BEGIN X509 CRL" in content:
        return pem.lists_of_revoked(content, str(path))
    return pem.authorities(content, str(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error


def _description(secret: StoredSecret) -> str:
    now = SystemClock().now()
    names = f" for {', '.join(secret.certificate.names)}" if secret.certificate else ""
    return f"{secret.kind}{names}, expires {_expiry(secret, now)}"


def _expiry(secret: StoredSecret, now: datetime) -> str:
    at = secret.expires_at
    if at is None:
        return "never"
    days = (at - now).days
    return f"{at:%Y-%m-%d} ({f'in {days} days' if days >= 0 else 'it has expired'})"


def _details(secret: StoredSecret, users: Sequence[secrets.User]) -> Iterator[str]:
    yield f"ref      {secret.ref}"
    yield f"name     {secret.name}"
    yield f"kind     {secret.kind}"
    if secret.certificate:
        yield f"for      {', '.join(secret.certificate.names)}"
        yield f"chain    {len(secret.certificate.intermediates)} intermediates"
    yield f"expires  {_expiry(secret, SystemClock().now())}"
    yield f"added    {secret.created_at:%Y-%m-%d %H:%M:%S}"
    if secret.updated_at:
        yield f"updated  {secret.updated_at:%Y-%m-%d %H:%M:%S}"
    for one in users:
        yield f"used by  {one.noun} {one.name or one.id} of load balancer {one.load_balancer_id}"


def _database(conf: cfg.ConfigOpts) -> Database | None:
    """None where there is none yet."""
    path = conf.database.connection.removeprefix("sqlite:///")
    if path != conf.database.connection and not Path(path).exists():
        return None
    return Database(create_engine(conf.database.connection))


def _users(conf: cfg.ConfigOpts, ref: str) -> list[secrets.User]:
    database = _database(conf)
    if database is None:
        return []
    with database.read() as tx:
        return secrets.users_of(tx, ref)


def _announce(conf: cfg.ConfigOpts, ref: str) -> list[str]:
    """Queue the load balancers that use a secret; their names."""
    database = _database(conf)
    names = []
    for load_balancer_id in sorted({one.load_balancer_id for one in _users(conf, ref)}):

        def change(tx: Connection, lb_id: str = load_balancer_id) -> str:
            before = loading.lock(tx, lb_id)
            if before.third_party:
                return f"{before.name or before.id} (not told: provider {before.provider})"
            after = rules.renew_secret(before, ref)
            saving.save(tx, before, after)
            work.announce(tx, lb_id, SystemClock().now(), new_deadline=rules.retries(before, after))
            return after.name or after.id

        assert database is not None
        names.append(database.write(change))
    return names
