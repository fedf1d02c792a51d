# SPDX-License-Identifier: Apache-2.0
"""A client of HTTP/2 that shows what a library hides: what the server says between two requests.

One request at a time, on a connection that is there (RFC 9113). Headers are sent as literals, and of those of
an answer only the status is read (RFC 7541).
"""

import ssl
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_STATUSES: Final = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}  # RFC 7541, appendix A


class Http2:
    """A connection whose handshake agreed on ``h2``.

    :ivar last_stream: of the newest GOAWAY: nothing beyond it will be answered; None before there was one.
    """

    def __init__(self, secured: ssl.SSLSocket) -> None:
        assert secured.selected_alpn_protocol() == "h2"
        self._socket = secured
        self._received = b""
        self._stream = -1
        self._status = 0
        self._body = b""
        self._answered = True
        self.last_stream: int | None = None
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b""))

    @property
    def is_going_away(self) -> bool:
        """Has the server asked for no more requests on this connection?"""
        return self.last_stream is not None

    def look(self) -> bool:
        """Take what the server has said since, without waiting. :returns: has it asked for no more requests?

        :raises ConnectionError: it has closed the connection without saying so.
        """
        patience = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            while self._receive():
                pass
            if not self.is_going_away:
                raise ConnectionError("closed without a GOAWAY")
        except ssl.SSLWantReadError:
            pass
        finally:
            self._socket.settimeout(patience)
        return self.is_going_away

    def get(self, path: str) -> tuple[int, str]:
        """Status and body.

        :raises ConnectionError: it is not answered.
        """
        self._stream += 2
        self._status, self._body, self._answered = 0, b"", False
        asked = {":method": "GET", ":scheme": "https", ":authority": "x", ":path": path}
        fields = b"".join(b"\x00" + _string(name) + _string(value) for name, value in asked.items())
        self._socket.sendall(_frame(_HEADERS, _END_STREAM | _END_HEADERS, self._stream, fields))
        while not self._answered:
            if not self._receive():
                raise ConnectionError(f"closed before the answer, last stream {self.last_stream}")
        return self._status, self._body.decode()

    def _receive(self) -> bool:
        """Some more from the server; False at the end."""
        piece = self._socket.recv(65536)
        self._received += piece
        while len(self._received) >= 9:
            length = int.from_bytes(self._received[:3])
            if len(self._received) < 9 + length:
                break
            kind, flags = self._received[3], self._received[4]
            stream = int.from_bytes(self._received[5:9]) & 0x7FFFFFFF
            payload, self._received = self._received[9 : 9 + length], self._received[9 + length :]
            self._take(kind, flags, stream, payload)
        return bool(piece)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _GOAWAY:
            self.last_stream = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._socket.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif stream == self._stream and kind == _HEADERS:
            self._status = _status(payload)
        elif stream == self._stream and kind == _DATA:
            self._body += payload
            # Else a connection would be worth 65535 bytes of answers (RFC 9113 section 6.9.2).
            if payload:
                self._socket.sendall(_frame(_WINDOW_UPDATE, 0, 0, len(payload).to_bytes(4)))
        elif stream == self._stream and kind == _RST_STREAM:
            raise ConnectionError(f"the stream was reset: {int.from_bytes(payload)}")
        if stream == self._stream and kind in (_HEADERS, _DATA) and flags & _END_STREAM:
            self._answered = True


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _string(word: str) -> bytes:
    """RFC 7541 section 5.2, not compressed; shorter than 127 bytes."""
    assert len(word) < 127
    return bytes((len(word),)) + word.encode()


def _status(block: bytes) -> int:
    """The first field of an answer (RFC 7541 sections 6.1 and 6.2)."""
    first = block[0]
    if first & 0x80:
        return _STATUSES[first & 0x7F]
    assert first & 0x3F in _STATUSES, f"no status at the beginning of {block!r}"
    assert block[1] == 3, "a compressed status"
    return int(block[2:5])
