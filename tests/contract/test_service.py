"""What all daemons share, over real sockets: control, tap, refusals, exit codes."""

import logging
import os
import resource
import subprocess
import sys
import threading

import msgpack
import pytest

from visualpath.core.errors import CommandError, Unreachable
from visualpath.runtime.config import load_config
from visualpath.runtime.control import ControlClient
from visualpath.runtime.main import EXIT_CONFIG, EXIT_FAILED, EXIT_RUNNING_ALREADY, EXIT_STORAGE, MAX_FILES
from visualpath.runtime.service import Service
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import AddressInUse, EndpointError
from visualpath_protocol.messages import Command, Event, Reply
from visualpath_protocol.sockets import CONTROL, ROOM_BYTES, TAP

STREAMS = "streams: {cam1: {source: a.mp4}}\n"
RULES = STREAMS + "extractors: {face: {}}\nfusion: {rules: [{label: a, when: face.count >= 1}]}\n"


@pytest.fixture
def config(write_config):
    return load_config(write_config(STREAMS))


@pytest.fixture
def service(config):
    """A service called fusion whose loop runs in a thread."""
    service = Service("fusion", config)
    thread = threading.Thread(target=service.loop.run)
    thread.start()
    yield service
    service.loop.stop()
    thread.join(10)
    service.close()


@pytest.fixture
def client(config):
    client = ControlClient(config.endpoints())
    yield client
    client.close()


@pytest.fixture
def control(service, links):
    return links.connect(CONTROL, "fusion")


def ask(control, command):
    """Send one COMMAND by hand; returns its REPLY."""
    control.send(encode(command))
    assert control.poll(10_000), "no reply"
    return Codec(Reply, max_bytes=CONTROL.max_bytes).decode(control.recv())


# Control --------------------------------------------------------------------------------------------


def test_status_says_who_answers(service, client):
    status = client.ask("fusion", "status")
    assert (status["daemon"], status["pid"], status["protocol"]) == ("fusion", os.getpid(), "1.0")


def test_status_has_the_daemons_own_parts_and_its_counters(service, client):
    service.status = lambda: {"streams": {"cam1": "live"}}
    service.counters["frames"] = 7
    status = client.ask("fusion", "status")
    assert (status["streams"], status["counters"]) == ({"cam1": "live"}, {"frames": 7})


def test_a_counter_beyond_the_wires_integers_is_no_end_of_status(service, client):
    service.counters["lost"] = 2**70
    assert client.ask("fusion", "status")["counters"] == {"lost": 2**63 - 1}


def test_a_reply_carries_the_id_of_its_command(control):
    assert ask(control, Command(id="mine", name="status")).id == "mine"


def test_a_commands_result_is_the_handlers(service, client):
    service.command("double", lambda args: args["x"] * 2)
    assert client.ask("fusion", "double", {"x": 4}) == 8


def test_a_refused_command_says_code_message_and_hint(service, client):
    def refuse(_args):
        raise CommandError("no-way", "it cannot be", "try later")

    service.command("try", refuse)
    with pytest.raises(CommandError) as caught:
        client.ask("fusion", "try")
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("no-way", "it cannot be", "try later")


def test_an_unknown_command_is_answered_with_those_there_are(service, client):
    service.command("double", lambda args: 0)
    with pytest.raises(CommandError) as caught:
        client.ask("fusion", "stats")
    assert caught.value.code == "unknown-command"
    assert caught.value.hint == "it knows status, metrics, trace, double"


def test_a_daemon_that_is_not_there_is_unreachable(client):
    with pytest.raises(Unreachable, match=r"clip does not answer \(is it running\?\)"):
        client.ask("clip", "status", timeout_ms=50)


# Bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "refused.control.malformed"),
        (b"garbage", "refused.control.malformed"),
        (b"\xc1" * 1000, "refused.control.malformed"),
        (b"\x91" * 100_000, "refused.control.malformed"),
        (msgpack.packb({"t": "PING", "v": 1}), "refused.control.malformed"),
        (msgpack.packb({"t": "COMMAND", "v": 1, "id": "x", "name": "No Name"}), "refused.control.malformed"),
        (b"x" * (CONTROL.max_bytes + 1), "refused.control.oversized"),
    ],
    ids=["empty", "garbage", "reserved", "nested", "other-message", "bad-name", "oversized"],
)
def test_what_is_no_command_is_counted_and_the_daemon_lives(service, control, wait_for, data, counter):
    control.send(data)
    wait_for(lambda: service.counters[counter] == 1)
    assert ask(control, Command(id="x", name="status")).ok


def test_a_command_of_another_major_version_is_counted_and_told_so(service, control, wait_for):
    control.send(msgpack.packb({"t": "COMMAND", "v": 2, "id": "mine", "name": "status"}))
    assert control.poll(10_000)
    reply = Codec(Reply, max_bytes=CONTROL.max_bytes).decode(control.recv())
    assert (reply.id, reply.ok, reply.error.code) == ("mine", False, "version")
    assert service.counters["refused.control.version"] == 1


def test_a_refused_command_is_reported_in_the_log(service, control, wait_for, caplog):
    with caplog.at_level(logging.WARNING):
        control.send(b"garbage")
        wait_for(lambda: caplog.messages, timeout_s=5)
    assert caplog.messages[0].startswith("refused.control.malformed x 1, last: no valid COMMAND")


def test_a_command_beyond_the_room_disconnects_its_sender_and_the_daemon_lives(service, control, client):
    control.send(b"x" * (CONTROL.max_bytes + ROOM_BYTES + 1))
    assert client.ask("fusion", "status")["daemon"] == "fusion"
    assert not control.poll(0)


def test_parts_before_the_command_are_skipped(service, control):
    control.send_multipart([b"", encode(Command(id="x", name="status"))])
    assert control.poll(10_000)
    assert len(control.recv_multipart()) == 1


# Names ----------------------------------------------------------------------------------------------


def test_a_second_service_of_the_name_is_refused(service, config):
    with pytest.raises(AddressInUse, match="fusion is running already"):
        Service("fusion", config)


def test_a_refused_second_service_leaves_the_first_reachable(service, config, client):
    with pytest.raises(AddressInUse):
        Service("fusion", config)
    assert client.ask("fusion", "status")["daemon"] == "fusion"


def test_a_closed_services_name_is_free(config):
    for _ in range(2):
        Service("fusion", config).close()


def test_a_closed_service_leaves_no_sockets(config):
    service = Service("fusion", config)
    service.close()
    assert [path.name for path in (config.run_dir / "fusion").iterdir()] == ["lock"]


def test_a_file_in_a_sockets_place_is_refused_and_kept(config):
    folder = config.run_dir / "fusion"
    folder.mkdir(parents=True)
    (folder / "control").write_text("precious")
    with pytest.raises(EndpointError, match="exists and is no socket"):
        Service("fusion", config)
    assert (folder / "control").read_text() == "precious"


# Tap ------------------------------------------------------------------------------------------------


def listen(service, links, wait_for, *kinds):
    """A subscriber of the tap that the service knows of by now."""
    tap = links.connect(TAP, "fusion")
    for kind in (*kinds, "sync"):
        tap.subscribe(kind.encode())

    def known():
        service.loop.call_soon(lambda: service.emit("sync", None))
        return tap.poll(20)

    wait_for(known)
    tap.unsubscribe(b"sync")
    return tap


def test_an_event_arrives_with_its_kind_as_topic(service, links, wait_for):
    tap = listen(service, links, wait_for, "clip")
    service.loop.call_soon(lambda: service.emit("clip", {"path": "a.mp4"}))

    def event():
        topic, body = tap.recv_multipart() if tap.poll(10_000) else (b"", b"")
        return topic == b"clip" and Codec(Event, max_bytes=TAP.max_bytes).decode(body)

    event = wait_for(event)
    assert (event.daemon, event.kind, event.body) == ("fusion", "clip", {"path": "a.mp4"})


def test_without_listeners_events_go_nowhere(service, client):
    for _ in range(5000):
        service.loop.call_soon(lambda: service.emit("clip", None))
    assert client.ask("fusion", "status")["daemon"] == "fusion"


def test_a_listener_that_never_reads_holds_nobody_up(service, links, client, wait_for):
    listen(service, links, wait_for, "clip")
    for _ in range(3 * TAP.hwm):
        service.loop.call_soon(lambda: service.emit("clip", "x" * 100))
    assert client.ask("fusion", "status")["daemon"] == "fusion"


# Exit codes -----------------------------------------------------------------------------------------


def run_fusion(config_path, *, script=""):
    """Run the fusion daemon until it ends by itself; returns exit code and stderr."""
    command = ["-c", script] if script else ["-m", "visualpath.fusion"]
    run = subprocess.run(
        [sys.executable, *command, "--config", str(config_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return run.returncode, run.stderr


def assert_one_line(code, stderr, expected_code, words):
    assert code == expected_code
    assert stderr.count("\n") == 1
    assert words in stderr


def test_a_missing_configuration_is_exit_78_and_one_line(short_dir):
    assert_one_line(*run_fusion(short_dir / "gone.yaml"), EXIT_CONFIG, "gone.yaml: no such file")


def test_a_bad_configuration_is_exit_78_and_one_line(write_config):
    path = write_config(STREAMS + "fuson: {}\n")
    assert_one_line(*run_fusion(path), EXIT_CONFIG, "visualpath.yaml:3: fuson: unknown key; did you mean 'fusion'?")


def test_no_rules_are_exit_78_and_one_line(write_config):
    assert_one_line(*run_fusion(write_config(STREAMS)), EXIT_CONFIG, "fusion.rules is empty")


def test_a_missing_plug_in_is_exit_78_and_one_line(write_config):
    path = write_config(STREAMS + "fusion: {plugin: gone}\n")
    assert_one_line(*run_fusion(path), EXIT_CONFIG, "no plug-in 'gone'")


def test_a_state_dir_that_cannot_be_used_is_exit_74_and_one_line(write_config, short_dir):
    (short_dir / "state").write_text("a file")
    assert_one_line(*run_fusion(write_config(RULES)), EXIT_STORAGE, "/state")


def test_a_file_in_a_sockets_place_is_exit_78_and_one_line(write_config, short_dir):
    folder = short_dir / "run" / "fusion"
    folder.mkdir(parents=True)
    (folder / "tap").write_text("precious")
    assert_one_line(*run_fusion(write_config(RULES)), EXIT_CONFIG, "exists and is no socket")


def test_a_second_daemon_is_exit_75_and_one_line(service, write_config):
    assert_one_line(*run_fusion(write_config(RULES)), EXIT_RUNNING_ALREADY, f"pid {os.getpid()} holds")


DEFECT = """
import sys
from visualpath.runtime.main import run_daemon
def make(service, name):
    raise ZeroDivisionError("of ours")
sys.exit(run_daemon(None, lambda _: "fusion", make, named=False))
"""


def test_a_defect_is_exit_1_with_its_traceback(write_config):
    code, stderr = run_fusion(write_config(RULES), script=DEFECT)
    assert code == EXIT_FAILED
    assert "stopped by a defect of its own" in stderr
    assert "ZeroDivisionError: of ours" in stderr


# File descriptors ------------------------------------------------------------------------------


def test_a_daemon_may_use_the_file_descriptors_that_the_system_lets_it(start_daemon, write_config, client):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        start_daemon("clip", write_config(STREAMS))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    pid = client.ask("clip", "status", timeout_ms=60_000)["pid"]
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == min(before[1], MAX_FILES)


def test_the_status_says_how_many_descriptors_are_open(service, client, links, wait_for):
    before = client.ask("fusion", "status")["open_files"]
    links.connect(CONTROL, "fusion")
    assert wait_for(lambda: client.ask("fusion", "status")["open_files"] > before)
