"""A configuration of fusion, and the daemons around it as a test plays them."""

from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Ack, Obs, ObservationBody, StreamState, Trig
from visualpath_protocol.sockets import HEADERS, OBSERVATIONS, TRIGGERS, topic

MS = 1_000_000
EPOCH = 5
CONFIG = """
streams: {cam1: {source: a.mp4}}
extractors: {face: {}, text: {}}
fusion:
  window: 20s
  idle_timeout: 20s
  rules:
    - {label: smile, when: {all: [face.count >= 1, text.count >= 1]}, for: 200ms, cooldown: 1s, score: face.sure}
"""


class World:
    """The daemons around fusion, as far as fusion sees them."""

    def __init__(self, links):
        self._headers = links.bind(HEADERS, "frame-cam1")
        self._clip = links.bind(TRIGGERS, "clip")
        self._obs = links.connect(OBSERVATIONS, "fusion")
        self._seq = dict.fromkeys(("face", "text"), -1)

    def say_state(self, state="live", epoch=EPOCH, **fields):
        """The frame daemon's word, when fusion has subscribed to it."""
        if not hasattr(self, "subscribed"):
            assert self._headers.poll(10_000), "fusion did not subscribe"
            self.subscribed = self._headers.recv()
        message = StreamState(stream="cam1", epoch=epoch, state=state, **fields)
        self._headers.send_multipart([topic("cam1", "s"), encode(message)])

    def push(self, message):
        assert self._obs.poll(10_000, 2), "fusion does not take messages"
        self._obs.send(message if isinstance(message, bytes) else encode(message))

    def obs(self, source, frame_id, count, epoch=EPOCH, **signals):
        self._seq[source] += 1
        body = ObservationBody(signals={"count": count, **signals})
        message = Obs(
            source=source,
            instance="i1",
            seq=self._seq[source],
            stream="cam1",
            epoch=epoch,
            frame_id=frame_id,
            t_ns=frame_id * 50 * MS,
            mono_ns=0,
            observations=[body],
            bound_ns=frame_id * 50 * MS,
        )
        self.push(message)

    def play(self):
        """Eleven frames of 50 ms: a face from frame 2 on, text from frame 3 on."""
        for frame_id in range(11):
            self.obs("face", frame_id, float(frame_id >= 2), sure=0.75)
            self.obs("text", frame_id, float(frame_id >= 3))

    def sent(self, timeout_s=10.0):
        """The bytes of the next TRIG that reaches the clip daemon, or None."""
        if not self._clip.poll(int(timeout_s * 1000)):
            return None
        self._peer, body = self._clip.recv_multipart()
        return body

    def trig(self, timeout_s=10.0):
        """The next TRIG that reaches the clip daemon, or None."""
        body = self.sent(timeout_s)
        return body and Codec(Trig, max_bytes=TRIGGERS.max_bytes).decode(body)

    def ack(self, trig):
        body = encode(Ack(trig_id=trig.trig_id, revision=trig.revision, result="accepted"))
        self._clip.send_multipart([self._peer, body])
