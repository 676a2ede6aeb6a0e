"""kazoo over TLS: large values both ways, watches, its own name, and who shows no certificate."""

import sys

from kazoo.client import KazooClient
from kazoo.security import ACL, Id

host, port, folder = sys.argv[1:]


def connect(who):
    client = KazooClient(
        hosts=f"{host}:{port}",
        use_ssl=True,
        ca=f"{folder}/ca.pem",
        certfile=who and f"{folder}/{who}-cert.pem",
        keyfile=who and f"{folder}/{who}-key.pem",
        verify_certs=True,
        timeout=10,
    )
    client.start(timeout=10)
    return client


friend = connect("friend")
admin = connect("admin")
# Many TLS records in a request and in an answer.
value = bytes(range(256)) * 3500
friend.create("/large", value)
assert admin.get("/large")[0] == value
# What many requests at once bring is in order.
results = [friend.create_async("/many-", b"x", sequence=True) for _ in range(500)]
names = [result.get(10) for result in results]
assert names == sorted(names) and len(set(names)) == 500, names
# A watch comes over TLS.
seen = []
event = friend.handler.event_object()
friend.get("/large", watch=lambda change: (seen.append(change.type), event.set()))
admin.set("/large", b"small")
event.wait(10)
assert seen == ["CHANGED"], seen
# auth stands for the name in the certificate.
friend.create("/mine", b"", acl=[ACL(31, Id("auth", ""))])
[entry] = admin.get_acls("/mine")[0]
assert (entry.id.scheme, entry.id.id) == ("x509", "CN=friend,O=Acme\\, Inc.,C=DE"), entry
try:
    connect(None)
except Exception:
    pass
else:
    raise AssertionError("no certificate must not be enough")
friend.stop()
admin.stop()
