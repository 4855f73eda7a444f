"""`vpctl keys`: what it makes, lists and revokes, and that no secret is ever shown."""

import json

import pytest

from visualpath_protocol.keys import KeyFolder


@pytest.fixture
def config(write_config):
    return write_config("""
        streams: {cam1: {source: a.mp4}}
        security: {key: hub}
    """)


@pytest.fixture
def folder(config):
    return KeyFolder(config.parent / "keys")


def test_new_makes_a_pair_and_names_its_files(vpctl, folder):
    result = vpctl("keys", "new", "hub")
    assert (result.exit_code, result.stdout.split()) == (
        0, ["public", "key", str(folder.path / "hub.pub"), "secret", str(folder.path / "hub.key")]
    )  # fmt: skip
    assert folder.pair("hub").public == folder.public("hub")


@pytest.mark.parametrize("command", [("new", "annex"), ("list",), ("revoke", "guest")])
@pytest.mark.parametrize("output", [(), ("--json",)], ids=["text", "json"])
def test_no_secret_is_shown(vpctl, folder, command, output):
    secrets = [folder.new(name).secret.decode() for name in ("hub", "guest")]
    result = vpctl(*output, "keys", *command)
    secrets += [path.read_text().strip() for path in folder.path.glob("*.key")]
    assert result.exit_code == 0
    assert not [secret for secret in secrets if secret in result.stdout + result.stderr]


def test_new_may_be_for_some_links_alone(vpctl, folder):
    vpctl("keys", "new", "viewer", "--link", "frames", "--link", "tap")
    [known] = folder.known()[0].values()
    assert known.links == {"frames", "tap"}


def test_a_link_that_there_is_not_is_wrong_usage(vpctl):
    assert vpctl("keys", "new", "viewer", "--link", "films").exit_code == 2


def test_a_name_that_is_taken_is_refused(vpctl, folder):
    folder.new("hub")
    result = vpctl("keys", "new", "hub")
    assert (result.exit_code, "is there already" in result.stderr) == (1, True)


def test_list_says_who_is_known_and_for_what(vpctl, folder):
    for name, links in (("hub", ()), ("guest", ()), ("viewer", ["tap"])):
        folder.new(name, links)
    folder.revoke("guest")
    rows = json.loads(vpctl("--json", "keys", "list").stdout)
    assert [(row["name"], row["state"], row["links"], row["secret"]) for row in rows] == [
        ("hub", "this machine", [], True),
        ("viewer", "known", ["tap"], True),
        ("guest", "revoked", [], False),
    ]


def test_list_tells_of_a_file_that_is_no_key(vpctl, folder):
    folder.new("hub")
    (folder.path / "damaged.pub").write_text("x")
    assert "damaged.pub holds no key" in vpctl("keys", "list").stderr


def test_list_without_a_folder_says_what_to_do(vpctl, folder):
    result = vpctl("keys", "list")
    assert (result.exit_code, "`vpctl keys new NAME` makes it, with the first key" in result.stderr) == (1, True)


def test_revoke_lets_the_name_in_no_more(vpctl, folder):
    public = folder.new("guest").public
    assert vpctl("keys", "revoke", "guest").exit_code == 0
    assert folder.known()[0][public].revoked


def test_a_name_that_is_revoked_already_is_told_so(vpctl, folder):
    folder.new("guest")
    vpctl("keys", "revoke", "guest")
    result = vpctl("keys", "revoke", "guest")
    assert (result.exit_code, result.stdout) == (0, "guest is revoked already\n")


def test_an_unknown_name_cannot_be_revoked(vpctl, folder):
    result = vpctl("keys", "revoke", "guest")
    assert (result.exit_code, "guest.pub is missing" in result.stderr) == (1, True)


def test_the_machines_own_key_is_not_revoked(vpctl, folder):
    public = folder.new("hub").public
    result = vpctl("keys", "revoke", "hub")
    assert (result.exit_code, "make another pair and name that first" in result.stderr) == (1, True)
    assert not folder.known()[0][public].revoked
