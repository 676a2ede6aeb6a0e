"""Transactional clients on a few partitions while brokers and coordinators are killed, stopped and cut off; the history is given
to the checker. Started by `appends`, inside namespaces of its own."""
import collections, itertools, logging, os, random, signal, subprocess, sys, threading, time
import hosts
from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from hosts import say, sh

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
WORK, BIN, CHECKER = (os.environ[name] for name in ("work", "bin", "checker"))
TOPIC, PARTITIONS, CLIENTS, SESSION = "appends", 3, 7, 3.0
address = {f"c{n}": f"10.79.1.{n}" for n in (1, 2, 3)} | {f"b{n}": f"10.79.2.{n + 1}" for n in (0, 1, 2)}
bootstrap = ",".join(f"{ip}:9092" for name, ip in address.items() if name[0] == "b")
processes, stopping = {}, threading.Event()
chance = random.Random(SEED)
PATIENT = {"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 6000, "retry.backoff.ms": 20,
           "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 300, "topic.metadata.refresh.fast.interval.ms": 50}
# Who is fenced says so as a fatal error, which is what is wanted here.
SILENT = logging.getLogger("silent")
SILENT.disabled = True


def now():
    return time.monotonic_ns() // 1000


def start(name):
    program = "coordinator" if name[0] == "c" else "broker"
    processes[name] = hosts.start(name, f"{BIN}/{program}", f"{WORK}/{name}/conf", f"{WORK}/{name}.log")


def configure():
    connect = ",".join(f"{ip}:2181" for name, ip in address.items() if name[0] == "c")
    for name, ip in address.items():
        os.makedirs(f"{WORK}/{name}/data")
        number = name[1:]
        if name[0] == "c":
            open(f"{WORK}/{name}/data/myid", "w").write(f"{number}\n")
            lines = [f"dataDir={WORK}/{name}/data", "tickTime=500", "initLimit=10", "syncLimit=5", "clientPort=2181",
                     "maxClientCnxns=0", "admin.enableServer=false", "4lw.commands.whitelist=*"]
            lines += [f"server.{other[1:]}={ip}:2888:3888" for other, ip in address.items() if other[0] == "c"]
        else:
            lines = [f"broker.id={number}", f"listeners=PLAINTEXT://{ip}:9092", f"zookeeper.connect={connect}",
                     f"zookeeper.session.timeout.ms={int(SESSION * 1000)}", f"log.dirs={WORK}/{name}/data",
                     "default.replication.factor=3", "min.insync.replicas=2", "replica.lag.time.max.ms=3000",
                     "offsets.topic.replication.factor=3", "transaction.state.log.replication.factor=3",
                     "transaction.state.log.min.isr=2", "transaction.abort.timed.out.transaction.cleanup.interval.ms=500"]
        open(f"{WORK}/{name}/conf", "w").write("\n".join(lines) + "\n")
        start(name)


def until(what, seconds, why):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except KafkaException:
            pass
        time.sleep(0.1)
    raise SystemExit(f"FAILED: gave up waiting until {why}")


class Client(threading.Thread):
    """One transaction after the other, each written down. Two of three consume first, each from a partition and group of its own."""
    numbers, history, lock = itertools.count(), {}, threading.Lock()

    def __init__(self, number):
        super().__init__(daemon=True)
        self.random, self.outcomes = random.Random(SEED * 100 + number), collections.Counter()
        # From the third on they share ids, and fence each other.
        self.id = f"writer-{number}" if number < 3 else f"shared-{number % 2}"
        self.source = TopicPartition(TOPIC, number % PARTITIONS) if number % 3 else None
        self.producer = None
        if self.source:
            self.consumer = Consumer(PATIENT | {"group.id": f"group-{number}", "isolation.level": "read_committed",
                                                "enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 50})

    def run(self):
        while not stopping.is_set():
            try:
                if self.producer is None:
                    self.producer = Producer(PATIENT | {"transactional.id": self.id, "transaction.timeout.ms": 8000,
                                                        "message.timeout.ms": 8000, "linger.ms": 1}, logger=SILENT)
                    self.producer.init_transactions(20)
                self.one()
            except KafkaException:
                # Fenced, or nobody there: it begins anew.
                self.producer = None
            time.sleep(self.random.uniform(0, 0.02))

    def consume(self, txn):
        """What is committed from where the group stands on, up to a few records."""
        place, = self.consumer.committed([self.source], timeout=10)
        if place.error:
            raise KafkaException(place.error)
        begin = max(0, place.offset)
        self.consumer.assign([TopicPartition(TOPIC, self.source.partition, begin)])
        found = []
        for message in self.consumer.consume(self.random.randint(1, 8), timeout=0.4):
            if message.error():
                raise KafkaException(message.error())
            found.append((message.offset(), message.value().decode()))
        if found:
            end = found[-1][0] + 1
            txn["consumed"] = (self.source.partition, begin, end, found)
            self.producer.send_offsets_to_transaction([TopicPartition(TOPIC, self.source.partition, end)],
                                                      self.consumer.consumer_group_metadata(), 10)

    def one(self):
        with Client.lock:
            number = next(Client.numbers)
            txn = Client.history[number] = {"id": self.id, "began": now(), "ended": None, "outcome": "open", "appends": [], "consumed": None}
        try:
            self.producer.begin_transaction()
            if self.source:
                self.consume(txn)
            counter = itertools.count()
            for partition in self.random.sample(range(PARTITIONS), self.random.randint(1, PARTITIONS)):
                values = [f"{number}/{next(counter)}" for _ in range(self.random.randint(1, 4))]
                txn["appends"].append((partition, values))
                for value in values:
                    self.producer.produce(TOPIC, value, partition=partition)
            end = self.random.random()
            if end < 0.05:
                # Left alone in the middle, as one that died.
                self.producer.flush(self.random.uniform(0, 0.1))
                self.producer = None
                return
            if end < 0.2:
                self.producer.flush(self.random.uniform(0, 0.1))
                self.end(self.producer.abort_transaction)
                txn["outcome"] = "aborted"
                return
            txn["outcome"] = "unknown"
            self.end(self.producer.commit_transaction)
            txn["outcome"] = "committed"
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self.end(self.producer.abort_transaction)
            txn["outcome"] = "aborted"
        finally:
            txn["ended"] = now()
            self.outcomes[txn["outcome"]] += 1

    def end(self, call):
        until = time.monotonic() + 40
        while True:
            try:
                return call(5)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > until:
                    raise


class Reader(threading.Thread):
    """Reads what is committed all the while."""

    def __init__(self):
        super().__init__(daemon=True)
        self.read, self.ends = {}, False

    def run(self):
        consumer = Consumer(PATIENT | {"group.id": "reader", "isolation.level": "read_committed", "enable.auto.commit": False})
        consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
        while not self.ends:
            for message in consumer.consume(500, timeout=0.2):
                if not message.error():
                    self.read[message.partition(), message.offset()] = message.value().decode()
        consumer.close()


def read_all():
    """What is committed when nothing is open any more."""
    admin = AdminClient(PATIENT)
    places = {TopicPartition(TOPIC, p): OffsetSpec.latest() for p in range(PARTITIONS)}

    def ends(isolation):
        found = admin.list_offsets(places, isolation_level=isolation, request_timeout=10)
        return {place.partition: future.result().offset for place, future in found.items()}

    def settled():
        stable, last = ends(IsolationLevel.READ_COMMITTED), ends(IsolationLevel.READ_UNCOMMITTED)
        return last if stable == last else None
    last = until(settled, 60, "every transaction has ended")
    consumer = Consumer(PATIENT | {"group.id": "last", "isolation.level": "read_committed", "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
    found, end = {}, time.monotonic() + 60
    # Markers have no record: the position says when all is read.
    while any(place.offset < last[place.partition] for place in consumer.position([TopicPartition(TOPIC, p) for p in range(PARTITIONS)])):
        if time.monotonic() > end:
            raise SystemExit("FAILED: what is committed cannot be read to its end")
        for message in consumer.consume(500, timeout=0.2):
            if not message.error():
                found[message.partition(), message.offset()] = message.value().decode()
    consumer.close()
    return found


# --- what is done to the servers; each leaves all as it was


def rest(low, high):
    time.sleep(chance.uniform(low, high))


def again(name, sig):
    processes[name].send_signal(sig)
    processes[name].wait()


def killed(name):
    again(name, signal.SIGKILL)
    rest(0, 2)
    start(name)


def restarted(name):
    again(name, signal.SIGTERM)
    start(name)


def stopped(name):
    processes[name].send_signal(signal.SIGSTOP)
    rest(0.5, 2 * SESSION)
    processes[name].send_signal(signal.SIGCONT)


def cut_off(name, hears=False):
    for other, ip in address.items():
        if other != name:
            if not hears:
                sh(f"ip netns exec {name} iptables -A INPUT -s {ip} -j DROP")
            sh(f"ip netns exec {name} iptables -A OUTPUT -d {ip} -j DROP")
    rest(0.5, 2 * SESSION)
    sh(f"ip netns exec {name} iptables -F")


def mute(name):
    cut_off(name, hears=True)


FAULTS = [killed, killed, restarted, stopped, stopped, cut_off, mute]


# --- the verdict


def lines(history, reads):
    for number, txn in sorted(history.items()):
        yield f"txn {number} {txn['id']} {txn['began']} {txn['ended']} {txn['outcome']}"
        for partition, values in txn["appends"]:
            yield f"append {number} {TOPIC} {partition} {' '.join(values)}"
        if txn["consumed"]:
            partition, begin, end, found = txn["consumed"]
            yield f"consumed {number} {TOPIC} {partition} {begin} {end} {' '.join(f'{o}={v}' for o, v in found)}"
    for reader, found in enumerate(reads):
        for (partition, offset), value in found.items():
            yield f"read {reader} {TOPIC} {partition} {offset} {value}"


def verdict(history, reads):
    path = f"{WORK}/history"
    open(path, "w").write("\n".join(lines(history, reads)) + "\n")
    done = subprocess.run([CHECKER, path], capture_output=True, text=True)
    return done.returncode, done.stdout.strip()[:3000]


def planted(history, last, read):
    """Faults that the checker must see, and what it calls them."""
    writer = {value: int(value.split("/")[0]) for value in last.values()}
    place = {value: at for at, value in last.items()}
    whole = next(n for n, txn in history.items() if txn["outcome"] == "committed" and sum(len(v) for _, v in txn["appends"]) > 1)
    gone = place[history[whole]["appends"][0][1][0]]
    yield "a committed record that is lost", "torn", history, [{at: v for at, v in last.items() if at != gone}, {}]
    aborted = next((n for n, txn in history.items() if txn["outcome"] == "aborted" and txn["appends"]), None)
    if aborted is not None:
        partition, values = history[aborted]["appends"][0]
        yield "a record of an aborted transaction", "was read", history, [last, read | {(partition, 10**9): values[0]}]
    at = sorted(read)[len(read) // 2]
    yield "a record that was left out", "passed over", history, [last, {k: v for k, v in read.items() if k != at}]
    reader = next(n for n, txn in sorted(history.items(), reverse=True) if txn["outcome"] == "committed" and txn["consumed"]
                  and any(writer[v] != n for _, v in txn["consumed"][3]) and txn["appends"])
    source = next(writer[v] for _, v in history[reader]["consumed"][3] if writer[v] != reader)
    value = history[reader]["appends"][0][1][0]
    partition, offset = place[value]
    known = history[source] | {"consumed": (partition, offset, offset + 1, [(offset, value)])}
    yield "two transactions that read of each other", "cycle", history | {source: known}, [last, read]


def main():
    say(f"seed {SEED}")
    hosts.network(address, "10.79.0.1")
    configure()
    admin = AdminClient(PATIENT)
    until(lambda: len(admin.list_topics(timeout=5).brokers) == 3, 60, "three brokers are up")
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)])[TOPIC].result()
    clients, reader = [Client(n) for n in range(CLIENTS)], Reader()
    for thread in [*clients, reader]:
        thread.start()
    until(lambda: sum(client.outcomes["committed"] for client in clients) > 20, 60, "transactions are committed")
    counts, end = collections.Counter(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        rest(0.5, 3)
        fault, victim = chance.choice(FAULTS), chance.choice([*address, "b0", "b1", "b2"])
        fault(victim)
        counts[f"{fault.__name__} {'broker' if victim[0] == 'b' else 'coordinator'}"] += 1
        if any(process.poll() is not None for process in processes.values()):
            raise SystemExit(f"FAILED: a server has ended by itself: { {n: p.poll() for n, p in processes.items()} }")
    stopping.set()
    for client in clients:
        client.join(60)
    if any(client.is_alive() for client in clients):
        raise SystemExit("FAILED: a client has not come to an end")
    last = read_all()
    until(lambda: all(at in reader.read for at in last), 30, "the reader has read all")
    reader.ends = True
    reader.join(10)
    say("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    outcomes = sum((client.outcomes for client in clients), collections.Counter())
    say("transactions: " + ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())))
    if outcomes["committed"] < 200:
        raise SystemExit("FAILED: hardly anything was committed")
    history = Client.history
    code, text = verdict(history, [last, reader.read])
    say(text)
    if code:
        raise SystemExit(f"FAILED with seed {SEED}")
    for name, called, *tampered in planted(history, last, reader.read):
        code, text = verdict(*tampered)
        if code != 1 or called not in text:
            raise SystemExit(f"FAILED: the checker does not see {name}: {text}")
    say("the checker sees all planted faults")


try:
    main()
finally:
    for process in processes.values():
        process.kill()
