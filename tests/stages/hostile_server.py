"""A server on the loopback interface that sends whatever bytes it is told, and mutations of bytes."""

import random
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def answering(answer: Callable[[bytes], Iterable[bytes]]) -> Iterator[str]:
    """URL of a server that sends `answer(request)` piece by piece, then closes, until the client has gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                threading.Thread(target=_talk, args=(connection, answer, stop), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/file"
    finally:
        stop.set()
        thread.join()
        listener.close()


def _talk(connection: socket.socket, answer: Callable[[bytes], Iterable[bytes]], stop: threading.Event) -> None:
    with connection, suppress(OSError):
        connection.settimeout(5)
        request = connection.recv(4096)
        while b"\r\n\r\n" not in request and request[:1] != b"\x16" and (data := connection.recv(4096)):
            request += data
        for piece in answer(request):
            if stop.is_set():
                return
            connection.sendall(piece)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four of them changed, or a piece left out, repeated, overwritten or cut off."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if not changed:
            break
        at, length = draw.randrange(len(changed)), draw.choice((1, 2, 4, 8, 64))
        match draw.randrange(7):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at] = draw.randrange(256)
            case 2:
                changed[at : at + length] = draw.choice((b"\0", b"\xff", b"9", b"-", b"{")) * length
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length] * draw.choice((1, 2, 50))
            case 5:
                changed[at : at + length] = draw.randbytes(length)
            case _:
                del changed[at:]
    return bytes(changed)
