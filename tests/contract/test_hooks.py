"""Hooks against real commands and a real HTTP server; the watch daemon beside a real clip daemon."""

import json
import shlex
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from visualpath.core.units import Duration
from visualpath.runtime.hooks import HookConfig
from visualpath.runtime.refusals import Refusals
from visualpath.watch import hooks as hooks_module
from visualpath.watch.delivery import Untold, deliver
from visualpath.watch.hooks import MAX_WAITING, Hook
from visualpath.watch.memory import Told, load, save

EVENT = {"event": "health", "id": "health-1", "daemon": "clip", "state": "failed", "reason": "down"}
SECRET = "hush-hush-token"


@pytest.fixture
def script(tmp_path):
    """Write a shell script that can be executed; returns its path."""

    def write(text, name="hook"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return write


class Server:
    """Answers each POST with the next status (the last one again and again), and keeps what came."""

    def __init__(self, *statuses):
        self.requests = []
        self._statuses = list(statuses)
        self.silent = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, dict(self.headers), body))
                if server.silent.is_set():
                    time.sleep(5)
                    return
                self.send_response(server._statuses.pop(0) if len(server._statuses) > 1 else server._statuses[0])
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server():
    made = []

    def make(*statuses):
        made.append(Server(*statuses))
        return made[-1]

    yield make
    for each in made:
        each.close()


def tell(folder, timeout_s=10.0, **config):
    """One attempt."""
    deliver(HookConfig(timeout_ns=Duration(timeout_s * 1e9), **config), EVENT, folder, threading.Event())


def why(folder, **config):
    with pytest.raises(Untold) as caught:
        tell(folder, **config)
    return str(caught.value)


# Commands -------------------------------------------------------------------------------------------


def test_a_command_reads_the_event_as_json(tmp_path, script):
    tell(tmp_path, exec=[script("cat > seen.json")])
    assert json.loads((tmp_path / "seen.json").read_text()) == EVENT


def test_its_environment_has_the_fields(tmp_path, script):
    tell(tmp_path, exec=[script('echo "$VP_EVENT $VP_DAEMON $VP_STATE $VP_REASON" > seen')])
    assert (tmp_path / "seen").read_text() == "health clip failed down\n"


def test_its_arguments_go_through_no_shell(tmp_path, script):
    tell(tmp_path, exec=[script('echo "$1" > seen'), "$(touch broken); `id`"])
    assert (tmp_path / "seen").read_text() == "$(touch broken); `id`\n"


def test_a_path_counts_from_the_folder_of_the_yaml(tmp_path, script):
    script("touch seen", name="mine")
    tell(tmp_path, exec=["./mine"])
    assert (tmp_path / "seen").exists()


def test_a_command_that_does_not_read_is_no_failure(tmp_path):
    tell(tmp_path, exec=["true"])


def test_the_daemons_way_to_systemd_is_not_inherited(tmp_path, script, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/none")
    tell(tmp_path, exec=[script('test -z "$NOTIFY_SOCKET"')])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("exit 3", "exit status 3"), ("kill -9 $$", "killed by SIGKILL"), ("kill -35 $$", "killed by signal 35")],
    ids=["exit", "signal", "nameless signal"],
)
def test_a_command_that_fails_is_a_failure_with_its_reason(tmp_path, script, text, reason):
    assert why(tmp_path, exec=[script(text)]) == reason


def test_a_command_that_is_not_there_is_a_failure(tmp_path):
    assert why(tmp_path, exec=["/no/such", SECRET]) == "cannot be run: No such file or directory"


def is_gone(pid):
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path, script, wait_for):
    child = script("echo $$ > child; exec sleep 1000", name="child.sh")
    reason = why(tmp_path, exec=[script(f"{shlex.quote(child)} & wait")], timeout_s=0.5)
    assert reason == "no end after 0.5 s: killed"
    pid = int((tmp_path / "child").read_text())
    assert wait_for(lambda: is_gone(pid))


# Webhooks -------------------------------------------------------------------------------------------


def test_a_webhook_is_posted_the_event(tmp_path, server):
    there = server(204)
    tell(tmp_path, webhook=f"{there.address}/x", headers={"Authorization": SECRET})
    [(path, headers, body)] = there.requests
    assert (path, headers["Authorization"], headers["Content-Type"], body) == ("/x", SECRET, "application/json", EVENT)


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (503, True), (429, True), (408, True), (404, False), (401, False), (302, False)]
)
def test_which_refusals_are_tried_again(tmp_path, server, status, again):
    with pytest.raises(Untold) as caught:
        tell(tmp_path, webhook=f"{server(status).address}/x")
    assert caught.value.again is again


def test_a_redirect_is_not_followed(tmp_path, server):
    there = server(307)
    why(tmp_path, webhook=f"{there.address}/x")
    assert len(there.requests) == 1


def test_a_server_that_does_not_answer_is_given_up_in_time(tmp_path, server):
    there = server(200)
    there.silent.set()
    assert why(tmp_path, webhook=f"{there.address}/x", timeout_s=0.3).startswith("nothing came in time")


@pytest.fixture
def answer():
    """Make a server that answers what it is sent by what a function makes of that, once; returns its address."""
    sockets = []

    def make(reply):
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def serve():
            with listening.accept()[0] as connection:
                connection.sendall(reply(connection.recv(65536)))

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield make
    for each in sockets:
        each.close()


def test_a_server_that_answers_a_byte_at_a_time_is_given_up_in_time(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        untold = pool.submit(why, tmp_path, webhook=address, timeout_s=0.5)
        with listening.accept()[0] as connection:
            while not untold.done():
                with suppress(OSError):
                    connection.send(b"H")
                time.sleep(0.05)
    assert untold.result() == "nothing came in time: no whole answer after 0.5 s"


def test_a_server_that_sends_back_what_it_was_sent_does_not_bring_the_secret_into_the_log(tmp_path, answer):
    reason = why(tmp_path, webhook=f"{answer(lambda asked: asked)}/{SECRET}")
    assert reason == "its answer is no HTTP, or too long"


@pytest.mark.parametrize("after", ["9" * 5000, "Fri, 31 Dec 99999999999 23:59:59 GMT"], ids=["number", "year"])
def test_a_wait_that_no_number_can_hold_is_none(tmp_path, answer, after):
    address = answer(lambda _asked: f"HTTP/1.1 503 x\r\nRetry-After: {after}\r\n\r\n".encode())
    with pytest.raises(Untold) as caught:
        tell(tmp_path, webhook=address)
    assert caught.value.wait_s == 0


def test_at_debug_the_log_shows_no_path_of_an_address(tmp_path, server, caplog):
    caplog.set_level("DEBUG")
    tell(tmp_path, webhook=f"{server(200).address}/{SECRET}")
    assert SECRET not in caplog.text


@pytest.mark.parametrize("status", [None, 404, 500])
def test_a_failure_shows_no_secret(tmp_path, server, status):
    address = server(status).address if status else "http://127.0.0.1:1"
    assert SECRET not in why(tmp_path, webhook=f"{address}/{SECRET}?{SECRET}", headers={"X": SECRET})


# One hook after another -----------------------------------------------------------------------------


@pytest.fixture
def hook(tmp_path, monkeypatch):
    """Make a hook whose waits are short; `ended` and `counters` say what became of its events."""
    monkeypatch.setattr(hooks_module, "FIRST_WAIT_S", 0.01)
    made = []

    def make(**config):
        counters = Counter()
        ended = []

        def end(event, result):
            ended.append((event["id"], result))

        one = Hook("ops", HookConfig(**config), tmp_path, Refusals(counters), end)
        one.counters, one.ended = counters, ended
        made.append(one)
        return one

    yield make
    for each in made:
        each.stop()
        each.join(time.monotonic_ns() + 5 * 10**9)


def test_an_event_that_is_taken_is_done(hook, wait_for):
    one = hook(exec=["true"])
    one.put(EVENT)
    assert wait_for(lambda: one.ended) == [("health-1", "done")]


def test_what_fails_is_tried_again_until_it_is_taken(hook, server, wait_for):
    there = server(500, 500, 200)
    one = hook(webhook=there.address)
    one.put(EVENT)
    assert wait_for(lambda: one.ended) == [("health-1", "done")]
    assert (len(there.requests), one.counters) == (3, {"hooks.retried.ops": 2})


def test_after_the_last_attempt_it_is_given_up_and_counted(hook, wait_for):
    one = hook(exec=["false"], retries=2)
    one.put(EVENT)
    assert wait_for(lambda: one.ended) == [("health-1", "failed")]
    assert one.counters == {"hooks.retried.ops": 2, "hooks.failed.ops": 1}


def test_what_is_refused_for_good_is_given_up_at_once(hook, server, wait_for):
    there = server(404)
    one = hook(webhook=there.address)
    one.put(EVENT)
    assert wait_for(lambda: one.ended) == [("health-1", "failed")]
    assert len(there.requests) == 1


def test_events_are_told_in_their_order(hook, server, wait_for):
    there = server(500, 200)
    one = hook(webhook=there.address)
    for number in range(5):
        one.put({**EVENT, "id": str(number)})
    assert [each for each, _ in wait_for(lambda: len(one.ended) == 5 and one.ended)] == list("01234")


def test_what_finds_too_many_waiting_is_dropped_and_counted(hook, script, wait_for, tmp_path):
    one = hook(exec=[script("touch begun; sleep 1000")])
    one.put(EVENT)
    wait_for((tmp_path / "begun").exists)
    taken = [one.put(EVENT) for _ in range(MAX_WAITING + 3)]
    assert (taken.count(True), one.counters) == (MAX_WAITING, {"hooks.full.ops": 3})


def test_a_stop_ends_a_command_that_runs_and_leaves_its_event_for_the_next_start(hook, script, wait_for, tmp_path):
    one = hook(exec=[script("echo $$ > pid; exec sleep 1000")])
    one.put(EVENT)
    pid = int(wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    one.stop()
    assert wait_for(lambda: is_gone(pid))
    assert one.ended == []


def test_a_defect_in_the_thread_is_kept_for_the_loop(hook, wait_for):
    one = hook(exec=["true"])
    one.put({"event": {"no JSON"}})
    assert isinstance(wait_for(lambda: one.failure), TypeError)


# The daemon -----------------------------------------------------------------------------------------

CONFIG = """
    state_dir: state
    ring: {{dir: ring, length: 30s}}
    clip: {{dir: clips, pre: 80ms, post: 80ms, stall_timeout: 60s, format: mjpeg}}
    streams:
      cam1: {{source: none.mp4}}
    hooks:
      ops: {{exec: [{python}, {hook}], for: 100ms, retries: 0}}
"""

APPEND = """
import json, sys
from pathlib import Path
with open(Path(__file__).with_name("told"), "a") as file:
    file.write(json.dumps(json.load(sys.stdin)) + "\\n")
"""


@pytest.fixture
def told(short_dir):
    """What the hook was told so far."""

    def read(kind=""):
        try:
            events = map(json.loads, (short_dir / "told").read_text().splitlines())
        except FileNotFoundError:
            return []
        return [event for event in events if event["event"].startswith(kind)]

    return read


@pytest.fixture
def config(write_config, short_dir):
    (short_dir / "hook.py").write_text(APPEND)
    return write_config(CONFIG.format(python=sys.executable, hook=short_dir / "hook.py"))


def memory(short_dir):
    path = short_dir / "state" / "watch" / "told.json"
    return json.loads(path.read_text())["ops"] if path.exists() else {}


@pytest.fixture
def watched(start_daemon, config, fake_stream, wait_for, short_dir):
    """A clip daemon with a camera that the test plays, and a watch that has asked it once."""
    clip = start_daemon("clip", config)
    camera = fake_stream("cam1")
    camera.await_subscribers(1, kind="h")
    watch = start_daemon("watch", config)
    wait_for(lambda: memory(short_dir).get("outcome") is not None, timeout_s=20)
    return clip, watch, camera


def make_clip(camera, trigger, label, first):
    """Five frames and a trigger in their middle."""
    camera.frames(first, first + 4)
    trig = trigger(label, camera.epoch, (first + 2) * camera.FRAME_NS, (first + 2) * camera.FRAME_NS)
    camera.frames(first + 5, first + 9)
    return trig


def test_a_clip_that_is_saved_is_told_with_its_path(watched, trigger, told, wait_for):
    trig = make_clip(watched[2], trigger, "smile", 0)
    [event] = wait_for(lambda: told("clip"), timeout_s=30)
    assert (event["event"], event["clip"], event["stream"], event["label"]) == (
        "clip.saved", trig.trig_id, "cam1", "smile",
    )  # fmt: skip
    assert Path(event["path"]).is_file()


def test_a_clip_that_cannot_be_made_is_told_with_the_reason(watched, trigger, told, wait_for):
    camera = watched[2]
    camera.frames(0, 4)
    camera.begin(2)
    camera.frames(0, 4)
    trigger("smile", 1, 10**9, 10**9)
    [event] = wait_for(lambda: told("clip"), timeout_s=30)
    assert (event["event"], event["path"]) == ("clip.failed", "")
    assert event["reason"]


def test_clips_of_the_time_before_the_hook_are_not_told(
    start_daemon, config, fake_stream, trigger, told, wait_for, counter, short_dir
):
    start_daemon("clip", config)
    camera = fake_stream("cam1")
    camera.await_subscribers(1, kind="h")
    make_clip(camera, trigger, "before", 0)
    wait_for(lambda: counter("clip", "clips.saved") == 1)
    start_daemon("watch", config)
    wait_for(lambda: memory(short_dir).get("outcome"), timeout_s=20)
    make_clip(camera, trigger, "after", 100)
    assert [event["label"] for event in wait_for(lambda: told("clip"), timeout_s=30)] == ["after"]


def test_a_clip_that_is_saved_while_the_watch_is_dead_is_told_when_it_is_back(
    watched, start_daemon, config, trigger, told, wait_for, counter
):
    _, watch, camera = watched
    watch.kill()
    trig = make_clip(camera, trigger, "smile", 0)
    wait_for(lambda: counter("clip", "clips.saved") == 1)
    start_daemon("watch", config)
    assert [event["clip"] for event in wait_for(lambda: told("clip"), timeout_s=30)] == [trig.trig_id]


def test_what_was_told_is_not_told_again_after_an_orderly_restart(
    watched, start_daemon, config, trigger, told, wait_for, short_dir
):
    _, watch, camera = watched
    make_clip(camera, trigger, "first", 0)
    seq = wait_for(lambda: told("clip"), timeout_s=30)[0]["seq"]
    wait_for(lambda: memory(short_dir)["outcome"] == seq)
    assert watch.stop() == 0
    start_daemon("watch", config)
    make_clip(camera, trigger, "second", 100)
    wait_for(lambda: len(told("clip")) >= 2, timeout_s=30)
    assert [event["label"] for event in told("clip")] == ["first", "second"]


def test_a_daemon_that_goes_and_comes_back_is_told_with_reason_and_since(
    watched, start_daemon, config, ask, told, wait_for
):
    clip, _, camera = watched
    camera.frames(0, 4)
    wait_for(lambda: ask("watch", "status")["health"].get("clip", {}).get("state") == "healthy", timeout_s=20)
    clip.kill()

    def of_clip():
        return [event for event in told("health") if event["daemon"] == "clip"]

    [gone] = wait_for(of_clip, timeout_s=30)
    assert (gone["state"], gone["before"], gone["reason"]) == ("failed", "healthy", "does not answer")
    assert gone["since"]
    start_daemon("clip", config)
    back = wait_for(lambda: len(of_clip()) > 1 and of_clip()[1], timeout_s=30)
    assert (back["state"], back["before"]) == ("healthy", "failed")


def test_what_a_hook_did_not_take_does_not_count_as_told(watched, ask, wait_for, counter, short_dir):
    clip, _, camera = watched
    camera.frames(0, 4)
    wait_for(lambda: ask("watch", "status")["health"].get("clip", {}).get("state") == "healthy", timeout_s=20)
    (short_dir / "hook.py").write_text("import sys\nsys.exit(1)\n")
    clip.kill()
    wait_for(lambda: counter("watch", "hooks.failed.ops"), timeout_s=30)
    assert "clip" not in memory(short_dir)["health"]


def test_a_hook_passes_over_clips_that_it_is_not_told(
    start_daemon, config, write_config, fake_stream, trigger, wait_for, short_dir
):
    text = config.read_text().replace("ops: {", "ops: {on: [clip.failed], ")
    config.write_text(text)
    start_daemon("clip", config)
    camera = fake_stream("cam1")
    camera.await_subscribers(1, kind="h")
    start_daemon("watch", config)
    wait_for(lambda: memory(short_dir).get("outcome") == 0, timeout_s=20)
    make_clip(camera, trigger, "smile", 0)
    assert wait_for(lambda: memory(short_dir)["outcome"], timeout_s=30)


def test_a_hook_that_is_told_clips_again_is_not_told_those_of_the_time_between(config, short_dir):
    path = short_dir / "told.json"
    save(path, {"ops": Told(outcome=5), "other": Told(outcome=7)})
    hooks = {"ops": HookConfig(exec=["tell"], on=["health"]), "other": HookConfig(exec=["tell"])}
    assert {name: told.outcome for name, told in load(path, hooks).items()} == {"ops": None, "other": 7}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"ops": {"outcome": -1}}', b'{"ops": {"outcome": 99999999999999999999}}'],
)
def test_a_memory_that_cannot_be_read_is_as_none(tmp_path, content):
    path = tmp_path / "told.json"
    path.write_bytes(content)
    assert load(path, {"ops": HookConfig(exec=["tell"])}) == {"ops": Told()}


@pytest.mark.parametrize(
    ("ahead_ns", "labels"), [(1, ["first", "second"]), (86_400 * 10**9, ["first", "first", "second"])]
)
def test_a_ledger_that_lacks_what_was_told_is_told_anew_only_if_the_clock_was_put_back(
    watched, start_daemon, config, trigger, told, wait_for, short_dir, ahead_ns, labels
):
    _, watch, camera = watched
    make_clip(camera, trigger, "first", 0)
    wait_for(lambda: memory(short_dir)["outcome"], timeout_s=30)
    assert watch.stop() == 0
    path = short_dir / "state" / "watch" / "told.json"
    everything = json.loads(path.read_text())
    everything["ops"]["outcome"] += ahead_ns
    path.write_text(json.dumps(everything))
    start_daemon("watch", config)
    make_clip(camera, trigger, "second", 100)
    wait_for(lambda: told("clip")[-1]["label"] == "second", timeout_s=30)
    assert [event["label"] for event in told("clip")] == labels


def test_the_watch_ends_with_78_where_there_are_no_hooks(write_config, start_daemon):
    watch = start_daemon("watch", write_config("streams:\n  cam1: {source: none.mp4}\n"))
    assert watch.wait() == 78
    assert "has no hooks: there is nobody to tell anything" in watch.log()


def test_a_hook_that_hangs_does_not_hold_up_the_stop(watched, write_config, start_daemon, trigger, short_dir, wait_for):
    _, watch, camera = watched
    assert watch.stop() == 0
    (short_dir / "hook.py").write_text("import time, os\nopen('begun', 'w')\ntime.sleep(1000)\n")
    watch = start_daemon("watch", short_dir / "visualpath.yaml")
    make_clip(camera, trigger, "smile", 0)
    wait_for((short_dir / "begun").exists, timeout_s=30)
    begun = time.monotonic()
    assert watch.stop() == 0
    assert time.monotonic() - begun < 5


def test_the_secret_of_a_hook_is_in_no_log_and_no_answer(
    write_config, start_daemon, fake_stream, trigger, server, ask, wait_for, short_dir
):
    there = server(500)
    hook = f"{{webhook: '{there.address}/${{HOOK_TOKEN}}', headers: {{X: '${{HOOK_TOKEN}}'}}}}"
    text = CONFIG.format(python="", hook="").replace("{exec: [, ], for: 100ms, retries: 0}", hook)
    config = write_config(text + "    log: {level: debug}\n")
    start_daemon("clip", config, HOOK_TOKEN=SECRET)
    camera = fake_stream("cam1")
    camera.await_subscribers(1, kind="h")
    watch = start_daemon("watch", config, HOOK_TOKEN=SECRET)
    wait_for(lambda: memory(short_dir).get("outcome") is not None, timeout_s=20)
    make_clip(camera, trigger, "smile", 0)
    wait_for(lambda: there.requests, timeout_s=30)
    assert SECRET in there.requests[0][0]
    wait_for(lambda: ask("watch", "status")["counters"].get("hooks.retried.ops"), timeout_s=20)
    assert SECRET not in json.dumps(ask("watch", "status")) + watch.log()
