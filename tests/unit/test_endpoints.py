"""Where each daemon's sockets are."""

import os
from pathlib import Path

import pytest

from visualpath_protocol.endpoints import (
    CLIP,
    FUSION,
    IPC_PATH_MAX_BYTES,
    Endpoints,
    default_run_dir,
    extractor_daemon,
    frame_daemon,
)
from visualpath_protocol.errors import EndpointError


def test_a_link_lies_in_the_folder_of_its_daemon():
    endpoints = Endpoints(Path("/run/vp"))
    assert endpoints.folder("clip") == Path("/run/vp/clip")
    assert endpoints.address("clip", "trig") == "ipc:///run/vp/clip/trig"


def test_daemons_are_named_by_role_and_instance():
    assert (frame_daemon("cam1"), extractor_daemon("face"), FUSION, CLIP) == (
        "frame-cam1",
        "extractor-face",
        "fusion",
        "clip",
    )


def test_an_override_replaces_one_link_and_leaves_the_others():
    endpoints = Endpoints(Path("/run/vp"), {"fusion/obs": "tcp://127.0.0.1:7001"})
    assert endpoints.address("fusion", "obs") == "tcp://127.0.0.1:7001"
    assert endpoints.address("fusion", "control") == "ipc:///run/vp/fusion/control"


def run_dir_for(path_bytes):
    """A run_dir so long that `<run_dir>/clip/trig` has this many bytes."""
    return Path("/" + "r" * (path_bytes - len("/clip/trig") - 1))


def test_a_path_of_exactly_the_kernels_limit_is_taken():
    address = Endpoints(run_dir_for(IPC_PATH_MAX_BYTES)).address("clip", "trig")
    assert len(address.removeprefix("ipc://")) == IPC_PATH_MAX_BYTES


def test_one_byte_more_is_refused_with_what_to_do():
    with pytest.raises(EndpointError, match=r"has 108 bytes, the kernel allows 107: choose a shorter run_dir"):
        Endpoints(run_dir_for(IPC_PATH_MAX_BYTES + 1)).address("clip", "trig")


def test_the_limit_counts_bytes_not_characters():
    with pytest.raises(EndpointError):
        Endpoints(Path("/" + "ü" * 60)).address("clip", "trig")


def test_an_override_saves_a_link_from_a_long_run_dir():
    endpoints = Endpoints(run_dir_for(200), {"clip/trig": "ipc:///run/trig"})
    assert endpoints.address("clip", "trig") == "ipc:///run/trig"


def test_the_default_run_dir_is_under_the_users_runtime_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_run_dir(Path("/somewhere")).parent == tmp_path


@pytest.mark.parametrize("runtime_dir", ["", "/nonexistent/runtime"])
def test_without_a_runtime_dir_it_is_in_tmp_with_the_users_id(monkeypatch, runtime_dir):
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime_dir)
    run_dir = default_run_dir(Path("/somewhere"))
    assert run_dir.parent == Path("/tmp")
    assert run_dir.name.startswith(f"vp-{os.getuid()}-")


def test_two_checkouts_have_two_run_dirs():
    assert default_run_dir(Path("/a")) != default_run_dir(Path("/b"))
    assert default_run_dir(Path("/a")) == default_run_dir(Path("/a/b/.."))
