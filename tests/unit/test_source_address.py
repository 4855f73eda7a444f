"""Addresses as they may be shown."""

import pytest

from visualbase.address import shown
from visualbase.errors import SourceError


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("rtsp://cam:554/1", "rtsp://cam:554/..."),
        ("rtsp://me:pa%40ss@cam:554/1?x=y", "rtsp://cam:554/..."),
        ("rtsp://me@cam", "rtsp://cam/..."),
        ("rtsp://me:pa@ss@cam/1", "rtsp://cam/..."),
        ("http://me:secret@[::1]:80/", "http://[::1]:80/..."),
        ("http://cam/snap?user=me&password=secret", "http://cam/..."),
        ("rtsp://cam/user=me_password=secret_channel=1", "rtsp://cam/..."),
    ],
)
def test_of_a_network_address_only_scheme_host_and_port_are_shown(uri, said):
    assert shown(uri) == said


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://me:se/cret@cam/1",
        "rtsp://me:se#cret@cam/1",
        "rtsp://me:se?cret@cam/1",
        "rtsp://me:secret%40cam/1",
        "rtsp://[me:secret@cam/1",
        "rtsp://me:secret/1",
    ],
)
def test_where_the_host_is_unclear_it_is_left_out_too(uri):
    assert shown(uri) == "rtsp://..."


@pytest.mark.parametrize(
    "uri", ["/videos/a@b.mp4", "file:///a/b.mp4", "images:///a/*.jpg?fps=5", "synthetic://?fps=5", "v4l2:///dev/video0"]
)
def test_what_is_on_this_machine_is_shown_as_it_is(uri):
    assert shown(uri) == uri


def test_an_error_shows_the_address_only_so():
    error = SourceError("rtsp://me:secret@cam/1", "reason", "hint")
    assert (str(error), error.uri) == ("source 'rtsp://cam/...': reason; hint", "rtsp://cam/...")
