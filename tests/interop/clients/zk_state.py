"""Fills a ZooKeeper with znodes of every kind, or prints all that it holds, one line a znode.

zk_state.py fill CONNECT SESSION-FILE    leaves a session with an ephemeral znode open and notes id and password
zk_state.py dump CONNECT
zk_state.py resume CONNECT SESSION-FILE  goes on with that session; its znode must be there
zk_state.py change CONNECT
"""

import json
import os
import sys

from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl


def connect(address, client_id=None, super_user=False):
    client = KazooClient(hosts=address, timeout=30, client_id=client_id, randomize_hosts=False)
    client.start(timeout=20)
    if super_user:
        client.add_auth("digest", "super:test")
    return client


def fill(address, session_file):
    client = connect(address)
    client.create("/data", b"root of it")
    client.create("/data/empty", b"")
    client.create("/data/\u00e9\u20ac", "\u00fc".encode())
    for _ in range(5):
        client.create("/data/seq-", b"x", sequence=True)
    client.delete("/data/seq-0000000003")
    for number in range(200):
        client.create(f"/data/n{number}", os.urandom(50))
    for number in range(0, 200, 3):
        client.delete(f"/data/n{number}")
    for number in range(1, 200, 3):
        client.set(f"/data/n{number}", b"changed")
    client.add_auth("digest", "user:secret")
    client.create("/data/mine", b"secret", acl=[make_digest_acl("user", "secret", all=True)])
    client.create("/data/open", b"", acl=[make_acl("world", "anyone", read=True), make_acl("ip", "127.0.0.1", all=True)])
    client.set_acls("/data/empty", [make_acl("world", "anyone", all=True)])
    transaction = client.transaction()
    transaction.create("/data/t", b"1")
    transaction.create("/data/t/in", b"2")
    transaction.set_data("/data/t", b"3")
    transaction.delete("/data/t/in")
    transaction.commit()
    transaction = client.transaction()
    transaction.delete("/data/t")
    transaction.check("/data", 77)
    transaction.commit()
    quota = "/zookeeper/quota/data"
    client.create(quota, b"")
    client.create(quota + "/zookeeper_limits", b"count=100000,bytes=-1")
    client.create(quota + "/zookeeper_stats", b"count=0,bytes=0")
    client.create("/data/late", b"after the quota")
    client.create("/data/ephemeral", b"lives", ephemeral=True)
    other = connect(address)
    other.create("/data/gone", b"with its session", ephemeral=True)
    other.stop()
    with open(session_file, "w", encoding="utf-8") as file:
        json.dump([client.client_id[0], client.client_id[1].hex()], file)
    # The session is not closed: the process just ends.
    sys.stdout.flush()
    os._exit(0)


def dump(address):
    client = connect(address, super_user=True)
    left = ["/"]
    while left:
        path = left.pop()
        data, stat = client.get(path)
        acls, _ = client.get_acls(path)
        acl = sorted(f"{a.perms}:{a.id.scheme}:{a.id.id}" for a in acls)
        # This very connection is a session, too: nothing of it is shown.
        print(json.dumps([path, data.hex() if data is not None else None, list(stat), acl]))
        names = client.get_children(path)
        left.extend(sorted((path.rstrip("/") + "/" + name for name in names), reverse=True))
    client.stop()


def resume(address, session_file):
    with open(session_file, encoding="utf-8") as file:
        session, password = json.load(file)
    client = connect(address, client_id=(session, bytes.fromhex(password)))
    assert client.client_id[0] == session, "the session goes on"
    data, stat = client.get("/data/ephemeral")
    assert data.startswith(b"lives") and stat.ephemeralOwner == session, stat
    client.set("/data/ephemeral", b"lives on")
    sys.stdout.flush()
    os._exit(0)


def change(address):
    client = connect(address, super_user=True)
    client.create("/data/new", b"made here")
    client.set("/data/late", b"changed here")
    client.delete("/data/n1")
    client.create("/data/seq-", b"", sequence=True)
    client.create("/data/digest", b"", acl=[make_digest_acl("other", "secret", read=True)])
    client.stop()


{"fill": fill, "dump": dump, "resume": resume, "change": change}[sys.argv[1]](*sys.argv[2:])
