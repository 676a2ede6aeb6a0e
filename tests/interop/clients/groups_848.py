"""groups_848.py BOOTSTRAP DIR JAVA_CLASS_PATH: groups of the new consumer protocol (KIP-848), of librdkafka and Java at once.

A producer writes all the while. Members come, leave and are killed; the coordinator of the group is killed. Each time every
partition has exactly one member, evenly; at the end everything written was read, and is committed."""
import os, re, signal, subprocess, sys, threading, time
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, folder, class_path = sys.argv[1:4]
here = os.path.dirname(os.path.abspath(__file__))
GROUP, TOPIC, PARTITIONS = "g848", "t848", 6
started = time.monotonic()


class Member:
    def __init__(self, name, kind, topics=TOPIC, group=GROUP, **settings):
        settings.setdefault("group_protocol", "consumer")
        arguments = [bootstrap, group, topics, f"client.id={name}"] + [f"{k.replace('_', '.')}={v}" for k, v in settings.items()]
        program = {"rdkafka": [sys.executable, f"{here}/group_member.py"], "java": ["java", "-Xmx128m", "-cp", class_path, "GroupMember"]}
        self.name, self.has, self.read, self.lines, self.changes = name, set(), [], [], 0
        self.process = subprocess.Popen(program[kind] + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self.listen, daemon=True).start()
        members.append(self)

    def listen(self):
        for line in self.process.stdout:
            word, *rest = line.split()  or [""]
            if word == "has":
                self.has = set(rest)
                self.changes += 1
            elif word == "read":
                self.read.append((rest[0], int(rest[1])))
            else:
                self.lines.append(line.rstrip())

    def is_alive(self):
        return self.process.poll() is None

    def leave(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.has = set()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)
        self.has = set()


members = []
all_places = {f"{TOPIC}-{n}" for n in range(PARTITIONS)}


def until(what, condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            for member in members:
                print(member.name, "alive" if member.is_alive() else "gone", sorted(member.has), member.lines[-5:])
            sys.exit(f"gave up waiting: {what}")
        time.sleep(0.05)
    print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)


def is_even(group, places=all_places):
    owned = [place for member in group for place in member.has]
    sizes = [len(member.has) for member in group]
    return sorted(owned) == sorted(places) and max(sizes) - min(sizes) <= 1


admin = AdminClient({"bootstrap.servers": bootstrap})
for topic, count in [(TOPIC, PARTITIONS), ("p-one", 2)]:
    admin.create_topics([NewTopic(topic, count, 3)])[topic].result(30)

written, stop = [0] * PARTITIONS, threading.Event()


def write():
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})

    def on_delivery(error, message):
        if error is None:
            written[message.partition()] += 1

    count = 0
    while not stop.is_set():
        producer.produce(TOPIC, str(count), partition=count % PARTITIONS, on_delivery=on_delivery)
        producer.poll(0)
        count += 1
        time.sleep(0.01)
    producer.flush(60)


writer = threading.Thread(target=write)
writer.start()

a = Member("a", "rdkafka")
until("one member of librdkafka has all", lambda: is_even([a]))
b, c = Member("b", "java"), Member("c", "rdkafka")
until("three members, one of Java", lambda: is_even([a, b, c]))
b.leave()
until("the one of Java has left", lambda: is_even([a, c]))
c.kill()
until("one was killed", lambda: is_even([a]))
d = Member("d", "java", group_instance_id="static", group_remote_assignor="range")
until("a static member joins", lambda: is_even([a, d]))
before, changes = set(d.has), a.changes
d.leave()
d = Member("e", "java", group_instance_id="static", group_remote_assignor="range")
until("it restarts", lambda: d.has == before)
if a.changes != changes:
    sys.exit("the other member noticed the restart of the static one")


def state():
    out = subprocess.run(["kafka-consumer-groups", "--bootstrap-server", bootstrap, "--describe", "--group", GROUP, "--state"], capture_output=True, text=True).stdout
    found = re.search(r"\((\d+)\)\s+(\S+)\s+(\S+)\s+(\d+)", out)
    return found.groups() if found else None


until("the group is stable", lambda: (state() or [None] * 3)[2] == "Stable")
coordinator = state()[0]
os.kill(int(open(f"{folder}/broker-{coordinator}.pid").read()), signal.SIGKILL)
print(f"{time.monotonic() - started:6.1f} s  killed broker {coordinator}, the coordinator")
f = Member("f", "rdkafka")
until("a member joins after that", lambda: is_even([a, d, f]))
reads = {member: len(member.read) for member in (a, d, f)}
until("all go on reading", lambda: all(len(member.read) > count + 10 for member, count in reads.items()))
subprocess.run([os.environ["castellan"], "up", "--detach", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
d.kill()
until("another is killed", lambda: is_even([a, f]))

patterns = [Member("p", "rdkafka", "^p-.*", "patterns"), Member("q", "java", "^p-.*", "patterns")]
until("patterns: what is there", lambda: is_even(patterns, {"p-one-0", "p-one-1"}))
admin.create_topics([NewTopic("p-two", 2, 3)])["p-two"].result(30)
until("patterns: and what comes", lambda: is_even(patterns, {"p-one-0", "p-one-1", "p-two-0", "p-two-1"}))
for member in patterns:
    member.leave()

stop.set()
writer.join()
read = lambda: {place for member in members for place in member.read}
until("everything is read", lambda: all((f"{TOPIC}-{n}", o) in read() for n in range(PARTITIONS) for o in range(written[n])))


def committed():
    asked = ConsumerGroupTopicPartitions(GROUP, [TopicPartition(TOPIC, n) for n in range(PARTITIONS)])
    found = admin.list_consumer_group_offsets([asked])[GROUP].result(30).topic_partitions
    return {place.partition: place.offset for place in found}


until("everything is committed", lambda: committed() == dict(enumerate(written)))
twice = sum(len(member.read) for member in members) - len(read())
print(f"{sum(written)} records, {twice} of them read twice")
if os.environ.get("KEEP_MEMBERS"):
    print("members stay", flush=True)
    subprocess.run(os.environ["KEEP_MEMBERS"], shell=True, check=True)
for member in (a, f):
    member.leave()
until("the group is empty", lambda: (state() or [None] * 3)[2] == "Empty")
