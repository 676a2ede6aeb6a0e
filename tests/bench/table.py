"""tests/bench/table.py: Castellan and the originals (Apache Kafka on Apache ZooKeeper), started turn by turn on this machine,
driven by the same load generators; prints one table of ours : peer with the goals, and writes it as JSON and as a plot.

Started by tests/bench/run, which brings what it needs. Knows the rows, not how a load generator works.
"""
import argparse, glob, json, mmap, os, pathlib, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
peers = root / "tests/interop/peers"
sys.dont_write_bytecode = True
sys.path.insert(0, str(peers))
import kafkawire as kw

ap = argparse.ArgumentParser(description=__doc__)
ap.add_argument("--rounds", type=int, default=3, help="how often each side has its turn")
ap.add_argument("--quick", action="store_true", help="one round with a fifth of the load")
ap.add_argument("--only", default="", help="row names that match this expression")
ap.add_argument("--sides", default="ours,peer")
ap.add_argument("--out", default=str(root / "target/bench"))
a = ap.parse_args()
scale = 0.2 if a.quick else 1.0
home = os.environ["PEERS_HOME"]
castellan = str(root / "target/release/castellan")
native, load = f"{home}/bin/rdkafka_performance", f"{home}/bin/load"
ZK, KAFKA = 31810, 29090
work = pathlib.Path(tempfile.mkdtemp(prefix="castellan-bench."))


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def out_of(*cmd, **more):
    done = subprocess.run([str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, **more)
    if done.returncode:
        raise RuntimeError(f"{cmd}: exit {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def fields(text):
    """The JSON line that a load generator ends with."""
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


# ---- the two sides ----------------------------------------------------------------------------------------------------------
class Side:
    """n servers of each half, n = 1 or 3; the pid files of each half are found by a glob."""

    def __init__(self, n):
        self.n, self.dir = n, work / f"{self.name}-{n}"
        self.zk = ",".join(f"127.0.0.1:{ZK + i}" for i in range(n))
        self.kafka = ",".join(f"127.0.0.1:{KAFKA + i}" for i in range(n))
        self.serial = 0

    def pids(self, half):
        return [int(open(p).read()) for p in sorted(glob.glob(str(self.dir / self.files[half])))]

    def cpu(self, half):
        total = 0
        for pid in self.pids(half):
            f = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
            total += int(f[11]) + int(f[12])
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self, half, what="VmRSS"):
        """The greatest resident memory of one server of the half, in MiB."""
        return max(int(re.search(rf"^{what}:\s+(\d+)", open(f"/proc/{p}/status").read(), re.M)[1]) / 1024 for p in self.pids(half))

    def topic(self, partitions=3):
        """A new topic with n replicas, led everywhere."""
        self.serial += 1
        name = f"bench-{self.serial}"
        c = self.controller()
        c.create_topic(name, partitions, self.n)
        c.close()
        for address in self.kafka.split(","):
            c, end = kw.Conn(address, 30), time.monotonic() + 60
            while True:
                _, _, parts, err = c.metadata(name)
                if not err and len(parts) == partitions and all(e == 0 and l >= 0 and len(r) == self.n for e, _, l, r in parts):
                    break
                if time.monotonic() > end:
                    raise TimeoutError(f"{name} is not led after a minute")
                time.sleep(0.01)
            c.close()
        return name

    def warm_up(self):
        """Not measured: small batches are what a just-in-time compiler learns most from."""
        topic = self.topic()
        produced(self, topic, 1024, 300_000, -1, 16384)
        self.drop(topic)

    def controller(self):
        asked = kw.any_conn(self.kafka)
        brokers, controller, _, _ = asked.metadata()
        asked.close()
        return kw.Conn(brokers[controller], 30)

    def drop(self, name):
        c = self.controller()
        c.delete_topic(name)
        c.close()


class Ours(Side):
    name, files = "ours", {"zk": "coordinator-*.pid", "kafka": "broker-*.pid"}

    def start(self):
        begin = time.monotonic()
        out_of(castellan, "up", "--detach", "--dir", self.dir, "--coordinators", self.n, "--brokers", self.n, "--coordinator-port", ZK,
               "--broker-port", KAFKA)
        return time.monotonic() - begin

    def stop(self):
        out_of(castellan, "down", "--dir", self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start_one_broker(self):
        """Seconds from the start of the program to metadata that names it."""
        pid = self.pids("kafka")[0]
        os.kill(pid, 15)
        while os.path.exists(f"/proc/{pid}") and open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        properties = next(self.dir.glob("broker-0*/server.properties"), None) or next(self.dir.glob("**/*broker-0*.properties"))
        begin = time.monotonic()
        with open(self.dir / "again.log", "w") as log:
            again = subprocess.Popen([str(root / "target/release/broker"), str(properties)], stdout=log, stderr=log)
        while not kw.ready(self.kafka, 1):
            time.sleep(0.001)
        took = time.monotonic() - begin
        next(self.dir.glob("broker-0.pid")).write_text(f"{again.pid}\n")
        return took

    def tool(self, name, *args):
        return [str(root / "bin" / f"{name}.sh"), *args]


class Peer(Side):
    name, files = "peer", {"zk": "zk/zk-*.pid", "kafka": "kafka/broker-*.pid"}

    def start(self):
        begin = time.monotonic()
        # A million znodes do not fit into the gigabyte that its distribution gives it.
        heap = [] if self.n > 1 else ["--heap", 3000]
        out_of(peers / "peer-zk", "start", self.dir / "zk", "--ensemble", self.n, "--port", ZK, *heap)
        out_of(peers / "peer-kafka", "start", self.dir / "kafka", "--brokers", self.n, "--zookeeper", self.zk, "--port", KAFKA)
        return time.monotonic() - begin

    def stop(self):
        out_of(peers / "peer-kafka", "stop", self.dir / "kafka")
        out_of(peers / "peer-zk", "stop", self.dir / "zk")
        shutil.rmtree(self.dir, ignore_errors=True)

    def start_one_broker(self):
        out_of(peers / "peer-kafka", "stop", self.dir / "kafka")
        begin = time.monotonic()
        out_of(peers / "peer-kafka", "restart", self.dir / "kafka", 0)
        while not kw.ready(self.kafka, 1):
            time.sleep(0.005)
        return time.monotonic() - begin

    def tool(self, name, *args):
        return [str(peers / "kafka-cli"), name, *args]


# ---- the loads: each gives named figures -------------------------------------------------------------------------------------
def znode(mode, conns=8, window=32, seconds=5, **more):
    def measure(side):
        seconds_ = max(2, seconds * scale)
        options = [x for k, v in more.items() for x in (f"-{k}", str(v))]
        got = fields(out_of(peers / "bench-zk", side.zk, "-mode", mode, "-size", 100, "-conns", conns, "-window", window, "-seconds", seconds_,
                            "-pids", ",".join(map(str, side.pids("zk"))), *options))
        return {"CPU s/M": got.get("server_cpu_s_per_M"), "ops/s": got.get("ops_per_s"), "p50 ms": got.get("p50_ms"), "p99 ms": got.get("p99_ms"),
                "to the last, ms": got.get("all_notified_p50_ms")}
    return measure


def million_znodes(side):
    count = int(1_000_000 * (0.1 if a.quick else 1))
    out_of(peers / "bench-zk", side.zk, "-mode", "get", "-size", 100, "-conns", 8, "-window", 32, "-keys", count // 8, "-seconds", 1, "-warmup", 0)
    return {"MiB": side.memory("zk", "VmHWM")}


def produced(side, topic, size, count, acks, batch):
    text = out_of(native, "-P", "-t", topic, "-b", side.kafka, "-s", size, "-c", count, "-a", acks, "-z", "none", "-q", "-X", f"batch.size={batch}",
                  "-X", "linger.ms=5", "-X", "queue.buffering.max.messages=500000")
    done = re.findall(r"(\d+) delivered \(offset \d+, (\d+) failed\) in \d+ms: (\d+) msgs/s", text)
    if not done or int(done[-1][0]) != count or int(done[-1][1]):
        raise RuntimeError(f"not all delivered:\n{text[-1500:]}")
    return int(done[-1][2])


RECORDS = {(100, 16384): 3_000_000, (1024, 16384): 400_000, (1024, 131072): 500_000}


def backed(mib):
    """A virtual machine gives free memory back to its host, and whoever touches it next waits for the host, 2 to 10 us a page. What
    a row is to write is touched just before, so that neither side pays for that."""
    with mmap.mmap(-1, mib << 20) as memory:
        for at in range(0, mib << 20, mmap.PAGESIZE):
            memory[at] = 1


def produce(size, batch, acks):
    def measure(side):
        count = int(RECORDS[size, batch] * scale)
        topic = side.topic()
        produced(side, topic, size, count // 4, acks, batch)  # warms up
        backed(count * size * side.n * 5 // 4 >> 20)
        before = side.cpu("kafka")
        rate = produced(side, topic, size, count, acks, batch)
        used = side.cpu("kafka") - before
        side.drop(topic)
        return {"CPU s/M": used * 1e6 / count, "msgs/s": rate}
    return measure


def consume(size):
    def measure(side):
        count = int({100: 8_000_000, 1024: 2_000_000}[size] * scale)
        topic = side.topic()
        produced(side, topic, size, count, 1, 131072)
        best = {}
        for _ in range(2):  # the first warms up
            before = side.cpu("kafka")
            text = out_of(native, "-C", "-t", topic, "-b", side.kafka, "-o", "beginning", "-c", count, "-q", "-p", 0, "-p", 1, "-p", 2,
                          "-X", "fetch.message.max.bytes=1048576", "-X", "queued.min.messages=1000000")
            got, rate = map(int, re.findall(r"(\d+) messages \(\d+ bytes\) consumed in \d+ms: (\d+) msgs/s", text)[-1])
            if got < count:
                raise RuntimeError(f"{got} of {count} read")
            best = {"CPU s/M": (side.cpu("kafka") - before) * 1e6 / got, "msgs/s": rate}
        side.drop(topic)
        return best
    return measure


def franz(mode, amount, *more, partitions=1):
    def measure(side):
        topic = side.topic(partitions)
        before = side.cpu("kafka")
        got = fields(out_of(load, mode, side.kafka, topic, amount, *more))
        used = side.cpu("kafka") - before
        side.drop(topic)
        return {"p50 ms": got["p50_ms"], "p99 ms": got["p99_ms"], "msgs/s": got.get("msgs_per_s"), "CPU s": used}
    return measure


def cold_reader(side):
    """p99 of steady producers with a reader of data that is not in memory, over the p99 without it."""
    cold, tail = side.topic(), side.topic()
    produced(side, cold, 1024, int(3_000_000 * scale), 1, 131072)
    seconds = str(int(max(4, 10 * scale)))
    alone = fields(out_of(load, "steady", side.kafka, tail, 2000, seconds))["p99_ms"]
    os.sync()
    for path in side.dir.glob(f"**/{cold}-*/*.log"):
        with open(path, "rb") as log:
            os.posix_fadvise(log.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    reader = subprocess.Popen([native, "-C", "-t", cold, "-b", side.kafka, "-o", "beginning", "-q", "-p", "0", "-p", "1", "-p", "2"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    beside = fields(out_of(load, "steady", side.kafka, tail, 2000, seconds))["p99_ms"]
    reader.kill()
    reader.wait()
    side.drop(cold)
    side.drop(tail)
    return {"p99 ms alone": alone, "p99 ms": beside, "times": beside / alone}


def list_topics(side):
    times = []
    for _ in range(5 if side.name == "ours" else 2):
        begin = time.monotonic()
        out_of(*side.tool("kafka-topics", "--list", "--bootstrap-server", side.kafka))
        times.append((time.monotonic() - begin) * 1e3)
    return {"ms": statistics.median(times)}


def memory(side):
    return {"broker MiB": side.memory("kafka"), "coordinator MiB": side.memory("zk")}


def curve(side):
    """Throughput against p99 of znode writes, as more are in flight."""
    return {f"{w}": (got["ops/s"], got["p99 ms"]) for w in (1, 4, 16, 64) for got in [znode("set", window=w, seconds=3)(side)]}


# ---- what the machine itself takes, with nothing of either side around it --------------------------------------------------------
def bare_sendfile():
    """CPU seconds of this process for a GiB from the page cache to a socket, with the send buffer that both sides have."""
    path, size = work / "bare", 1 << 30
    with open(path, "wb") as f:
        for _ in range(size >> 20):
            f.write(b"x" * (1 << 20))

    def drain(address):
        with socket.create_connection(address) as sink:
            buffer = bytearray(1 << 20)
            while sink.recv_into(buffer):
                pass
    with socket.create_server(("127.0.0.1", 0)) as server, open(path, "rb") as f:
        reader = os.fork()
        if not reader:
            drain(server.getsockname())
            os._exit(0)
        source, at = server.accept()[0], 0
        source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 102400)
        before = os.times()
        while at < size:
            at += os.sendfile(source.fileno(), f.fileno(), at, 1 << 18)
        after = os.times()
        source.close()
        os.waitpid(reader, 0)
    path.unlink()
    return after.user + after.system - before.user - before.system


def bare_sync():
    """Milliseconds until 100 bytes more of a file are on the disk: the median of 200."""
    times = []
    with open(work / "bare", "wb", buffering=0) as f:
        for _ in range(200):
            begin = time.monotonic()
            f.write(b"x" * 100)
            os.fdatasync(f.fileno())
            times.append((time.monotonic() - begin) * 1e3)
    return statistics.median(times)


def bare_memory():
    """Seconds until a GiB of memory is there that nobody had before."""
    begin = time.monotonic()
    backed(1024)
    return time.monotonic() - begin


# ---- the table: row, servers, load, then figure: (goal as ours/peer, or an absolute bound of ours) ----------------------------
AT_MOST, ABSOLUTE = "ratio", "absolute"
ROWS = [
    ("memory idle", 3, memory, {"broker MiB": (ABSOLUTE, 20), "coordinator MiB": (ABSOLUTE, 15)}),
    ("kafka-topics --list", 3, list_topics, {"ms": (ABSOLUTE, 30)}),
    ("znode set 100 B, 8 x 32 in flight", 3, znode("set"), {"CPU s/M": (AT_MOST, 1 / 5), "ops/s": (AT_MOST, 3), "p99 ms": (AT_MOST, 1 / 3)}),
    ("znode get 100 B, 8 x 32 in flight", 3, znode("get"), {"CPU s/M": (AT_MOST, 1 / 6), "ops/s": (AT_MOST, 3)}),
    ("znode set 100 B, one at a time", 3, znode("set", 1, 1), {"p50 ms": (AT_MOST, 1 / 2)}),
    ("one change told to 1,000 watchers", 3, znode("fanout", watchers=1000), {"to the last, ms": (AT_MOST, 1 / 4)}),
    ("produce acks=all 100 B, 16 KiB batches, 3 replicas", 3, produce(100, 16384, -1), {"CPU s/M": (AT_MOST, 1 / 4), "msgs/s": (AT_MOST, None)}),
    ("produce acks=all 1 KiB, 16 KiB batches, 3 replicas", 3, produce(1024, 16384, -1), {"CPU s/M": (AT_MOST, 1 / 5), "msgs/s": (AT_MOST, None)}),
    ("produce acks=all 1 KiB, 128 KiB batches, 3 replicas", 3, produce(1024, 131072, -1), {"CPU s/M": (AT_MOST, 1 / 3), "msgs/s": (AT_MOST, 3)}),
    ("end to end, one at a time, 3 brokers", 3, franz("e2e", int(2000 * scale)), {"p50 ms": (AT_MOST, 1 / 3), "p99 ms": (AT_MOST, 1 / 5)}),
    ("memory after the load", 3, memory, {"broker MiB": (AT_MOST, 1 / 4), "coordinator MiB": (AT_MOST, 1 / 4)}),
    ("produce acks=1 100 B, 16 KiB batches, 1 broker", 1, produce(100, 16384, 1), {"CPU s/M": (AT_MOST, 1 / 4), "msgs/s": (AT_MOST, None)}),
    ("produce acks=all 100 B, 16 KiB batches, 1 broker", 1, produce(100, 16384, -1), {"CPU s/M": (AT_MOST, 1 / 4), "msgs/s": (AT_MOST, None)}),
    ("produce acks=all 1 KiB, 128 KiB batches, 1 broker", 1, produce(1024, 131072, -1), {"CPU s/M": (AT_MOST, 1 / 2), "msgs/s": (AT_MOST, None)}),
    ("consume 100 B from the page cache", 1, consume(100), {"CPU s/M": (AT_MOST, 1 / 3), "msgs/s": (AT_MOST, None)}),
    ("consume 1 KiB from the page cache", 1, consume(1024), {"CPU s/M": (AT_MOST, 1 / 3), "msgs/s": (AT_MOST, None)}),
    ("end to end, one at a time, 1 broker", 1, franz("e2e", int(2000 * scale)), {"p50 ms": (AT_MOST, 1 / 2), "p99 ms": (AT_MOST, 1 / 4)}),
    ("1,000 connections, unbatched records of 100 B", 1, franz("conns", 1000, 5, partitions=8), {"msgs/s": (AT_MOST, 3), "p99 ms": (AT_MOST, None)}),
    ("producers' p99 beside a cold reader", 1, cold_reader, {"times": (ABSOLUTE, 1.2), "p99 ms": (AT_MOST, None)}),
    ("start of one broker", 1, lambda side: {"ms": side.start_one_broker() * 1e3}, {"ms": (ABSOLUTE, 50)}),
    ("memory of 1,000,000 znodes of 100 B" if not a.quick else "memory of 100,000 znodes of 100 B", 1, million_znodes, {"MiB": (AT_MOST, 1 / 4)}),
]
START = {1: None, 3: ("start of 3 + 3", {"s": (ABSOLUTE, 1.0)})}
HIGHER = ("ops/s", "msgs/s")


def turn(kind, n, results):
    rows = [row for row in ROWS if row[1] == n and re.search(a.only, row[0])]
    if not rows:
        return
    side = kind(n)
    took = side.start()
    try:
        if START[n] and re.search(a.only, START[n][0]):
            note(results, START[n][0], side.name, {"s": took})
        time.sleep(1)
        for i, (name, _, measure, _) in enumerate(rows):
            if i == 0 and measure is not memory or i == 1 and rows[0][2] is memory:
                side.warm_up()
            try:
                note(results, name, side.name, measure(side))
            except (RuntimeError, TimeoutError, OSError, kw.Refused, subprocess.TimeoutExpired, StopIteration) as error:
                say(f"{side.name}: {name}: {error}")
                results.setdefault(name, {}).setdefault("failed", []).append(f"{side.name}: {str(error)[:300]}")
        if n == 3 and re.search(a.only, "curve"):
            note(results, "curve", side.name, curve(side))
    finally:
        side.stop()


def note(results, name, side, figures):
    results.setdefault(name, {}).setdefault(side, []).append(figures)
    say(f"{side:5} {name}: " + "  ".join(f"{k} {short(v)}" for k, v in figures.items() if v is not None))


def short(value):
    if isinstance(value, tuple):
        return "/".join(map(short, value))
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(results, name, side, figure):
    """Median, least and greatest of a figure over the rounds."""
    values = [got[figure] for got in results.get(name, {}).get(side, []) if got.get(figure) is not None]
    return (statistics.median(values), min(values), max(values)) if values else None


def lines(results):
    goals = {name: goals for name, _, _, goals in ROWS} | {name: g for name, g in filter(None, START.values())}
    for name in [*dict.fromkeys(["start of 3 + 3", *[row[0] for row in ROWS]])]:
        for figure, (kind, goal) in goals.get(name, {}).items():
            ours, peer = (spread(results, name, side, figure) for side in ("ours", "peer"))
            if not ours and not peer:
                continue
            ratio = ours[0] / peer[0] if ours and peer and peer[0] else None
            judged = ours[0] if ours and kind == ABSOLUTE else ratio
            met = None if goal is None or judged is None else judged >= goal if figure in HIGHER else judged <= goal
            yield dict(row=name, figure=figure, ours=ours, peer=peer, ratio=ratio, goal=goal, kind=kind, met=met)


def printed(results):
    def cell(got):
        if not got:
            return "-"
        middle, least, most = got
        return short(middle) if least == most else f"{short(middle)} ({short(least)}-{short(most)})"

    def ratio(value):
        return "-" if value is None else f"{value:.1f} x" if value >= 1 else f"1/{1 / value:.1f}"

    head = ["what", "figure", "ours", "peer", "ours : peer", "goal", ""]
    table = [[l["row"], l["figure"], cell(l["ours"]), cell(l["peer"]), ratio(l["ratio"]),
              "-" if l["goal"] is None else ratio(l["goal"]) if l["kind"] == AT_MOST else short(l["goal"]),
              {True: "met", False: "NOT MET", None: ""}[l["met"]]] for l in lines(results)]
    widths = [max(len(row[i]) for row in [head, *table]) for i in range(len(head))]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in [head, ["-" * w for w in widths], *table])


def plot(results, path):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for side, label in (("ours", "Castellan"), ("peer", "Apache ZooKeeper")):
        for i, got in enumerate(results.get("curve", {}).get(side, [])):
            axes.plot(*zip(*got.values()), marker="o", color={"ours": "C0", "peer": "C1"}[side], label=label if i == 0 else None)
    axes.set(xlabel="znode writes a second (100 B, 8 connections, 1 to 64 in flight each)", ylabel="p99, ms", yscale="log",
             title="Three servers, every write synced by a majority")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what runs, and prints what there is
    results, out = {}, pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in (Ours, Peer) if kind.name in a.sides.split(",")]
    machine = f"{os.cpu_count()} cores, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f} at the start"
    bare = f"sendfile of 1 GiB to a socket {bare_sendfile():.2f} CPU s, 100 bytes to the disk {bare_sync():.2f} ms, 1 GiB of new memory {bare_memory():.2f} s"
    try:
        for _ in range(1 if a.quick else a.rounds):
            for n in (3, 1):
                for kind in kinds:
                    turn(kind, n, results)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        (out / "bench.json").write_text(json.dumps({"machine": machine, "bare": bare, "lines": list(lines(results)), "runs": results}, indent=1))
        print(printed(results))
        print(f"\n{machine}; server and client share the cores. CPU s/M: CPU seconds of all servers of that half for a million operations."
              f"\nThis machine by itself: {bare}."
              "\nDurability: both coordinators sync before they acknowledge; neither broker syncs, acks=all waits for the replicas."
              f"\nJSON: {out}/bench.json  plot: {out}/bench.svg")
    if "curve" in results:
        plot(results, out / "bench.svg")
    return any("failed" in row for row in results.values())


sys.exit(main())
