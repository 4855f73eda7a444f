"""Whose address is told of a connection that has failed: libzmq may have closed it, and another may have its number."""

import os
import socket

import pytest

from visualpath.runtime.guard import SOMEBODY, _peer


@pytest.fixture
def connection():
    """Both ends of a tcp connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            yield accepted, client


def test_the_peer_of_a_connection_is_its_address(connection):
    assert _peer(connection[0].fileno()) == "127.0.0.1"


def test_a_connection_that_was_looked_at_stays_open(connection):
    _peer(connection[0].fileno())
    connection[1].sendall(b"x")
    assert connection[0].recv(1) == b"x"


def test_a_closed_descriptor_is_nobodys():
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    assert _peer(read) == SOMEBODY


def test_a_descriptor_that_is_no_socket_is_nobodys_and_stays_open():
    read, write = os.pipe()
    assert _peer(write) == SOMEBODY
    os.close(read)
    os.close(write)


def test_a_descriptor_that_is_a_local_socket_is_nobodys():
    ends = socket.socketpair()
    assert _peer(ends[0].fileno()) == SOMEBODY
    for end in ends:
        end.close()
