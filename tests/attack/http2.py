"""Just enough HTTP/2 to be a bad client of it: frames as bytes over a socket."""

import select
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def integer(value, bits, first=0):
    """An HPACK integer with a prefix of so many bits."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes((*out, value))


def header(name, value, index=False):
    """A literal header, which goes into the table if `index`."""
    name, value = name.encode(), value.encode() if isinstance(value, str) else value
    return (b"\x40" if index else b"\x00") + integer(len(name), 7) + name + integer(len(value), 7) + value


def call_headers(method="/inference.GRPCInferenceService/ModelInfer"):
    return b"".join(header(*pair) for pair in (
        (":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "localhost"),
        ("content-type", "application/grpc"), ("te", "trailers")))


def connect(address, timeout=1):
    """A stranger's socket: from an address of its own, so that limits on addresses tell it from good clients."""
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=timeout, source_address=("127.0.0.2", 0))


class Connection:
    """A connection that has said hello. `wrap` makes of a plain socket what is to be spoken over."""

    def __init__(self, address, wrap=lambda plain: plain, settings=b"", timeout=5):
        self.socket = wrap(connect(address, timeout))
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.stream = 1
        self._received, self._first_window, self._windows = b"", 65535, {0: 65535}

    def send(self, data):
        self.socket.sendall(data)

    def send_message(self, stream, data, stop, last=True):
        """DATA frames as fast as the server's windows let them; False when `stop` came first."""
        sent = 0
        self._windows.setdefault(stream, self._first_window)
        while sent < len(data):
            room = min(self._windows[0], self._windows[stream], 16384, len(data) - sent)
            if stop.is_set():
                return False
            if room > 0:
                end = last and sent + room == len(data)
                self.send(frame(DATA, END_STREAM if end else 0, stream, data[sent:sent + room]))
                sent += room
                self._windows[0] -= room
                self._windows[stream] -= room
            self._read(0 if room > 0 else 0.2)
        return True

    def _read(self, seconds):
        """Takes in what the server grants."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        got = self.socket.recv(1 << 16)
        if not got:
            raise ConnectionResetError("closed by the server")
        self._received += got
        while len(self._received) >= 9:
            length = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + length:
                break
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            payload, self._received = self._received[9:9 + length], self._received[9 + length:]
            if kind == WINDOW:
                self._windows[stream] = self._windows.get(stream, self._first_window) + struct.unpack(">I", payload)[0]
            elif kind == SETTINGS and not flags & ACK:
                for at in range(0, length, 6):
                    key, value = struct.unpack(">HI", payload[at:at + 6])
                    if key == INITIAL_WINDOW:
                        for known in self._windows:
                            self._windows[known] += (value - self._first_window) * (known != 0)
                        self._first_window = value
                self.send(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))

    def next_stream(self):
        self.stream += 2
        return self.stream - 2

    def is_open(self):
        """Reads what is there."""
        self.socket.settimeout(0.01)
        try:
            while self.socket.recv(1 << 16):
                pass
            return False
        except (TimeoutError, socket.timeout):
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(5)

    def close(self):
        self.socket.close()
