"""kazoo against an ensemble of three: arguments are the connect string and the cluster's folder."""
import os, signal, subprocess, sys, threading, time
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError, NotEmptyError, RolledBackError
from kazoo.recipe.counter import Counter
from kazoo.security import make_digest_acl

connect, folder = sys.argv[1:]
servers = connect.split(",")


def client(hosts=connect, **options):
    c = KazooClient(hosts=hosts, timeout=10.0, **options)
    c.start(30)
    return c


def refuses(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError(f"{call} {args} did not raise {error}")


def wait(condition, what):
    deadline = time.time() + 30
    while not condition():
        assert time.time() < deadline, what
        time.sleep(0.01)


a, b = client(servers[0]), client(servers[1])

# Nodes and versions.
assert a.create("/app", b"one") == "/app"
refuses(NodeExistsError, a.create, "/app")
refuses(NoNodeError, a.create, "/no/parent")
assert a.set("/app", b"two").version == 1
refuses(BadVersionError, a.set, "/app", b"x", version=0)
b.sync("/app")
data, stat = b.get("/app")
assert data == b"two" and stat.version == 1 and stat.data_length == 3 and stat.czxid < stat.mzxid
path, stat = a.create("/app/with-stat", b"s", include_data=True)
assert path == "/app/with-stat" and stat.version == 0
assert [a.create("/app/q-", sequence=True) for _ in range(2)] == ["/app/q-0000000001", "/app/q-0000000002"]
refuses(NotEmptyError, a.delete, "/app")
assert sorted(a.get_children("/app")) == ["q-0000000001", "q-0000000002", "with-stat"]

# Access lists.
a.create("/secret", b"x", acl=[make_digest_acl("me", "pw", all=True)])
refuses(Exception, b.get, "/secret")
b.add_auth("digest", "me:pw")
assert b.get("/secret")[0] == b"x"

# One-shot watches, across servers.
events = []
assert b.exists("/w", watch=events.append) is None
a.create("/w", b"")
wait(lambda: events, "no created event")
assert events[0].type == "CREATED" and events[0].path == "/w"
b.get("/w", watch=events.append)
b.get_children("/w", watch=events.append)
a.set("/w", b"1")
wait(lambda: len(events) == 2, "no changed event")
a.create("/w/child")
wait(lambda: len(events) == 3, "no child event")
assert [e.type for e in events[1:]] == ["CHANGED", "CHILD"]

# Transactions: all or nothing, seeing their own changes.
t = a.transaction()
t.create("/t", b"")
t.create("/t/x", b"1")
t.set_data("/t/x", b"2")
t.check("/t/x", 1)
assert not any(isinstance(r, Exception) for r in t.commit())
t = a.transaction()
t.delete("/t/x")
t.check("/app", 99)
results = t.commit()
assert isinstance(results[0], RolledBackError) and isinstance(results[1], BadVersionError), results
assert a.exists("/t/x")

# Ephemerals go with their session.
c = client(servers[2])
c.create("/e", ephemeral=True)
wait(lambda: a.exists("/e"), "ephemeral not seen")
assert a.exists("/e").ephemeralOwner == c.client_id[0]
c.stop(); c.close()
wait(lambda: not a.exists("/e"), "ephemeral outlived its session")

# Recipes: lock, counter, election.
total, order = 0, []
def work(c, name):
    global total
    with c.Lock("/lock", name):
        before = total
        time.sleep(0.005)
        total = before + 1
threads = [threading.Thread(target=work, args=(c, str(i))) for i in range(10) for c in (a, b)]
[t.start() for t in threads]; [t.join(60) for t in threads]
assert total == 20, total
counter = Counter(a, "/counter")
other = Counter(b, "/counter")
for _ in range(5):
    counter += 1
    other += 1
b.sync("/counter")
assert other.value == 10, other.value
led = []
def lead(name):
    led.append(name)
elections = [c.Election("/election", name) for c, name in ((a, "a"), (b, "b"))]
threads = [threading.Thread(target=e.run, args=(lead, n)) for e, n in zip(elections, "ab")]
[t.start() for t in threads]; [t.join(60) for t in threads]
assert sorted(led) == ["a", "b"]

# A session outlives its server, with its ephemeral and its watches.
d = client(connect)
states, fired = [], []
d.add_listener(states.append)
d.create("/stays", ephemeral=True)
a.create("/watched", b"")
d.exists("/watched", watch=fired.append)
session = d.client_id[0]
port = d._connection._socket.getpeername()[1]
victim = next(i for i, s in enumerate(servers, 1) if s.endswith(f":{port}"))
pid = int(open(f"{folder}/coordinator-{victim}.pid").read())
os.kill(pid, signal.SIGKILL)
wait(lambda: KazooState.SUSPENDED in states, "the connection did not break")
wait(lambda: states[-1] == KazooState.CONNECTED, "did not reconnect")
assert d.client_id[0] == session and KazooState.LOST not in states
assert d.exists("/stays").ephemeralOwner == session
writer = client(",".join(s for i, s in enumerate(servers, 1) if i != victim))
writer.set("/watched", b"now")
wait(lambda: fired, "the watch was lost with its server")
subprocess.run([os.environ["castellan"], "up", "--detach", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
e = client(servers[victim - 1])
wait(lambda: e.exists("/stays") is not None, "the restarted server does not know")
for c in (a, b, d, e, writer):
    c.stop(); c.close()
print("kazoo: all as expected")
