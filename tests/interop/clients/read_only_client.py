"""kazoo in read-only mode: connects to a server that only reads, touches FILE when it was refused a write, and waits until
it can write."""

import pathlib
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import NotReadOnlyCallError
from kazoo.protocol.states import KeeperState

host, port, file = sys.argv[1:]
client = KazooClient(hosts=f"{host}:{port}", read_only=True, timeout=10)
seen = []
writes = threading.Event()


@client.add_listener
def listen(state):
    seen.append(client.client_state)
    if client.client_state == KeeperState.CONNECTED:
        writes.set()


client.start(timeout=20)
assert client.client_state == KeeperState.CONNECTED_RO, client.client_state
assert client.get("/a")[0] == b"x"
assert sorted(client.get_children("/")) == ["a", "zookeeper"]
for call in (lambda: client.create("/b", b"y"), lambda: client.set("/a", b"z"), lambda: client.delete("/a"), lambda: client.sync("/")):
    try:
        call()
    except NotReadOnlyCallError:
        pass
    else:
        raise AssertionError("a write must be refused")
pathlib.Path(file).touch()
assert writes.wait(60), seen
client.retry(client.create, "/b", b"y")
client.stop()
print("read-only held", seen)
