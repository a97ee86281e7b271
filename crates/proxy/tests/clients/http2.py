"""A peer that speaks HTTP/2 in frames, by another hand than the gateway's library: hyperframe makes
the frames and hpack the headers. Named cases of RFC 9113; what came of each is printed as JSON."""

import json
import os
import socket
import struct
import sys

import hpack
from hyperframe.frame import (
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame,
    PushPromiseFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)

HOST, PORT = os.environ["GATEWAY"].rsplit(":", 1)
KEY = os.environ["KEY"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Peer:
    def __init__(self, settings=None, preface=PREFACE):
        self.socket = socket.create_connection((HOST, int(PORT)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""
        self.next_stream = 1
        self.socket.sendall(preface)
        self.send(SettingsFrame(settings=settings or {}))

    def send(self, *frames):
        self.socket.sendall(b"".join(frame.serialize() for frame in frames))

    def head(self, headers):
        return self.encoder.encode(headers)

    def fill(self, length):
        while len(self.buffer) < length:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data

    def frame(self):
        """The next frame; SETTINGS are acknowledged on the way."""
        self.fill(9)
        frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
        self.fill(9 + length)
        body, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
        frame.parse_body(memoryview(body))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.send(SettingsFrame(flags=["ACK"]))
        if isinstance(frame, HeadersFrame):
            # All of them, wanted or not: each may add to the table that the next refers to.
            frame.headers = dict(self.decoder.decode(frame.data))
        return frame

    def ask(self, prompt="sim:say=\"hi\"", stream=False, end=True, **more):
        """Sends a request; its stream."""
        number = self.next_stream
        self.next_stream += 2
        body = json.dumps({"model": "gpt-5.5", "stream": stream, "input": prompt}).encode()
        body = more.get("body", body)
        headers = more.get("headers", request(len(body)))
        block = self.head(headers)
        pieces = [block[start:start + 16384] for start in range(0, len(block), 16384)]
        frames = [HeadersFrame(number, pieces[0])]
        frames += [ContinuationFrame(number, piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        self.send(*frames)
        if end:
            self.send(DataFrame(number, body, flags=["END_STREAM"]))
        return number

    def until(self, wanted):
        """Reads until this says what came, or the connection ends."""
        try:
            while True:
                frame = self.frame()
                said = wanted(frame)
                if said is not None:
                    return said
                if isinstance(frame, GoAwayFrame) and frame.error_code:
                    return f"goaway {frame.error_code}"
        except (EOFError, ConnectionError):
            return "closed"

    def status(self, frame):
        return frame.headers[":status"] if isinstance(frame, HeadersFrame) else None

    def answer(self, *numbers):
        """The ends of these streams in the order in which they came: status and length."""
        told, lengths, ends = {}, {number: 0 for number in numbers}, []

        def note(frame):
            if isinstance(frame, HeadersFrame):
                told[frame.stream_id] = self.status(frame)
            if isinstance(frame, DataFrame) and frame.stream_id in lengths:
                lengths[frame.stream_id] += len(frame.data)
                self.open_windows(frame)
            if isinstance(frame, RstStreamFrame) and frame.stream_id in lengths:
                ends.append((frame.stream_id, f"reset {frame.error_code}"))
            elif "END_STREAM" in frame.flags and frame.stream_id in lengths:
                ends.append((frame.stream_id, told[frame.stream_id]))
            return ends if len(ends) == len(numbers) else None

        end = self.until(note)
        return (end, lengths) if isinstance(end, str) else (ends, lengths)

    def open_windows(self, frame):
        if frame.data:
            grown = [WindowUpdateFrame(frame.stream_id, len(frame.data))]
            self.send(*grown, WindowUpdateFrame(0, len(frame.data)))

    def told(self, number):
        """How one stream ended."""
        ends, _ = self.answer(number)
        return ends if isinstance(ends, str) else ends[0][1]


def request(length, *more):
    headers = [
        (":method", "POST"), (":scheme", "http"), (":authority", "gateway.test"),
        (":path", "/v1/responses"), ("authorization", "Bearer " + KEY),
        ("content-type", "application/json"),
    ]
    return headers + ([("content-length", str(length))] if length is not None else []) + list(more)


@case
def the_first_frame_is_settings():
    peer = Peer()
    return type(peer.frame()).__name__


@case
def settings_are_acknowledged():
    peer = Peer()
    seen = lambda f: "acknowledged" if isinstance(f, SettingsFrame) and "ACK" in f.flags else None
    return peer.until(seen)


@case
def a_wrong_preface_ends_the_connection():
    peer = Peer(preface=PREFACE[:-6] + b"XX\r\n\r\n")
    return peer.until(lambda frame: None)


@case
def a_request_is_answered():
    peer = Peer()
    return peer.told(peer.ask())


@case
def a_ping_is_answered_with_its_bytes():
    peer = Peer()
    peer.send(PingFrame(0, b"12345678"))
    is_pong = lambda f: f.opaque_data.decode() if isinstance(f, PingFrame) else None
    return peer.until(is_pong)


@case
def an_unknown_frame_is_ignored():
    peer = Peer()
    peer.socket.sendall(b"\x00\x00\x02\xfa\x00\x00\x00\x00\x00ab")
    return peer.told(peer.ask())


@case
def an_unknown_setting_is_ignored():
    peer = Peer(settings={0x4242: 7})
    return peer.told(peer.ask())


@case
def a_priority_is_ignored():
    peer = Peer()
    peer.send(PriorityFrame(1, depends_on=0, stream_weight=5))
    return peer.told(peer.ask())


@case
def a_tiny_window_gets_all_in_tiny_pieces():
    whole = Peer()
    _, length = whole.answer(whole.ask())
    peer = Peer(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10})
    largest = []
    open_windows = peer.open_windows
    peer.open_windows = lambda frame: (largest.append(len(frame.data)), open_windows(frame))
    ends, pieces = peer.answer(peer.ask())
    # Ids differ from answer to answer, their lengths do not.
    return [ends[0][1], max(largest), list(length.values()) == list(pieces.values())]


@case
def a_closed_window_gets_nothing_until_it_opens():
    peer = Peer(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0})
    number = peer.ask()
    first = peer.until(lambda f: peer.status(f) or ("data" if isinstance(f, DataFrame) else None))
    peer.send(PingFrame(0, b"anything"))
    between = peer.until(lambda f: type(f).__name__ if isinstance(f, (PingFrame, DataFrame)) else None)
    peer.send(SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535}))
    last = peer.until(lambda f: "end" if "END_STREAM" in f.flags and f.stream_id == number else None)
    return [first, between, last]


@case
def streams_end_in_their_own_time():
    peer = Peer()
    slow = peer.ask("sim:first=400ms sim:say=\"slow\"", stream=True)
    quick = peer.ask()
    ends, _ = peer.answer(slow, quick)
    return [["quick" if number == quick else "slow", status] for number, status in ends]


@case
def forty_streams_at_once_are_answered():
    peer = Peer()
    numbers = [peer.ask("sim:words=20", stream=True) for _ in range(40)]
    ends, _ = peer.answer(*numbers)
    return sorted({status for _, status in ends}), len(ends)


@case
def a_body_larger_than_the_windows_waits_for_them():
    peer = Peer()
    body = json.dumps({"model": "gpt-5.5", "input": "sim:say=\"hi\" " + "x" * 300_000}).encode()
    number = peer.ask(body=body, end=False)
    windows = {0: 65535, number: 65535}
    sent = 0
    answered = None
    while sent < len(body):
        room = min(windows[0], windows[number], 16384, len(body) - sent)
        if room > 0:
            peer.send(DataFrame(number, body[sent:sent + room]))
            sent += room
            windows[0] -= room
            windows[number] -= room
            continue
        frame = peer.frame()
        if isinstance(frame, WindowUpdateFrame) and frame.stream_id in windows:
            windows[frame.stream_id] += frame.window_increment
        if isinstance(frame, SettingsFrame):
            grown = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535)
            windows[number] += grown - 65535
    peer.send(DataFrame(number, b"", flags=["END_STREAM"]))
    answered = peer.told(number)
    return answered


@case
def a_stream_that_is_reset_leaves_the_others():
    peer = Peer()
    left = peer.ask("sim:words=2000 sim:pace=20ms", stream=True)
    peer.until(lambda f: True if isinstance(f, DataFrame) and f.stream_id == left else None)
    peer.send(RstStreamFrame(left, error_code=8))
    return peer.told(peer.ask())


@case
def what_is_open_ends_after_a_clients_goaway():
    peer = Peer()
    number = peer.ask("sim:first=200ms sim:say=\"hi\"", stream=True)
    head = peer.until(peer.status)
    peer.send(GoAwayFrame(0, last_stream_id=0, error_code=0))
    ended = lambda frame: head if "END_STREAM" in frame.flags and frame.stream_id == number else None
    return peer.until(ended)


@case
def headers_may_go_on_in_continuations():
    peer = Peer()
    body = b"{\"model\":\"gpt-5.5\",\"input\":\"hello\"}"
    block = peer.head(request(len(body), ("x-long", "a" * 5000)))
    third = len(block) // 3
    peer.send(
        HeadersFrame(1, block[:third]),
        ContinuationFrame(1, block[third:2 * third]),
        ContinuationFrame(1, block[2 * third:], flags=["END_HEADERS"]),
        DataFrame(1, body, flags=["END_STREAM"]),
    )
    return peer.told(1)


@case
def nothing_may_stand_between_continuations():
    peer = Peer()
    peer.send(HeadersFrame(1, peer.head(request(None))[:10]), PingFrame(0, b"12345678"))
    return peer.until(lambda frame: None)


@case
def endless_continuations_are_ended():
    peer = Peer()
    try:
        peer.send(HeadersFrame(1, peer.head(request(None))))
        for number in range(4000):
            literal = peer.head([(f"x-{number}", "a" * 1000)])
            peer.send(ContinuationFrame(1, literal))
    except OSError:
        pass
    end = peer.until(lambda f: peer.status(f))
    return "ended" if end in ("closed", "431") or end.startswith("goaway") else end


@case
def headers_that_are_too_long_are_refused():
    peer = Peer()
    number = peer.ask(headers=request(2, ("x-long", "a" * 15000), ("x-longer", "b" * 15000)), body=b"{}")
    first = peer.told(number)
    return [first, peer.told(peer.ask())]


@case
def rapid_resets_do_not_hurt_others():
    peer = Peer()
    try:
        for _ in range(3000):
            number = peer.ask(end=False)
            peer.send(RstStreamFrame(number, error_code=8))
    except OSError:
        pass
    end = peer.until(lambda frame: None)
    other = Peer()
    return ["ended" if end == "closed" or end.startswith("goaway") else end, other.told(other.ask())]


@case
def a_flood_of_pings_does_not_hurt_others():
    peer = Peer()
    peer.socket.settimeout(2)
    try:
        for _ in range(100):
            peer.send(*[PingFrame(0, b"12345678") for _ in range(1000)])
    except OSError:
        pass
    other = Peer()
    return other.told(other.ask())


@case
def a_flood_of_settings_does_not_hurt_others():
    peer = Peer()
    peer.socket.settimeout(2)
    try:
        for _ in range(100):
            peer.send(*[SettingsFrame(settings={4: 70000}) for _ in range(1000)])
    except OSError:
        pass
    other = Peer()
    return other.told(other.ask())


def breach(*frames, settings=None):
    peer = Peer(settings=settings)
    peer.send(*frames)
    return peer.until(lambda f: f"reset {f.error_code}" if isinstance(f, RstStreamFrame) else None)


def malformed(*more, without=None, body=b"{}", length=2, end=True):
    peer = Peer()
    headers = [pair for pair in request(length) if pair[0] != without]
    pseudo = [pair for pair in more if pair[0].startswith(":")]
    other = [pair for pair in more if not pair[0].startswith(":")]
    number = peer.ask(headers=pseudo + headers + other, body=body, end=end)
    return peer.told(number)


@case
def data_on_an_idle_stream():
    return breach(DataFrame(1, b"x"))


@case
def a_stream_of_the_servers_number():
    return breach(HeadersFrame(2, Peer().head(request(None)), flags=["END_HEADERS", "END_STREAM"]))


@case
def a_number_lower_than_the_last():
    peer = Peer()
    peer.send(HeadersFrame(5, peer.head(request(None)), flags=["END_HEADERS", "END_STREAM"]))
    peer.send(HeadersFrame(3, peer.head(request(None)), flags=["END_HEADERS", "END_STREAM"]))
    return peer.until(lambda frame: None)


@case
def a_frame_longer_than_allowed():
    peer = Peer()
    number = peer.ask(end=False)
    peer.socket.sendall(struct.pack(">I", 16385 << 8)[:3] + b"\x00\x00" + struct.pack(">I", number) + b"x" * 16385)
    # The code may be lost with the bytes that nobody reads any more.
    end = peer.until(lambda frame: None)
    return "ended" if end in ("closed", "goaway 6") else end


@case
def a_ping_of_the_wrong_length():
    peer = Peer()
    peer.socket.sendall(b"\x00\x00\x04\x06\x00\x00\x00\x00\x00abcd")
    return peer.until(lambda frame: None)


@case
def a_window_that_grows_by_nothing():
    peer = Peer()
    peer.socket.sendall(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + b"\x00" * 4)
    return peer.until(lambda frame: None)


@case
def a_window_that_grows_too_far():
    return breach(WindowUpdateFrame(0, 0x7FFFFFFF), WindowUpdateFrame(0, 0x7FFFFFFF))


@case
def a_window_setting_that_is_too_large():
    peer = Peer()
    peer.socket.sendall(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x80\x00\x00\x00")
    return peer.until(lambda frame: None)


@case
def a_header_block_that_cannot_be_read():
    return breach(HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS", "END_STREAM"]))


@case
def a_promise_of_a_client():
    return breach(PushPromiseFrame(1, promised_stream_id=2, data=b"", flags=["END_HEADERS"]))


@case
def a_continuation_of_nothing():
    return breach(ContinuationFrame(1, b"x", flags=["END_HEADERS"]))


@case
def data_after_the_end():
    peer = Peer()
    number = peer.ask()
    peer.send(DataFrame(number, b"more"))
    return peer.until(lambda f: f"reset {f.error_code}" if isinstance(f, RstStreamFrame) else None)


@case
def a_name_in_upper_case():
    # No body: it would arrive after the connection's end, whose reset may overtake the farewell.
    return malformed(("X-Upper", "a"), end=False)


@case
def a_header_of_the_connection():
    return malformed(("connection", "close"))


@case
def no_method():
    return malformed(without=":method")


@case
def two_methods():
    return malformed((":method", "POST"))


@case
def an_unknown_pseudo_header():
    return malformed((":unknown", "a"))


@case
def a_length_that_is_not_the_bodys():
    return malformed(length=7)


names = sys.argv[1:] or list(CASES)
told = {}
for name in names:
    try:
        told[name] = CASES[name]()
    except Exception as error:  # A case that breaks is told as such, and is then not as expected.
        told[name] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
