"""tests/bench/scale.py: what one more costs. Starts our servers, and drives them with ever more of one thing: partitions,
connections, watchers, znodes, groups, producers. Prints a table, and writes it as JSON and as a plot.

Started by tests/bench/scale, which brings what it needs. Flat lines are the goal: nothing grows with what it does not concern.
"""
import argparse, glob, json, os, pathlib, re, shutil, subprocess, sys, tempfile, time

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(root / "tests/interop/peers"))
import kafkawire as kw

ap = argparse.ArgumentParser(description=__doc__)
ap.add_argument("--quick", action="store_true", help="without the largest of each")
ap.add_argument("--only", default="", help="names that match this expression")
ap.add_argument("--out", default=str(root / "target/bench"))
a = ap.parse_args()
home = os.environ["PEERS_HOME"]
castellan, load, zk_load = str(root / "target/release/castellan"), f"{home}/bin/load", str(root / "tests/interop/peers/bench-zk")
ZK, KAFKA = 31860, 29160
work = pathlib.Path(tempfile.mkdtemp(prefix="castellan-scale."))


def out_of(*cmd):
    done = subprocess.run([str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{cmd}: exit {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def fields(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


class Servers:
    """n coordinators and n brokers, new ones for each row."""

    def __init__(self, n):
        self.n, self.dir = n, work / "cluster"
        self.zk = ",".join(f"127.0.0.1:{ZK + i}" for i in range(n))
        self.kafka = ",".join(f"127.0.0.1:{KAFKA + i}" for i in range(n))

    def __enter__(self):
        out_of(castellan, "up", "--detach", "--dir", self.dir, "--coordinators", self.n, "--brokers", self.n, "--coordinator-port", ZK,
               "--broker-port", KAFKA)
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        subprocess.run([castellan, "down", "--dir", str(self.dir)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def pids(self, half):
        return [int(open(p).read()) for p in sorted(glob.glob(str(self.dir / f"{half}-*.pid")))]

    def cpu(self, *halves):
        total = 0
        for pid in [pid for half in halves for pid in self.pids(half)]:
            f = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
            total += int(f[11]) + int(f[12])
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self, half):
        return max(int(re.search(r"^VmRSS:\s+(\d+)", open(f"/proc/{p}/status").read(), re.M)[1]) / 1024 for p in self.pids(half))

    def topic(self, name, partitions):
        """Created and led, as seen by every broker; seconds."""
        asked = kw.any_conn(self.kafka)
        brokers, controller, _, _ = asked.metadata()
        asked.close()
        c, begin = kw.Conn(brokers[controller], 60), time.monotonic()
        c.create_topic(name, partitions, self.n)
        c.close()
        for address in self.kafka.split(","):
            c = kw.Conn(address, 60)
            while True:
                _, _, parts, err = c.metadata(name)
                if not err and len(parts) == partitions and all(e == 0 and l >= 0 and len(r) == self.n for e, _, l, r in parts):
                    break
                time.sleep(0.01)
            c.close()
        return time.monotonic() - begin

    def idle_cpu(self, seconds=5):
        """Processor time of all servers in a second in which nobody asks for anything."""
        before, begin = self.cpu("broker", "coordinator"), time.monotonic()
        time.sleep(seconds)
        return (self.cpu("broker", "coordinator") - before) / (time.monotonic() - begin)


def held(mode, bootstrap, topic, n, seconds, measure):
    """Runs a measurement while a load generator keeps n of something; the measurement and what the generator prints."""
    process = subprocess.Popen([load, mode, bootstrap, topic, str(n), str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(process.stderr.read()[-2000:])
        got = measure()
        rest, _ = process.communicate(timeout=300)
        return got, fields(rest)
    finally:
        process.kill()


def partitions(n):
    """Three servers of each; a topic with n partitions beside one that is used."""
    with Servers(3) as s:
        s.topic("used", 1)
        empty = s.memory("broker")
        took = s.topic("many", n)
        time.sleep(2)
        idle = s.idle_cpu()
        got = fields(out_of(load, "e2e", s.kafka, "used", 1000))
        c, times = kw.Conn(s.kafka.split(",")[0]), []
        for _ in range(200):
            begin = time.monotonic()
            c.metadata("used")
            times.append(time.monotonic() - begin)
        return {"led after, ms": took * 1e3, "KiB a partition": (s.memory("broker") - empty) * 1024 / n, "idle CPU, ms a second": idle * 1e3,
                "another topic end to end p50, us": got["p50_ms"] * 1e3, "metadata of another topic p50, us": sorted(times)[100] * 1e6}


def connections(n):
    """One broker with n connections that say nothing; one client that produces."""
    with Servers(1) as s:
        s.topic("t", 1)
        empty = s.memory("broker")

        def measure():
            idle = s.idle_cpu(3)
            return {"KiB a connection": (s.memory("broker") - empty) * 1024 / n, "idle CPU, ms a second": idle * 1e3,
                    "end to end p50, us": fields(out_of(load, "e2e", s.kafka, "t", 1000))["p50_ms"] * 1e3}

        return held("idle", s.kafka, "t", n, 12, measure)[0]


def watchers(n):
    """Three coordinators; one change told to n sessions, and what a change costs that nobody watches."""
    with Servers(3) as s:
        got = fields(out_of(zk_load, s.zk, "-mode", "fanout", "-size", 100, "-conns", 8, "-window", 1, "-watchers", n, "-seconds", 4))
        return {"to the last, us a watcher": got["all_notified_p50_ms"] * 1e3 / n, "to the last, ms": got["all_notified_p50_ms"]}


def znodes(n):
    """One coordinator with n znodes of 100 bytes."""
    with Servers(1) as s:
        empty = s.memory("coordinator")
        out_of(zk_load, s.zk, "-mode", "get", "-size", 100, "-conns", 8, "-window", 32, "-keys", n // 8, "-seconds", 1, "-warmup", 0)
        memory = s.memory("coordinator") - empty
        got = {mode: fields(out_of(zk_load, s.zk, "-mode", mode, "-size", 100, "-conns", 8, "-window", 32, "-keys", 100, "-seconds", 3,
                                   "-pids", ",".join(map(str, s.pids("coordinator"))))) for mode in ("get", "set")}
        return {"B a znode": memory * 1024 * 1024 / n, "get, us of CPU": got["get"]["server_cpu_s_per_M"], "set, us of CPU": got["set"]["server_cpu_s_per_M"]}


def groups(n):
    """One broker; n groups of one member that consume a topic to which nothing comes any more."""
    with Servers(1) as s:
        s.topic("t", 1)
        out_of(load, "e2e", s.kafka, "t", 1)  # one record: more, and a thousand groups read it all
        empty = s.memory("broker")

        def measure():
            idle = s.idle_cpu(8)
            return {"CPU a group, us a second": idle * 1e6 / n, "KiB a group": (s.memory("broker") - empty) * 1024 / n}

        got, told = held("groups", s.kafka, "t", n, 9, measure)
        return got | {"joined, ms a group": told["ready_s"] * 1e3 / n}


def producers(n):
    """Three brokers, three replicas, six partitions; n producers as fast as they go."""
    with Servers(3) as s:
        s.topic("t", 6)
        before = s.cpu("broker")
        got = fields(out_of(load, "rate", s.kafka, "t", n, 4))
        used = s.cpu("broker") - before  # of 5 s, of which 4 are counted
        return {"CPU, s a million": used * 1e6 / (got["msgs_per_s"] * 5), "messages a second": got["msgs_per_s"]}


ROWS = [(partitions, [1, 10, 100, 1000, 10000]), (connections, [1, 10, 100, 1000, 5000]), (watchers, [1, 10, 100, 1000, 10000]),
        (znodes, [1000, 10_000, 100_000, 1_000_000]), (groups, [10, 100, 1000]), (producers, [1, 2, 4, 8, 16])]


def short(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plot(results, path):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    figure, all_axes = plt.subplots(2, 3, figsize=(15, 8))
    for axes, (name, got) in zip(all_axes.flat, results.items()):
        for what in next(iter(got.values())):
            axes.plot([int(n) for n in got], [row[what] for row in got.values()], marker="o", label=what)
        axes.set(title=name, xscale="log", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def main():
    results, out, failed = {}, pathlib.Path(a.out), 0
    out.mkdir(parents=True, exist_ok=True)
    try:
        for measure, counts in ROWS:
            if not re.search(a.only, measure.__name__):
                continue
            for n in counts[:-1] if a.quick else counts:
                try:
                    got = measure(n)
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    print(f"{measure.__name__} {n}: {error}", file=sys.stderr)
                    failed += 1
                    continue
                results.setdefault(measure.__name__, {})[n] = got
                print(f"{measure.__name__:12} {n:>9,}  " + "   ".join(f"{what} {short(value)}" for what, value in got.items()), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    (out / "scale.json").write_text(json.dumps(results, indent=1))
    plot(results, out / "scale.svg")
    print(f"JSON: {out}/scale.json  plot: {out}/scale.svg")
    return failed > 0


sys.exit(main())
