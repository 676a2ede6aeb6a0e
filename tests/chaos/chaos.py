"""Breaks a cluster in one way after the other while producers write to it, and checks that nothing acknowledged is lost,
nothing is there twice, and each producer's records are in order. Started by `run`, inside namespaces of its own."""
import collections, os, random, shutil, signal, subprocess, sys, threading, time
import hosts
from hosts import say, sh

if len(sys.argv) < 2 or sys.argv[1] != "list":
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

WORK, BIN = os.environ.get("work", ""), os.environ.get("bin", "")
COORDINATORS, BROKERS, PARTITIONS, PRODUCERS = [1, 2, 3], [0, 1, 2], 6, 3
SESSION = 6.0
address = {f"c{n}": f"10.77.1.{n}" for n in COORDINATORS} | {f"b{n}": f"10.77.2.{n + 1}" for n in BROKERS}
TOPIC = "ledger"
bootstrap = ",".join(f"{address[f'b{n}']}:9092" for n in BROKERS)
processes = {}


def until(what, seconds, why):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = what()
        except Exception:
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"FAILED: gave up waiting until {why}")


# --- the servers


def configure():
    for n in COORDINATORS:
        home = f"{WORK}/c{n}"
        os.makedirs(f"{home}/data")
        # Less than what RocksDB would like to reserve for its log, which would be room for long on a full disk.
        sh(f"mount -t tmpfs -o size=32m none {home}/data")
        open(f"{home}/data/myid", "w").write(f"{n}\n")
        lines = [f"dataDir={home}/data", "tickTime=2000", "initLimit=10", "syncLimit=5", "clientPort=2181",
                 "maxClientCnxns=0", "admin.enableServer=false", "4lw.commands.whitelist=*"]
        lines += [f"server.{m}={address[f'c{m}']}:2888:3888" for m in COORDINATORS]
        open(f"{home}/conf", "w").write("\n".join(lines) + "\n")
    connect = ",".join(f"{address[f'c{n}']}:2181" for n in COORDINATORS)
    for n in BROKERS:
        home = f"{WORK}/b{n}"
        os.makedirs(f"{home}/small")
        sh(f"mount -t tmpfs -o size=40m none {home}/small")
        lines = [f"broker.id={n}", f"listeners=PLAINTEXT://{address[f'b{n}']}:9092", f"zookeeper.connect={connect}",
                 f"zookeeper.session.timeout.ms={int(SESSION * 1000)}", f"log.dirs={home}/large,{home}/small/logs",
                 "default.replication.factor=3", "min.insync.replicas=2", "offsets.topic.replication.factor=3",
                 "replica.lag.time.max.ms=4000", "log.segment.bytes=1048576", "group.initial.rebalance.delay.ms=0"]
        open(f"{home}/conf", "w").write("\n".join(lines) + "\n")


def start(name):
    program = "coordinator" if name[0] == "c" else "broker"
    processes[name] = hosts.start(name, f"{BIN}/{program}", f"{WORK}/{name}/conf", f"{WORK}/{name}.log")


def kill(name, with_signal=signal.SIGKILL):
    processes[name].send_signal(with_signal)
    if with_signal == signal.SIGKILL:
        processes[name].wait()


def cut(sender, receiver):
    sh(f"ip netns exec {receiver} iptables -A INPUT -s {address[sender]} -j DROP")


def mend():
    for name in address:
        sh(f"ip netns exec {name} iptables -F INPUT")


def mode(n):
    return hosts.mode(address[f"c{n}"])


def coordinator_leader():
    def find():
        for n in COORDINATORS:
            if mode(n) == "leader":
                return f"c{n}"
    return until(find, 30, "a coordinator leads")


def metadata(server=None):
    where = f"{address[server]}:9092" if server else bootstrap
    return AdminClient({"bootstrap.servers": where, "log_level": 0, "socket.timeout.ms": 3000}).list_topics(timeout=4)


def healthy():
    """Every broker says so: one that was just stopped may say what was true before. And every coordinator serves."""
    if any(mode(n) not in ("leader", "follower") for n in COORDINATORS):
        return None
    for n in BROKERS:
        known = metadata(f"b{n}")
        partitions = known.topics[TOPIC].partitions.values()
        if len(known.brokers) < len(BROKERS) or any(len(p.isrs) < 3 or p.leader < 0 for p in partitions):
            return None
    return known


def leader():
    leaders = [p.leader for p in until(metadata, 30, "a broker answers").topics[TOPIC].partitions.values() if p.leader >= 0]
    return f"b{collections.Counter(leaders).most_common(1)[0][0]}"


def controller():
    return f"b{until(lambda: (lambda c: [c] if c >= 0 else None)(metadata().controller_id), 30, 'there is a controller')[0]}"


# --- the load and what it was promised


class Load(threading.Thread):
    def __init__(self, number):
        super().__init__(daemon=True)
        self.number, self.ends, self.sent = number, False, 0
        self.acknowledged, self.errors, self.stall, self.last = {}, [], 0.0, None
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2, "log_level": 0,
            "message.timeout.ms": 300000, "request.timeout.ms": 5000, "socket.timeout.ms": 6000,
            "retry.backoff.ms": 20, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 500,
            "queue.buffering.max.messages": 20000, "topic.metadata.refresh.fast.interval.ms": 50})

    def done(self, sequence):
        def delivered(error, message):
            if error is not None:
                self.errors.append(str(error))
                return
            now = time.monotonic()
            self.stall = max(self.stall, now - (self.last or now))
            self.last = now
            self.acknowledged[sequence] = (message.partition(), message.offset())
        return delivered

    def run(self):
        filler = "x" * 200
        while not self.ends:
            try:
                self.producer.produce(TOPIC, f"{self.number}:{self.sent}:{filler}", partition=self.sent % PARTITIONS,
                                      on_delivery=self.done(self.sent))
                self.sent += 1
            except BufferError:
                pass
            self.producer.poll(0.004)
        self.producer.flush(300)


def read_all():
    """(partition, offset) -> (producer, sequence), as kcat reads it."""
    out = subprocess.run(["kcat", "-b", bootstrap, "-C", "-t", TOPIC, "-o", "beginning", "-e", "-q", "-X", "log_level=0",
                          "-f", "%p %o %s\n"], capture_output=True, text=True, timeout=240)
    found = {}
    for line in out.stdout.splitlines():
        partition, offset, value = line.split(" ", 2)
        producer, sequence, _ = value.split(":", 2)
        found[int(partition), int(offset)] = (int(producer), int(sequence))
    return found


def problems(promised, found):
    """What is wrong: promised is producer -> sequence -> place, found is place -> (producer, sequence)."""
    wrong, there = [], set(found.values())
    for producer, acknowledged in promised.items():
        for sequence, place in acknowledged.items():
            # librdkafka knows no offset where it infers from a later acknowledgement that this record's own was lost.
            is_there = (producer, sequence) in there if place[1] is None else found.get(place) == (producer, sequence)
            if not is_there:
                wrong.append(f"lost: record {sequence} of producer {producer} was acknowledged at {place}, there is {found.get(place)}")
    seen, last = {}, {}
    for place in sorted(found):
        producer, sequence = found[place]
        if (producer, sequence) in seen:
            wrong.append(f"twice: record {sequence} of producer {producer} at {seen[producer, sequence]} and {place}")
        seen[producer, sequence] = place
        key = (producer, place[0])
        if last.get(key, -1) > sequence:
            wrong.append(f"order: record {sequence} of producer {producer} comes after {last[key]} on partition {place[0]}")
        last[key] = sequence
    return wrong


# --- the faults


def killed_leader():
    name = leader()
    kill(name)
    goes_on()
    start(name)


def killed_controller():
    name = controller()
    kill(name)
    goes_on()
    start(name)


def killed_coordinators():
    for _ in range(2):
        name = coordinator_leader()
        kill(name)
        goes_on()
        start(name)
        until(lambda: mode(int(name[1:])), 30, f"{name} is back")


def stopped_leader():
    name = leader()
    kill(name, signal.SIGSTOP)
    time.sleep(SESSION * 1.5)
    goes_on()
    kill(name, signal.SIGCONT)


def stopped_controller():
    name = controller()
    kill(name, signal.SIGSTOP)
    time.sleep(SESSION * 1.5)
    goes_on()
    kill(name, signal.SIGCONT)


def stopped_coordinator():
    name = coordinator_leader()
    kill(name, signal.SIGSTOP)
    time.sleep(SESSION)
    goes_on()
    kill(name, signal.SIGCONT)


def cut_off(name, others, hears=False, is_heard=False):
    """The links to the others are cut for longer than a session, one way or both; then they are mended."""
    for other in others:
        if other != name:
            if not hears:
                cut(other, name)
            if not is_heard:
                cut(name, other)
    time.sleep(SESSION * 1.5)
    goes_on()
    mend()


def isolated_leader():
    """Cut off from every other server, both ways; clients still reach it."""
    cut_off(leader(), address)


def mute_leader():
    """Nothing that it sends reaches another server; it hears them."""
    cut_off(leader(), address, hears=True)


def deaf_controller():
    """It hears no other server; they hear it."""
    cut_off(controller(), address, is_heard=True)


def no_coordinators():
    """A leader reaches the brokers, but no coordinator."""
    name = leader()
    for n in COORDINATORS:
        cut(f"c{n}", name)
        cut(name, f"c{n}")
    time.sleep(SESSION * 1.5)
    goes_on()
    mend()


def fill(folder):
    """Takes all space that is left there, with a file whose name is returned."""
    ballast = f"{folder}/ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                pass
    return ballast


def full_disk():
    """One of the two log directories of a broker has no byte left."""
    name = leader()
    ballast = fill(f"{WORK}/{name}/small")
    until(lambda: "log directory failed" in open(f"{WORK}/{name}.log", errors="replace").read(), 60, "the directory fails")
    goes_on()
    os.remove(ballast)
    kill(name)
    start(name)


def lost_directory():
    """A broker comes back without one of its log directories' content."""
    name = leader()
    kill(name)
    goes_on()
    shutil.rmtree(f"{WORK}/{name}/large")
    start(name)


def isolated_coordinator():
    """The leading coordinator reaches no other, nor they it; brokers still reach it."""
    cut_off(coordinator_leader(), [f"c{n}" for n in COORDINATORS])


def mute_coordinator():
    """Nothing that the leading coordinator sends reaches another; it hears them."""
    cut_off(coordinator_leader(), [f"c{n}" for n in COORDINATORS], hears=True)


def full_coordinator():
    """The disk of the leading coordinator has no byte left; it ends rather than acknowledge what it cannot keep."""
    name = coordinator_leader()
    ballast = fill(f"{WORK}/{name}/data")
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def has_ended():
        # Something to write down.
        admin.create_topics([NewTopic(f"filler-{time.monotonic_ns()}", 1, 3)], operation_timeout=1)
        return processes[name].poll() is not None
    until(has_ended, 60, f"{name} ends")
    if "is full" not in open(f"{WORK}/{name}.log", errors="replace").read():
        raise SystemExit(f"FAILED: {name} does not say that its disk is full")
    goes_on()
    os.remove(ballast)
    start(name)


def lost_coordinator():
    """A coordinator comes back with nothing but its number."""
    name = coordinator_leader()
    kill(name)
    goes_on()
    for entry in os.scandir(f"{WORK}/{name}/data"):
        if entry.name != "myid":
            shutil.rmtree(entry.path) if entry.is_dir() else os.remove(entry.path)
    start(name)


def whole_cluster():
    """Every broker dies at once, with whatever was only in memory."""
    for n in BROKERS:
        kill(f"b{n}")
    for n in BROKERS:
        start(f"b{n}")
    goes_on()


FAULTS = [killed_leader, killed_controller, killed_coordinators, stopped_leader, stopped_controller, stopped_coordinator,
          isolated_leader, mute_leader, deaf_controller, no_coordinators, isolated_coordinator, mute_coordinator, full_disk,
          lost_directory, full_coordinator, lost_coordinator, whole_cluster]


def goes_on():
    """Every partition takes records again: each producer's next ones on all partitions are acknowledged."""
    marks = [load.sent for load in loads]
    want = PARTITIONS * 2
    until(lambda: all(all(sequence in load.acknowledged for sequence in range(mark, mark + want))
                      for load, mark in zip(loads, marks)), 90, "records on every partition are acknowledged")


def plant(promised, found):
    """The checker must see each of these."""
    acknowledged = {place: (producer, sequence) for producer, all in promised.items() for sequence, place in all.items()
                    if place[1] is not None}
    place = random.choice(sorted(acknowledged))
    lost = {other: record for other, record in found.items() if other != place}
    partition = place[0]
    end = max(offset for p, offset in found if p == partition) + 1
    twice = found | {(partition, end): found[place]}
    same = [p for p in sorted(acknowledged) if p[0] == partition and acknowledged[p][0] == acknowledged[place][0]]
    swapped = found | {same[0]: found[same[-1]], same[-1]: found[same[0]]}
    for name, tampered in (("a lost record", lost), ("a doubled record", twice), ("two swapped records", swapped)):
        if not problems(promised, tampered):
            raise SystemExit(f"FAILED: the checker does not see {name}")
    producer, sequence = found[place]
    if not problems({producer: {sequence: (partition, None)}}, lost):
        raise SystemExit("FAILED: the checker does not see a lost record whose offset nobody was told")
    # And for real: the end of a partition's log is cut off on every replica.
    for n in BROKERS:
        kill(f"b{n}")
    for n in BROKERS:
        for dir in ("large", "small/logs"):
            home = f"{WORK}/b{n}/{dir}/{TOPIC}-{partition}"
            for file in sorted(os.listdir(home)) if os.path.isdir(home) else []:
                path = f"{home}/{file}"
                if file.endswith(".log"):
                    os.truncate(path, os.path.getsize(path) // 2)
                elif file != "partition.metadata":
                    os.remove(path)
    for n in BROKERS:
        start(f"b{n}")
    until(healthy, 60, "the mutilated cluster is up")
    if not problems(promised, read_all()):
        raise SystemExit("FAILED: the checker does not see that half of a partition is gone")


def main():
    global loads
    names = {fault.__name__: fault for fault in FAULTS}
    if sys.argv[1:] == ["list"]:
        print("\n".join(names))
        return
    wanted = [names[name] for name in sys.argv[1:]] or FAULTS
    hosts.network(address, "10.77.0.1")
    configure()
    for name in address:
        start(name)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    until(lambda: len(metadata().brokers) == 3, 60, "three brokers are up")
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)])[TOPIC].result()
    until(healthy, 60, "all replicas are in sync")
    loads = [Load(n) for n in range(PRODUCERS)]
    [load.start() for load in loads]
    goes_on()
    say(f"{PRODUCERS} producers write to {PARTITIONS} partitions")
    for fault in wanted:
        for load in loads:
            load.stall = 0.0
        fault()
        until(healthy, 120, f"the cluster is whole again after {fault.__name__}")
        goes_on()
        count = sum(len(load.acknowledged) for load in loads)
        say(f"{fault.__name__:22} longest pause of a producer {max(load.stall for load in loads):5.2f} s, {count} acknowledged")
    for load in loads:
        load.ends = True
    for load in loads:
        load.join(300)
    errors = [error for load in loads for error in load.errors]
    promised = {load.number: load.acknowledged for load in loads}
    found = read_all()
    wrong = problems(promised, found)
    total = sum(map(len, promised.values()))
    say(f"{total} records acknowledged, {len(found)} read; {len(wrong)} problems, {len(errors)} errors told to producers")
    for line in (wrong + sorted(set(errors)))[:20]:
        print("        " + line)
    if wrong or errors:
        raise SystemExit("FAILED")
    plant(promised, found)
    say("the checker sees planted faults")
    print("chaos: passed")


main()
