"""What a stranger may try. Each function attacks `target.grpc` or `target.metrics` until `stop` is set, and returns how many
times it did; an OSError is the server's defence, and no fault."""

import concurrent.futures
import contextlib
import os
import socket
import struct

import http2
from http2 import Connection, connect, frame

MESSAGE = 60 << 20


def keep_trying(stop, attempt):
    """Runs `attempt` until `stop`; it returns how much it did."""
    done = 0
    while not stop.is_set():
        try:
            done += attempt()
        except OSError:
            stop.wait(0.02)
    return done


def silent_connections(target, stop):
    """Two thousand connections that say nothing, again and again."""

    def attempt():
        with contextlib.ExitStack() as sockets:
            for i in range(2000):
                if stop.is_set():
                    return i
                sockets.enter_context(connect(target.grpc))
            stop.wait(1)
        return 2000

    return keep_trying(stop, attempt)


def aborted_connections(target, stop):
    """Connections that are reset as soon as they are there."""

    def attempt():
        with connect(target.grpc) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return 1

    return keep_trying(stop, attempt)


def noise(target, stop):
    """Bytes that are no HTTP/2."""

    def attempt():
        with connect(target.grpc) as connection:
            connection.sendall(os.urandom(4096) if attempt.count % 2 else b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            attempt.count += 1
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                connection.recv(100)
        return 1

    attempt.count = 0
    return keep_trying(stop, attempt)


def continuations(target, stop):
    """One header block without an end."""

    def attempt():
        connection = Connection(target.grpc, target.wrap)
        with contextlib.closing(connection):
            connection.send(frame(http2.HEADERS, 0, 1, http2.call_headers()))
            piece = frame(http2.CONTINUATION, 0, 1, http2.header("x-filler", b"x" * 16000))
            for i in range(2000):
                if stop.is_set():
                    return i
                connection.send(piece)
        return 2000

    return keep_trying(stop, attempt)


def endless_header(target, stop):
    """One header whose value is said to have 256 MiB, in pieces."""

    def attempt():
        connection = Connection(target.grpc, target.wrap)
        with contextlib.closing(connection):
            block = b"\x00" + http2.integer(1, 7) + b"x" + http2.integer(1 << 28, 7)
            connection.send(frame(http2.HEADERS, 0, 1, http2.call_headers() + block))
            piece = frame(http2.CONTINUATION, 0, 1, b"x" * 16384)
            for i in range(2000):
                if stop.is_set():
                    return i
                connection.send(piece)
        return 2000

    return keep_trying(stop, attempt)


def padded_integers(target, stop):
    """A length with endless leading zeros."""

    def attempt():
        connection = Connection(target.grpc, target.wrap)
        with contextlib.closing(connection):
            connection.send(frame(http2.HEADERS, 0, 1, http2.call_headers() + b"\x00\x7f" + b"\x80" * 8000))
            piece = frame(http2.CONTINUATION, 0, 1, b"\x80" * 16384)
            for i in range(500):
                if stop.is_set():
                    return i
                connection.send(piece)
        return 500

    return keep_trying(stop, attempt)


def header_bombs(target, stop):
    """A long header in the table, named thousands of times."""

    def attempt():
        connection = Connection(target.grpc, target.wrap)
        with contextlib.closing(connection):
            connection.send(frame(http2.HEADERS, http2.END_HEADERS, connection.next_stream(),
                                  http2.call_headers() + http2.header("x-bomb", b"x" * 3900, index=True)))
            bomb = http2.call_headers() + b"\xbe" * 12000
            for i in range(200):
                if stop.is_set():
                    return i
                connection.send(frame(http2.HEADERS, http2.END_HEADERS, connection.next_stream(), bomb))
        return 200

    return keep_trying(stop, attempt)


def rapid_resets(target, stop):
    """Calls that are taken back as soon as they have begun."""

    def attempt():
        connection = Connection(target.grpc, target.wrap)
        with contextlib.closing(connection):
            for i in range(0, 100_000, 100):
                if stop.is_set():
                    return i
                burst = b""
                for _ in range(100):
                    stream = connection.next_stream()
                    burst += frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers())
                    burst += frame(http2.RESET, 0, stream, struct.pack(">I", 8))
                connection.send(burst)
        return 100_000

    return keep_trying(stop, attempt)


def pings_and_settings(target, stop):
    """Control frames that want an answer each."""

    def attempt():
        connection = Connection(target.grpc, target.wrap)
        with contextlib.closing(connection):
            burst = (frame(http2.PING, 0, 0, b"12345678") + frame(http2.SETTINGS, 0, 0)) * 100
            for i in range(0, 100_000, 100):
                if stop.is_set():
                    return i
                connection.send(burst)
        return 100_000

    return keep_trying(stop, attempt)


def half_messages(target, stop):
    """Messages of 60 MiB that never end, forty at once, as fast as they are taken."""
    message = b"\x00" + struct.pack(">I", MESSAGE) + bytes(MESSAGE - (1 << 20))

    def one():
        with contextlib.closing(Connection(target.grpc, target.wrap)) as connection:
            connection.send(frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call_headers()))
            done = connection.send_message(1, message, stop, last=False)
            stop.wait(2)
            return int(done)

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        return sum(pool.map(lambda _: keep_trying(stop, one), range(40)))


def nested_entries(target, stop):
    """Messages of many empty entries, which take far more memory than bytes."""
    tensor = b"\x0a\x05image\x12\x05BYTES"
    entries = b"\x42\x00" * (4 << 20)
    contents = tensor + b"\x2a" + varint(len(entries)) + entries
    message = b"\x0a\x06digits" + b"\x2a" + varint(len(contents)) + contents
    body = b"\x00" + struct.pack(">I", len(message)) + message

    def attempt():
        with contextlib.closing(Connection(target.grpc, target.wrap)) as connection:
            connection.send(frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call_headers()))
            done = connection.send_message(1, body, stop)
            stop.wait(0.5)
            return int(done)

    return keep_trying(stop, attempt)


def closed_windows(target, stop):
    """Calls whose answers nobody ever lets through."""
    closed = struct.pack(">HI", http2.INITIAL_WINDOW, 0)
    body = b"\x00" + struct.pack(">I", len(target.request)) + target.request

    def attempt():
        connection = Connection(target.grpc, target.wrap, closed)
        with contextlib.closing(connection):
            for i in range(100):
                if stop.is_set():
                    return i
                stream = connection.next_stream()
                connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers()))
                connection.send(frame(http2.DATA, http2.END_STREAM, stream, body))
            connection.is_open()
            stop.wait(1)
        return 100

    return keep_trying(stop, attempt)


def slow_scrapes(target, stop):
    """Clients of the metrics page that ask slowly, or never read."""

    def attempt():
        with contextlib.ExitStack() as sockets:
            clients = [sockets.enter_context(connect(target.metrics)) for _ in range(50)]
            for i, client in enumerate(clients):
                client.sendall(b"GET /metrics HTTP/1.1\r\n" + (b"\r\n" if i % 2 else b""))
            stop.wait(0.2)
        return 50

    return keep_trying(stop, attempt)


def varint(value):
    out = []
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes((*out, value))


ALL = (silent_connections, aborted_connections, noise, continuations, endless_header, padded_integers, header_bombs, rapid_resets,
       pings_and_settings, half_messages, nested_entries, closed_windows, slow_scrapes)
