"""kazoo changes an ensemble while another client writes: arguments are the coordinator's program and a folder. Grows from
three to five, replaces a killed server by one that takes over its number's place, loses a disk, and shrinks to three.
No write may fail, and the znode and the watch must tell of each change."""
import os, random, shutil, signal, socket, subprocess, sys, threading, time, traceback
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NewConfigNoQuorumError, NoAuthError

program, folder = sys.argv[1:]


def free_ports(count):
    while True:
        first = random.randrange(20000, 30000)
        try:
            sockets = [socket.create_server(("127.0.0.1", first + n)) for n in range(count)]
        except OSError:
            continue
        for one in sockets:
            one.close()
        return first


COUNT = 6
first = free_ports(3 * COUNT)
processes = {}


def line(n, role="participant"):
    return (f"server.{n}=127.0.0.1:{first + COUNT + n}:{first + 2 * COUNT + n}:{role};127.0.0.1:{first + n}")


def start(n, members):
    directory = f"{folder}/server-{n}"
    if not os.path.exists(directory):
        os.makedirs(directory)
        open(f"{directory}/myid", "w").write(f"{n}\n")
        # The id super, with the password secret.
        open(f"{directory}/zoo.cfg", "w").write(
            f"dataDir={directory}\ntickTime=2000\ninitLimit=10\nsyncLimit=5\nadmin.enableServer=false\n"
            "reconfigEnabled=true\nstandaloneEnabled=false\n"
            "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=\n"
            f"dynamicConfigFile={directory}/zoo.cfg.dynamic\n")
        open(f"{directory}/zoo.cfg.dynamic", "w").write("".join(line(m) + "\n" for m in members))
    log = open(f"{directory}/log", "a")
    processes[n] = subprocess.Popen([program, f"{directory}/zoo.cfg"], stdout=log, stderr=log)


def end(n, sig):
    processes[n].send_signal(sig)
    processes[n].wait()


def wait(condition, what, seconds=30):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, what
        time.sleep(0.02)


def mode(n):
    try:
        with socket.create_connection(("127.0.0.1", first + n), timeout=1) as sock:
            sock.sendall(b"srvr")
            text = b""
            while more := sock.recv(4096):
                text += more
        return next((l[6:] for l in text.decode().splitlines() if l.startswith("Mode: ")), "")
    except OSError:
        return ""


def hosts(*servers):
    return ",".join(f"127.0.0.1:{first + n}" for n in servers)


def run():
    for n in (0, 1, 2):
        start(n + 1, (1, 2, 3))
    # Who has not found the others yet is no part of a majority, and that is looked at before the rights, as by ZooKeeper.
    wait(lambda: all(mode(n) for n in (1, 2, 3)), "three serve")
    admin = KazooClient(hosts=hosts(1, 2, 3), timeout=10)
    admin.start(30)
    try:
        admin.reconfig(joining=line(4), leaving=None, new_members=None)
        raise AssertionError("whoever likes may change the ensemble")
    except NoAuthError:
        pass
    admin.add_auth("digest", "super:secret")
    seen = []
    admin.DataWatch("/zookeeper/config", lambda data, stat: seen.append(data.decode()))

    writer = KazooClient(hosts=hosts(1, 2), timeout=10)
    writer.start(30)
    writer.create("/w", b"")
    stop, failed, slowest, count = threading.Event(), [], 0, 0

    def write():
        nonlocal slowest, count
        while not stop.is_set():
            at = time.time()
            try:
                writer.set("/w", b"x")
            except Exception as error:
                failed.append(repr(error))
            slowest, count = max(slowest, time.time() - at), count + 1

    thread = threading.Thread(target=write, daemon=True)
    thread.start()

    for n in (4, 5):
        start(n, (1, 2, 3, n))
    wait(lambda: mode(4) == mode(5) == "follower", "guests follow")
    data, stat = admin.reconfig(joining=f"{line(4)},{line(5)}", leaving=None, new_members=None)
    text = data.decode()
    assert [l.split("=")[0] for l in text.splitlines()] == [f"server.{n}" for n in (1, 2, 3, 4, 5)] + ["version"], text
    assert int(text.rsplit("=", 1)[1], 16) == stat.mzxid
    wait(lambda: seen[-1] == text, "the watch tells the new configuration")
    assert admin.get("/zookeeper/config")[0].decode() == text
    try:
        admin.reconfig(joining=None, leaving="5", new_members=None, from_config=stat.mzxid - 1)
        raise AssertionError("the version is not looked at")
    except BadVersionError:
        pass

    # A server is dead: another takes its place.
    end(3, signal.SIGKILL)
    start(6, (1, 2, 4, 5, 6))
    wait(lambda: mode(6) == "follower", "the new one follows")
    data, stat = admin.reconfig(joining=line(6), leaving="3", new_members=None)
    assert "server.3" not in data.decode() and "server.6" in data.decode()

    # A server loses its disk and comes back.
    end(4, signal.SIGKILL)
    shutil.rmtree(f"{folder}/server-4")
    start(4, (1, 2, 4, 5, 6))
    wait(lambda: mode(4) in ("follower", "leader"), "the wiped one serves again")

    # Down to three, and the leader is one of those that go, if it can be.
    gone = [n for n in (5, 6) if mode(n) == "leader"] + [n for n in (6, 5) if mode(n) != "leader"]
    data, stat = admin.reconfig(joining=None, leaving=",".join(map(str, gone)), new_members=None)
    assert [l.split("=")[0] for l in data.decode().splitlines()] == ["server.1", "server.2", "server.4", "version"]
    for n in gone:
        end(n, signal.SIGTERM)
    data, stat = admin.reconfig(joining=None, leaving=None, new_members=f"{line(1)},{line(2)},{line(4, 'observer')}")
    wait(lambda: mode(4) == "observer", "the fourth observes")
    try:
        # It closes its clients' connections when its role changes; they go elsewhere.
        admin.retry(admin.reconfig, joining=line(3), leaving="2", new_members=None)
        raise AssertionError("a configuration without a majority is accepted")
    except NewConfigNoQuorumError:
        pass
    stop.set()
    thread.join()
    assert not failed, failed[:5]
    print(f"{count} writes, none failed, the slowest took {slowest * 1000:.0f} ms")
    for client in (admin, writer):
        client.stop()
        client.close()


failure = None
try:
    run()
except BaseException:
    failure = traceback.format_exc()
for process in processes.values():
    if process.poll() is None:
        process.kill()
        process.wait()
if failure:
    # The clients' threads may still look for a server, and would keep the process.
    print(failure, file=sys.stderr, flush=True)
    os._exit(1)
