"""Bytes that no client sends, on every port, and clients that do not read: bad_input.py KAFKA ZK PEER BROKER-PID COORDINATOR-PID.

Each port must drop the connection (or wait for the rest of a request) while the processes stay alive and small.
"""
import os
import random
import socket
import struct
import sys
import time

KAFKA, ZK, PEER, BROKER, COORDINATOR = map(int, sys.argv[1:6])
GROWTH_KIB = 96 * 1024
rng = random.Random(1)


def rss(pid):
    """Resident memory in KiB; the process must be there."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def request(key, version, body, correlation=7):
    head = struct.pack(">hhih", key, version, correlation, 3) + b"bad"
    return struct.pack(">i", len(head) + len(body)) + head + body


def metadata(sock):
    """A Metadata request of all topics, version 1, and its answer: the port serves."""
    sock.sendall(request(3, 1, struct.pack(">i", -1)))
    return exactly(sock, struct.unpack(">i", exactly(sock, 4))[0])


def exactly(sock, count):
    parts = b""
    while len(parts) < count:
        part = sock.recv(count - len(parts))
        if not part:
            raise EOFError("closed")
        parts += part
    return parts


def serves():
    with connect(KAFKA) as sock:
        assert metadata(sock)[:4] == struct.pack(">i", 7)
    with connect(ZK) as sock:
        sock.sendall(b"ruok")
        assert exactly(sock, 4) == b"imok"


def is_dropped(port, data, seconds=15):
    """Sends; True if the server then ends the connection."""
    with connect(port) as sock:
        sock.settimeout(seconds)
        try:
            sock.sendall(data)
            while sock.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


def check(name, act):
    before = rss(BROKER), rss(COORDINATOR)
    began = time.monotonic()
    problem = act()
    serves()
    grown = rss(BROKER) - before[0], rss(COORDINATOR) - before[1]
    if max(grown) > GROWTH_KIB:
        problem = f"memory grew by {grown} KiB"
    print(f"{'FAIL' if problem else 'ok':5}{name} ({time.monotonic() - began:.1f} s) {problem or ''}", flush=True)
    return not problem


def dropped(port, data):
    return lambda: None if is_dropped(port, data) else "the connection stays open"


def random_bytes():
    """Many connections of random bytes on all ports, ended by the client: only that the servers live is asked."""
    for _ in range(60):
        for port in (KAFKA, ZK, PEER):
            with connect(port) as sock:
                try:
                    sock.sendall(rng.randbytes(rng.randrange(1, 5000)))
                except ConnectionError:
                    pass


def framed_random_bytes():
    """Whole frames of random bytes, also behind a valid header of every request."""
    for key in range(0, 68):
        for version in (0, 1, rng.randrange(0, 14)):
            with connect(KAFKA) as sock:
                sock.sendall(request(key, version, rng.randbytes(rng.randrange(0, 200))))
    for port in (KAFKA, ZK, PEER):
        for _ in range(60):
            data = rng.randbytes(rng.randrange(0, 300))
            with connect(port) as sock:
                sock.sendall(struct.pack(">i", len(data)) + data)


def many_elements():
    """An array of 500 million elements at the front of every request, both ways of writing a count."""
    for key in range(0, 81):
        for version in range(0, 18):
            for body in (MANY, b"\0" + b"\x81\xca\xb5\xee\x01"):
                for front in (b"", b"\0\1a", b"\2a", bytes(4), bytes(9)):
                    try:
                        with connect(KAFKA) as sock:
                            sock.sendall(request(key, version, front + body + b"abc"))
                    except ConnectionError:
                        pass


def zk_session():
    """A connection with a session."""
    sock = connect(ZK)
    hello = struct.pack(">iqiq", 0, 0, 10000, 0) + struct.pack(">i", 16) + bytes(16) + b"\0"
    sock.sendall(struct.pack(">i", len(hello)) + hello)
    exactly(sock, struct.unpack(">i", exactly(sock, 4))[0])
    return sock


def zk_many_elements():
    """The same for the lists of ZooKeeper's requests: ACL, watches, and strings and data of that length."""
    path = struct.pack(">i", 2) + b"/x"
    bodies = {
        1: (MANY, path + MANY, path + struct.pack(">i", 0) + MANY),
        5: (path + MANY,),
        7: (path + MANY,),
        100: (MANY,),
        101: (struct.pack(">q", 0) + MANY, struct.pack(">qi", 0, 0) + MANY),
        105: (struct.pack(">q", 0) + MANY,),
        14: (struct.pack(">ibi", 1, 0, -1) + MANY,),
    }
    for kind, tries in bodies.items():
        for body in tries:
            with zk_session() as sock:
                frame = struct.pack(">ii", 1, kind) + body
                try:
                    sock.sendall(struct.pack(">i", len(frame)) + frame)
                    # An error, as ZooKeeper gives for what it cannot decode, or the end.
                    sock.settimeout(5)
                    sock.recv(4096)
                except TimeoutError:
                    return f"request {kind} is not answered"
                except ConnectionError:
                    pass


def half_requests():
    """Half a request, and gone."""
    whole = request(3, 1, struct.pack(">i", -1))
    for port in (KAFKA, ZK, PEER):
        for cut in range(len(whole)):
            with connect(port) as sock:
                sock.sendall(whole[:cut])


def never_reads():
    """Thousands of requests of which no answer is read, from several clients; another is served meanwhile."""
    before, slow = rss(BROKER), []
    fetch = request(1, 4, struct.pack(">iiiibi", -1, 0, 0, 50_000_000, 0, 1) + struct.pack(">h", 1) + b"h"
                    + struct.pack(">iiqi", 1, 0, 0, 50_000_000))
    for data in [request(3, 1, struct.pack(">i", -1)), fetch] * 4:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", KAFKA))
        sock.settimeout(1)
        try:
            sock.sendall(data * 200_000)
        except TimeoutError:
            pass
        slow.append(sock)
    began = time.monotonic()
    for _ in range(50):
        serves()
    took, grown = time.monotonic() - began, rss(BROKER) - before
    for sock in slow:
        sock.close()
    if grown > GROWTH_KIB:
        return f"memory of the broker grew by {grown} KiB"
    return f"others waited {took:.1f} s" if took > 10 else None


def zk_never_reads():
    """The same on the coordinator's client port."""
    with zk_session() as sock:
        sock.settimeout(1)
        path = b"/brokers/ids"
        get = struct.pack(">iii", 1, 8, len(path)) + path + b"\0"
        try:
            sock.sendall((struct.pack(">i", len(get)) + get) * 500_000)
        except (TimeoutError, ConnectionError):
            pass
        serves()


HUGE = struct.pack(">i", 0x7FFFFFFF)
MANY = struct.pack(">i", 500_000_000)
checks = [
    ("frame of 2 GiB, broker", dropped(KAFKA, HUGE + b"abc")),
    ("frame of 2 GiB, coordinator", dropped(ZK, HUGE + b"abc")),
    ("frame of 2 GiB, coordinator's peer port", dropped(PEER, HUGE + b"abc")),
    ("frame of negative length, broker", dropped(KAFKA, b"\xff\xff\xff\xfe")),
    ("frame of negative length, coordinator", dropped(ZK, b"\xff\xff\xff\xfe")),
    ("an HTTP request, broker", dropped(KAFKA, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    ("an HTTP request, coordinator", dropped(ZK, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    ("an HTTP request, coordinator's peer port", dropped(PEER, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    ("Metadata of 500 million topics", dropped(KAFKA, request(3, 1, MANY))),
    ("Produce of 500 million topics", dropped(KAFKA, request(0, 3, struct.pack(">hhi", -1, 1, 1000) + MANY))),
    ("Fetch of 500 million topics", dropped(KAFKA, request(1, 4, struct.pack(">iiiib", -1, 0, 1, 1, 0) + MANY))),
    ("CreateTopics of 500 million topics", dropped(KAFKA, request(19, 1, MANY))),
    ("500 million elements in every request", many_elements),
    ("500 million elements in ZooKeeper requests", zk_many_elements),
    ("a string of 2 GiB in a ZooKeeper request", dropped(ZK, struct.pack(">i", 8) + struct.pack(">i", 0) + HUGE)),
    ("random bytes on all ports", random_bytes),
    ("whole frames of random bytes", framed_random_bytes),
    ("half a request, then close", half_requests),
    ("clients that never read, broker", never_reads),
    ("a client that never reads, coordinator", zk_never_reads),
]
serves()
results = [check(*one) for one in checks]
for pid in (BROKER, COORDINATOR):
    os.kill(pid, 0)
sys.exit(0 if all(results) else 1)
