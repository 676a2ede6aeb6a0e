"""failover.py BOOTSTRAP TOPIC KILLS WHOM RESTART PID_FILE: how long a producer waits when a broker is killed (kill -9).

A producer of librdkafka (confluent-kafka), acks=all and idempotent, writes a record every 2 ms, to each partition in turn.
The leader of a partition is killed; measured is the time from the kill to the first acknowledgement of a record of that
partition produced after it. (A producer that writes to a single partition has no other connection in librdkafka, and looks
for the new leader only once a second.)
WHOM is `leader` (any leader that is not the controller, where that can be chosen), `controller` (a leader that is the
controller as well) or `any`. In RESTART, a shell command, and PID_FILE {id} stands for the broker. At the end everything
acknowledged is read again. Prints one line of JSON. With LOGS=pattern in the environment what the servers logged during
kills that took longer than SLOW_MS (200) goes to standard error, in the order of time."""
import datetime, glob, json, os, signal, subprocess, sys, threading, time
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

bootstrap, topic, kills, whom, restart, pid_file = sys.argv[1:7]
kills = int(kills)
admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
deadline = lambda seconds: time.monotonic() + seconds


def shell(command, broker):
    subprocess.run(command.replace("{id}", str(broker)), shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def show_story(begin, end):
    """What the logs say between two moments of the wall clock, each line with the milliseconds since the first."""
    lines = []
    for path in glob.glob(os.environ.get("LOGS", "")):
        for line in open(path, errors="replace"):
            try:
                at = datetime.datetime.fromisoformat(line.split(None, 1)[0].replace("Z", "+00:00")).timestamp()
            except (IndexError, ValueError):
                continue
            if begin - 0.02 <= at <= end + 0.02:
                lines.append((at, os.path.basename(path), line.split(None, 1)[1].rstrip()))
    for at, name, line in sorted(lines):
        print(f"  {(at - begin) * 1000:7.1f} {name}: {line}", file=sys.stderr)


def wait_for(what, seconds=120):
    end = deadline(seconds)
    while time.monotonic() < end:
        try:
            found = what()
        except Exception:
            found = None
        if found:
            return found
        time.sleep(0.02)
    raise SystemExit(f"gave up waiting for {what.__name__}")


def metadata():
    return admin.list_topics(topic=topic, timeout=5)


def healthy():
    """Partitions by leader once every replica is in sync and every broker is there."""
    known = metadata()
    partitions = known.topics[topic].partitions.values()
    # A broker that has only just started may not know the topic yet.
    if not partitions or any(len(p.isrs) < len(p.replicas) or p.leader < 0 for p in partitions):
        return None
    return known


class Load(threading.Thread):
    """Produces to the partition that is set, and remembers when a record produced after `since` was acknowledged."""

    def __init__(self):
        super().__init__(daemon=True)
        self.partition, self.since, self.first_ack, self.count = 0, None, threading.Event(), 1
        self.acknowledged, self.failed, self.number, self.ends = {}, [], 0, False
        self.longest = 0.0
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0, "log_level": 0,
            "message.timeout.ms": 120000, "retry.backoff.ms": 10, "retry.backoff.max.ms": 100, "reconnect.backoff.ms": 10,
            "reconnect.backoff.max.ms": 100, "topic.metadata.refresh.fast.interval.ms": 20, **json.loads(os.environ.get("PRODUCER", "{}"))})

    def delivered(self, produced_at, number):
        def done(error, message):
            if error is not None:
                self.failed.append(str(error))
                return
            self.acknowledged[number] = (message.partition(), message.offset())
            self.longest = max(self.longest, time.monotonic() - produced_at)
            is_meant = self.since is not None and produced_at > self.since and message.partition() == self.partition
            if is_meant and not self.first_ack.is_set():
                self.ack_at = time.monotonic()
                self.first_ack.set()
        return done

    def run(self):
        while not self.ends:
            number = self.number
            self.number += 1
            try:
                self.producer.produce(topic, str(number).encode(), partition=number % self.count,
                                      on_delivery=self.delivered(time.monotonic(), number))
            except BufferError:
                pass
            self.producer.poll(0.002)
        self.producer.flush(120)


load = Load()
load.count = len(wait_for(healthy).topics[topic].partitions)
load.start()
times = []
for turn in range(kills):
    known = wait_for(healthy)
    leaders = {p: m.leader for p, m in known.topics[topic].partitions.items()}
    wanted = [p for p, leader in leaders.items()
              if whom == "any" or (leader == known.controller_id) == (whom == "controller")]
    load.partition = (wanted or list(leaders))[turn % len(wanted or leaders)]
    victim = leaders[load.partition]
    # The load has moved to the partition before the kill.
    seen = load.number
    wait_for(lambda: any(load.acknowledged.get(n, (None,))[0] == load.partition for n in range(seen, load.number)))
    load.first_ack.clear()
    pid = int(open(pid_file.replace("{id}", str(victim))).read())
    killed_at, began = time.monotonic(), time.time()
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        pass
    # Whatever is produced from here on is not acknowledged by the dead.
    load.since = time.monotonic()
    if not load.first_ack.wait(120):
        raise SystemExit("no record was acknowledged within 120 s")
    times.append((load.ack_at - killed_at) * 1000)
    print(f"kill {turn + 1}: broker {victim}{' (controller)' if victim == known.controller_id else ''}, "
          f"{times[-1]:.0f} ms, at {time.strftime('%T')}", file=sys.stderr, flush=True)
    if times[-1] > float(os.environ.get("SLOW_MS", 200)):
        show_story(began, began + times[-1] / 1000)
    load.since = None
    shell(restart, victim)
load.ends = True
load.join()
wait_for(healthy)

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "failover-check", "enable.auto.commit": False, "log_level": 0})
count = len(metadata().topics[topic].partitions)
found, doubles = {}, 0
for p in range(count):
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)
    consumer.assign([TopicPartition(topic, p, low)])
    position, end = low, deadline(120)
    while position < high and time.monotonic() < end:
        for message in consumer.consume(10000, 1):
            if message.error() is None:
                doubles += message.value() in found
                found[message.value()] = (p, message.offset())
                position = message.offset() + 1
lost = [n for n in load.acknowledged if str(n).encode() not in found]
times.sort()
at = lambda share: round(times[min(len(times) - 1, int(len(times) * share))])
print(json.dumps({"of": os.environ.get("NAME", ""), "kills": kills, "whom": whom, "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": round(times[-1]),
                  "acknowledged": len(load.acknowledged), "lost": len(lost), "twice": doubles, "errors": len(load.failed)}))
sys.exit(1 if lost or doubles or load.failed else 0)
