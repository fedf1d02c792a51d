# SPDX-License-Identifier: Apache-2.0
"""The ``openstack`` command in this process, and a play for each of its ``loadbalancer`` sub-commands."""

import io
import json
import logging
import shlex
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib.metadata import entry_points
from typing import Any, Final
from uuid import UUID

NETWORK: Final = str(UUID(int=7))

# In order; {name} is the id of what a line before has made. A line is a command, and what its JSON must have.
PLAYS: Final = """
provider list                 |
provider capability list      | --flavor amphora
flavorprofile create          | --name fp --provider amphora --flavor-data '{{}}'
flavorprofile list            |
flavorprofile set             | fp --name profile
flavorprofile show            | profile
flavor create                 | --name fl --flavorprofile profile --description d --enable
flavor list                   |
flavor set                    | fl --name small
flavor unset                  | small --description
flavor show                   | small
availabilityzoneprofile create| --name ap --provider amphora --availability-zone-data '{{}}'
availabilityzoneprofile list  |
availabilityzoneprofile set   | ap --name zones
availabilityzoneprofile show  | zones
availabilityzone create       | --name az --availabilityzoneprofile zones --description d --enable
availabilityzone list         |
availabilityzone set          | az --description other
availabilityzone unset        | az --description
availabilityzone show         | az
create                        | --name lb --vip-network-id {network} --flavor small --description d --wait
list                          |
set                           | lb --description other --tag blue
unset                         | lb --description
show                          | lb
listener create               | --name li --protocol HTTP --protocol-port 80 --connection-limit 100 lb
listener list                 | --loadbalancer lb
listener set                  | li --name listener --timeout-client-data 40000
listener unset                | listener --connection-limit
listener show                 | listener
listener stats show           | listener
pool create                   | --name po --protocol HTTP --lb-algorithm ROUND_ROBIN --listener listener
pool list                     | --loadbalancer lb
pool set                      | po --name pool --session-persistence type=SOURCE_IP
pool unset                    | pool --session-persistence
pool show                     | pool
member create                 | --name me --address 192.0.2.7 --protocol-port 8080 --weight 3 pool
member list                   | pool
member set                    | pool me --name member --weight 4
member unset                  | pool member --weight
member show                   | pool member
healthmonitor create          | --name hm --type HTTP --delay 5 --timeout 3 --max-retries 2 --url-path /o pool
healthmonitor list            |
healthmonitor set             | hm --name monitor --delay 7
healthmonitor unset           | monitor --url-path
healthmonitor show            | monitor
l7policy create               | --name pl --action REDIRECT_TO_URL --redirect-url http://a.example/ listener
l7policy list                 | --listener listener
l7policy set                  | pl --name policy --position 1
l7policy unset                | policy --name
l7policy show                 | {l7policy}
l7rule create                 | --type PATH --compare-type STARTS_WITH --value /x {l7policy}
l7rule list                   | {l7policy}
l7rule set                    | {l7policy} {l7rule} --value /y --invert
l7rule unset                  | {l7policy} {l7rule} --invert
l7rule show                   | {l7policy} {l7rule}
status show                   | lb
stats show                    | lb
quota defaults show           |
quota set                     | demo --listener 50 --member 60
quota unset                   | demo --member
quota show                    | demo
quota list                    |
quota reset                   | demo
amphora list                  | --loadbalancer lb
amphora show                  | {amphora}
amphora stats show            | {amphora}
amphora configure             | {amphora}
amphora failover              | {amphora}
failover                      | lb
amphora delete                | {failed}
l7rule delete                 | {l7policy} {l7rule}
l7policy delete               | {l7policy}
healthmonitor delete          | monitor
member delete                 | pool member
pool delete                   | pool
listener delete               | listener
delete                        | lb --wait
flavor delete                 | small
flavorprofile delete          | profile
availabilityzone delete       | az
availabilityzoneprofile delete| zones
"""

_SILENT: Final = ("set", "unset", "delete", "failover", "configure", "reset")


def plays() -> list[tuple[str, str]]:
    """Command and arguments, in order."""
    lines = [line.partition("|") for line in PLAYS.strip().splitlines()]
    return [(command.strip(), arguments.strip()) for command, _, arguments in lines]


def subcommands() -> list[str]:
    """Every one that the installed client has, without the word ``loadbalancer``."""
    found = [one.name for one in entry_points(group="openstack.load_balancer.v2")]
    return sorted(one.removeprefix("loadbalancer_").replace("_", " ") for one in found)


class Client:
    """One run of the program that plays many commands: its imports and its token are needed once."""

    def __init__(self, credentials: Mapping[str, str]) -> None:
        from openstackclient.shell import OpenStackShell  # warns, which only its tests forgive

        self._shell = OpenStackShell()
        options = [f"--os-{name.replace('_', '-')}={value}" for name, value in credentials.items()]
        code, _, errors = self._run(
            self._shell.run, [*options, "--os-region-name=RegionOne", "token", "issue"]
        )
        assert code == 0, errors

    def play(self, command: str, arguments: str = "") -> Any:
        """What a command writes: its object, its list, or None.

        :raises AssertionError: it fails.
        """
        words = ["loadbalancer", *command.split(), *shlex.split(arguments)]
        # These write no object, but a table or nothing.
        silent = command == "status show" or (
            command != "quota set" and command.rpartition(" ")[2] in _SILENT
        )
        code, text, errors = self._run(
            self._shell.run_subcommand, words if silent else [*words, "-f", "json"]
        )
        assert code == 0, f"{' '.join(words)}: {errors or text}"
        return json.loads(text) if text.strip() and (not silent or command == "status show") else None

    def _run(self, run: Any, words: list[str]) -> tuple[int, str, str]:
        output, errors = io.StringIO(), io.StringIO()
        self._shell.stdout, self._shell.stderr = output, errors
        handler = logging.StreamHandler(errors)
        handler.setLevel(logging.WARNING)
        logging.getLogger().addHandler(handler)
        try:
            with redirect_stdout(output):  # one command prints by itself
                code = run(words)
        finally:
            logging.getLogger().removeHandler(handler)
        return code, output.getvalue(), errors.getvalue()
