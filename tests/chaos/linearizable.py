"""Clients on registers while coordinators are killed, stopped and cut off; the history is given to the checker. Started by
`linearizable`, inside namespaces of its own."""
import collections, itertools, logging, os, random, signal, subprocess, sys, threading, time
import hosts
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException
from kazoo.handlers.threading import KazooTimeoutError
from hosts import say, sh

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 45
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
WORK, BIN, CHECKER = (os.environ[name] for name in ("work", "bin", "checker"))
SERVERS, CLIENTS, REGISTERS = [1, 2, 3], 6, ["/r0", "/r1", "/r2"]
address = {n: f"10.78.1.{n}" for n in SERVERS}
processes, stopping = {}, threading.Event()
logging.disable(logging.CRITICAL)


def start(n):
    processes[n] = hosts.start(f"c{n}", f"{BIN}/coordinator", f"{WORK}/{n}/conf", f"{WORK}/{n}.log")


def configure():
    for n in SERVERS:
        os.makedirs(f"{WORK}/{n}/data")
        open(f"{WORK}/{n}/data/myid", "w").write(f"{n}\n")
        lines = [f"dataDir={WORK}/{n}/data", "tickTime=500", "initLimit=10", "syncLimit=5", "clientPort=2181", "maxClientCnxns=0",
                 "admin.enableServer=false", "4lw.commands.whitelist=*"]
        lines += [f"server.{m}={address[m]}:2888:3888" for m in SERVERS]
        open(f"{WORK}/{n}/conf", "w").write("\n".join(lines) + "\n")
        start(n)


def leader():
    return next((n for n in SERVERS if processes[n].poll() is None and hosts.mode(address[n]) == "leader"), None)


def now():
    return time.monotonic_ns() // 1000


class Worker(threading.Thread):
    """One client: one request after the other, each written down with when it was asked and answered."""
    values = itertools.count(1)

    def __init__(self, number):
        super().__init__(daemon=True)
        self.number, self.lines, self.outcomes = number, [], collections.Counter()
        self.random = random.Random(SEED * 100 + number)

    def connect(self):
        hosts = [f"{ip}:2181" for ip in address.values()]
        self.random.shuffle(hosts)
        retry = {"max_tries": -1, "delay": 0.02, "max_delay": 0.2}
        self.zk = KazooClient(",".join(hosts), timeout=2.0, connection_retry=retry, randomize_hosts=False)
        self.zk.start(timeout=30)

    def session(self):
        return self.zk.client_id[0] if self.zk.client_id else 0

    def write_down(self, kind, before, asked, *more):
        # Who cannot tell in which of two sessions the answer came says neither.
        session = before if before == self.session() else -len(self.lines) * CLIENTS - self.number - 1
        self.lines.append(" ".join(map(str, (kind, self.number, session, asked, now()) + more)))

    def one(self):
        path, before, asked = self.random.choice(REGISTERS), self.session(), now()
        what = self.random.random()
        if what < 0.5:
            expected = self.random.choice([-1, -1, self.known.get(path, -1)])
            value = f"v{next(Worker.values)}"
            try:
                result = self.zk.set_async(path, value.encode(), expected).get(timeout=8).version
                self.known[path] = result
            except BadVersionError:
                result = "refused"
                self.known.pop(path, None)
            except (KazooException, KazooTimeoutError):
                result = "unknown"
            self.outcomes[result if isinstance(result, str) else "set"] += 1
            self.write_down("set", before, asked, path, value, expected, result)
            return result != "unknown"
        try:
            if what < 0.75:
                self.zk.sync_async(path).get(timeout=8)
                if before != self.session():
                    return True
            data, stat = self.zk.get_async(path).get(timeout=8)
        except (KazooException, KazooTimeoutError):
            self.outcomes["no answer"] += 1
            return False
        self.known[path] = stat.version
        self.outcomes["synced" if what < 0.75 else "plain"] += 1
        self.write_down("get", before, asked, path, "synced" if what < 0.75 else "plain", data.decode() or "-", stat.version)
        return True

    def run(self):
        self.known = {}
        self.connect()
        while not stopping.is_set():
            if not self.one():
                time.sleep(0.02)
        # In the end each looks at all that is there.
        end = time.monotonic() + 15
        for path in REGISTERS:
            while time.monotonic() < end:
                before, asked = self.session(), now()
                try:
                    self.zk.sync(path)
                    data, stat = self.zk.get(path)
                except KazooException:
                    time.sleep(0.05)
                    continue
                if before == self.session():
                    self.write_down("get", before, asked, path, "synced", data.decode() or "-", stat.version)
                    break
        self.zk.stop()


# --- what is done to the servers; each leaves all as it was


def rest(low, high):
    time.sleep(chance.uniform(low, high))


def again(n, sig):
    processes[n].send_signal(sig)
    processes[n].wait()


def killed(n):
    again(n, signal.SIGKILL)
    rest(0, 1.5)
    start(n)


def restarted(n):
    again(n, signal.SIGTERM)
    start(n)


def stopped(n):
    processes[n].send_signal(signal.SIGSTOP)
    rest(0.5, 3)
    processes[n].send_signal(signal.SIGCONT)


def cut(n, hears=False, from_clients=False):
    others = [address[m] for m in SERVERS if m != n] + (["10.78.0.1"] if from_clients else [])
    for other in others:
        if not hears:
            sh(f"ip netns exec c{n} iptables -A INPUT -s {other} -j DROP")
        sh(f"ip netns exec c{n} iptables -A OUTPUT -d {other} -j DROP")
    rest(0.5, 3)
    sh(f"ip netns exec c{n} iptables -F")


def cut_off(n):
    cut(n)


def mute(n):
    cut(n, hears=True)


def gone(n):
    cut(n, from_clients=True)


def all_killed(n):
    for m in SERVERS:
        again(m, signal.SIGKILL)
    for m in SERVERS:
        start(m)


FAULTS = [killed, killed, restarted, stopped, stopped, cut_off, cut_off, mute, gone, all_killed]


def verdict(lines):
    path = f"{WORK}/history"
    open(path, "w").write("\n".join(lines) + "\n")
    done = subprocess.run([CHECKER, path], capture_output=True, text=True)
    return done.returncode, done.stdout.strip()


def planted(lines):
    """Faults that the checker must see."""
    reads = [i for i, line in enumerate(lines) if line.startswith("get ") and " synced " in line and int(line.split()[8]) > 20]
    writes = [i for i, line in enumerate(lines) if line.startswith("set ") and line.split()[8].isdigit()]
    read, write = lines[reads[-1]].split(), lines[writes[len(writes) // 2]].split()
    old = next(line.split() for line in lines if line.startswith("set ") and line.split()[5] == read[5] and line.split()[8].isdigit())
    other = next(line.split() for line in lines if line.startswith("set ") and line.split()[8].isdigit()
                 and line.split()[5] == write[5] and line.split()[6] != write[6])
    yield "a read behind a sync that is old", lines + [" ".join(read[:2] + ["-7"] + read[3:7] + [old[6], old[8]])]
    yield "a write that took a version which another had", lines + [" ".join(write[:6] + ["planted"] + ["-1", other[8]])]
    yield "a value that nobody wrote", lines + [" ".join(read[:2] + ["-8"] + read[3:7] + ["planted", str(int(read[8]) + 1)])]


def main():
    say(f"seed {SEED}")
    hosts.network({f"c{n}": ip for n, ip in address.items()}, "10.78.0.1")
    configure()
    while not leader():
        time.sleep(0.05)
    setup = KazooClient(f"{address[1]}:2181")
    setup.start(timeout=20)
    for path in REGISTERS:
        setup.create(path, b"")
    setup.stop()
    workers = [Worker(number) for number in range(CLIENTS)]
    for worker in workers:
        worker.start()
    counts = collections.Counter()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        rest(0.3, 1.5)
        fault = chance.choice(FAULTS)
        # The leader as often as not.
        victim = (leader() if chance.random() < 0.6 else None) or chance.choice(SERVERS)
        fault(victim)
        counts[fault.__name__] += 1
        if any(process.poll() is not None for process in processes.values()):
            raise SystemExit(f"FAILED: a server has ended by itself: {[p.poll() for p in processes.values()]}")
    stopping.set()
    for worker in workers:
        worker.join(30)
    lines = [line for worker in workers for line in worker.lines]
    say("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    say("requests: " + ", ".join(f"{name} {count}" for name, count in sorted(sum((w.outcomes for w in workers), collections.Counter()).items())))
    if sum(worker.outcomes["set"] for worker in workers) < 200:
        raise SystemExit("FAILED: hardly anything was written")
    code, text = verdict(lines)
    say(text)
    if code:
        raise SystemExit(f"FAILED with seed {SEED}")
    for name, tampered in planted(lines):
        code, text = verdict(tampered)
        if code != 1:
            raise SystemExit(f"FAILED: the checker does not see {name}: {text}")
    say("the checker sees all planted faults")


chance = random.Random(SEED)
try:
    main()
finally:
    for process in processes.values():
        process.kill()
