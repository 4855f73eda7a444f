"""`vpctl keys`: who may connect to this machine over tcp, and who it is itself."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath_protocol.errors import KeyFileError
from visualpath_protocol.keys import KeyFolder
from visualpath_protocol.sockets import LINKS

LINK_NAMES = [link.name for link in LINKS]
UNUSED = "tcp is not used: no `security.key` in visualpath.yaml"


@click.group("keys")
def command() -> None:
    """Make, list and revoke the CURVE keys of connections over tcp. Running daemons follow within a second."""


@command.command("new")
@click.argument("name")
@click.option(
    "--link",
    "links",
    multiple=True,
    type=click.Choice(LINK_NAMES),
    help="Open only this one to it; may be given several times. Default: all that are tcp.",
)
@pass_vpctl
def new_command(vpctl: Vpctl, name: str, links: tuple[str, ...]) -> None:
    """Make a pair of keys. NAME is this machine (`security.key`), one of its daemons, or another machine.

    The secret for another machine is to be moved there, into its folder of keys; the copy here can then be deleted.
    """
    folder = KeyFolder(vpctl.config.keys_dir)
    try:
        folder.new(name, links)
    except KeyFileError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    public, secret = (str(folder.path / f"{name}.{suffix}") for suffix in ("pub", "key"))
    vpctl.show({"name": name, "public": public, "secret": secret}, f"public key {public}\nsecret     {secret}")


@command.command("list")
@pass_vpctl
def list_command(vpctl: Vpctl) -> None:
    """List whom this machine knows; no secret is shown."""
    folder = KeyFolder(vpctl.config.keys_dir)
    try:
        known, wrong = folder.known()
    except KeyFileError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    keyring = vpctl.config.keys
    rows: list[dict[str, Any]] = [
        {
            "name": each.name,
            "public": public.decode(),
            "state": "revoked" if each.revoked else "this machine" if keyring and keyring.own == each.name else "known",
            "links": sorted(each.links),
            "secret": not each.revoked and folder.has_secret(each.name),
        }
        for public, each in sorted(known.items(), key=lambda item: (item[1].revoked, item[1].name))
    ]
    table = Table("name", "state", "links", "secret", "public key", box=None, pad_edge=False)
    for row in rows:
        links = "-" if row["state"] == "revoked" else ", ".join(row["links"]) or "all"
        table.add_row(row["name"], row["state"], links, "here" if row["secret"] else "-", row["public"])
    vpctl.show(rows, table)
    for each in wrong if keyring else [*wrong, UNUSED]:
        click.echo(f"vpctl: {each}", err=True)


@command.command("revoke")
@click.argument("name")
@pass_vpctl
def revoke_command(vpctl: Vpctl, name: str) -> None:
    """Let NAME in no more, and cut its connections; everybody else's on the same links are back a second later."""
    keyring = vpctl.config.keys
    if keyring is not None and keyring.own == name:
        vpctl.fail(f"{name} is this machine (security.key): make another pair and name that first", EXIT_REFUSED)
    folder = KeyFolder(vpctl.config.keys_dir)
    try:
        told = "" if folder.revoke(name) else " already"
    except KeyFileError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    vpctl.show({"name": name, "state": "revoked"}, f"{name} is revoked{told}")
