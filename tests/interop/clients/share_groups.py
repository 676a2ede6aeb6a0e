"""share_groups.py BOOTSTRAP DIR JAVA_CLASS_PATH: share groups (KIP-932) of Apache Kafka's own client.

Members share one topic, accept, release, reject, renew and hold records, and are killed; then a producer writes all the while
and each broker is killed in turn, so that leaders, the group's coordinator and the share coordinators move. Nothing that was
written is missing from what was accepted; an administrator sees the group, moves it, and ends it."""
import os, re, signal, subprocess, sys, threading, time
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, folder, class_path = sys.argv[1:4]
BROKERS = len(bootstrap.split(","))
GROUP, TOPIC, PARTITIONS = "shares", "shared", 3
started = time.monotonic()
members = []


def say(text):
    print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)


class Member:
    def __init__(self, name, topic=TOPIC, group=GROUP, **settings):
        arguments = [f"client.id={name}"] + [f"{k.replace('_', '.')}={v}" for k, v in settings.items()]
        self.name, self.got, self.done, self.unsure, self.lines = name, [], [], [], []
        self.process = subprocess.Popen(["java", "-Xmx128m", "-cp", class_path, "ShareMember", bootstrap, group, topic] + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self.listen, daemon=True).start()
        members.append(self)

    def listen(self):
        for line in self.process.stdout:
            word, *rest = line.split() or [""]
            if word == "got":
                self.got.append((rest[0], int(rest[1]), int(rest[2]), rest[3]))
            elif word == "done":
                self.done.append((rest[0], int(rest[1])))
            else:
                if word == "lost":
                    self.unsure.append((rest[0], int(rest[1])))
                self.lines.append(line.rstrip())

    def leave(self):
        self.process.stdin.close()
        self.process.wait(60)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)
        self.unsure += [(place, offset) for place, offset, *_ in self.got]


def until(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            for member in members:
                print(member.name, member.process.poll(), len(member.got), len(member.done), member.got[-3:], member.lines[-12:])
            sys.exit(f"gave up waiting: {what}")
        time.sleep(0.05)
    say(what)


admin_program = subprocess.Popen(["java", "-Xmx128m", "-cp", class_path, "ShareAdmin", bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ask(question):
    admin_program.stdin.write(question + "\n")
    admin_program.stdin.flush()
    return admin_program.stdout.readline().strip()


def expect(question, expected):
    found = ask(question)
    if not re.fullmatch(expected, found):
        sys.exit(f"{question}: expected {expected}, found {found}")


def write(topic, texts, partition=None):
    """Writes texts, and gives their places."""
    producer, places = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True}), {}

    def on_delivery(error, message):
        assert error is None, error
        places[(f"{topic}-{message.partition()}", message.offset())] = message.value().decode()

    for number, text in enumerate(texts):
        producer.produce(topic, text, partition=number % PARTITIONS if partition is None else partition, on_delivery=on_delivery)
        producer.poll(0)
    producer.flush(60)
    return places


def done(of=None):
    return [place for member in of or members for place in member.done]


def settled():
    """Accepted for all that can be told: a broker or a member may have been killed before it could say so."""
    return set(done()) | {place for member in members for place in member.unsure}


def got(text):
    return sorted(count for member in members for place, offset, count, t in member.got if t == text)


admin = AdminClient({"bootstrap.servers": bootstrap})
for topic, count in [(TOPIC, PARTITIONS), ("kinds", 1)]:
    admin.create_topics([NewTopic(topic, count, BROKERS)])[topic].result(30)
expect("features", r"features .*share\.version=.*max(_version_level|VersionLevel): ?1.*")
expect(f"get {GROUP} share.auto.offset.reset", "latest DEFAULT_CONFIG")
for setting in ["share.auto.offset.reset=earliest", "share.record.lock.duration.ms=2000", "share.session.timeout.ms=6000", "share.heartbeat.interval.ms=500"]:
    for group in (GROUP, "kinds"):
        expect(f"set {group} {setting}", "ok")
expect(f"get {GROUP} share.auto.offset.reset", "earliest DYNAMIC_GROUP_CONFIG")
expect(f"set {GROUP} share.session.timeout.ms=1", "InvalidConfigurationException: .*")
expect(f"set {GROUP} share.no.such=1", "InvalidConfigurationException: .*Unknown group config name: share.no.such.*")

# Several members, nothing goes wrong: each record is accepted once.
first = write(TOPIC, [f"first-{n}" for n in range(300)])
a, b = Member("a"), Member("b")
until("two members have accepted what was there", lambda: set(done()) == set(first))
if len(done()) != len(first) or not (a.done and b.done):
    sys.exit(f"a accepted {len(a.done)}, b {len(b.done)} of {len(first)} records")
until("the group is as it should be", lambda: re.fullmatch(r"Stable \d a=(\S+) b=(\S+)", ask(f"describe {GROUP}")), 30)
c = Member("c")
until("a third member has a partition", lambda: re.fullmatch(r"Stable \d a=\S+ b=\S+ c=\S+", ask(f"describe {GROUP}")), 30)

# What is done with single records.
kinds = write("kinds", ["release-1", "reject-1", "renew-1", "poison-1", "accept-1"], 0)
d = Member("d", "kinds", "kinds", share_acknowledgement_mode="explicit")
until("released, then accepted", lambda: got("release-1") == [1, 2])
until("poison was delivered five times", lambda: got("poison-1") == [1, 2, 3, 4, 5])
accepted = {place for place, text in kinds.items() if text.split("-")[0] in ("release", "renew", "accept")}
until("the rest was accepted once", lambda: set(done([d])) == accepted)
if [got("reject-1"), got("renew-1"), got("accept-1")] != [[1], [1, 1], [1]]:
    sys.exit(f"delivered more than once: {d.got}")
held = write("kinds", ["hold-1"], 0)
until("one is held", lambda: got("hold-1") == [1])
d.kill()
after = write("kinds", ["accept-2"], 0)
d2 = Member("d2", "kinds", "kinds")
until("its lock ends with who held it", lambda: set(held) | set(after) <= set(done([d2])))
if got("hold-1") != [1, 2]:
    sys.exit(f"held: {got('hold-1')}")
until("the group stands at the end", lambda: re.fullmatch(r"offsets kinds-0:\d+:0", ask("offsets kinds")), 30)

# An administrator.
expect("alter kinds kinds 0 0", "GroupNotEmptyException: .*")
expect("delete kinds", "GroupNotEmptyException: .*")
d2.leave()
until("the group is empty", lambda: ask("describe kinds").startswith("Empty "), 30)
expect("alter kinds kinds 0 4", "ok")
expect("offsets kinds", "offsets kinds-0:4:3")
e = Member("e", "kinds", "kinds")
until("the group was moved back", lambda: {place for place, *_ in [(o,) for _, o in e.done]} == {4, 5, 6})
e.leave()
until("and is empty again", lambda: ask("describe kinds").startswith("Empty "), 30)
expect("delete-offsets kinds kinds", "ok")
expect("offsets kinds", "offsets")
expect("delete-offsets kinds kinds", "UnknownTopicOrPartitionException: .*")
expect("list", f"groups kinds:Share:Empty {GROUP}:Share:Stable")
expect("delete kinds", "ok")
expect("list", f"groups {GROUP}:Share:Stable")
expect("describe kinds", "GroupIdNotFoundException: .*")

# Each broker is killed in turn while a producer writes: leaders, the group's coordinator and share coordinators move.
written, stop = {}, threading.Event()


def keep_writing():
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})

    def on_delivery(error, message):
        if error is None:
            written[(f"{TOPIC}-{message.partition()}", message.offset())] = message.value().decode()

    count = 0
    while not stop.is_set():
        producer.produce(TOPIC, f"next-{count}", partition=count % PARTITIONS, on_delivery=on_delivery)
        producer.poll(0)
        count += 1
        time.sleep(0.005)
    producer.flush(60)


writer = threading.Thread(target=keep_writing)
writer.start()
for broker in range(BROKERS):
    coordinator = ask(f"describe {GROUP}").split()[1]
    os.kill(int(open(f"{folder}/broker-{broker}.pid").read()), signal.SIGKILL)
    say(f"killed broker {broker}; the group's coordinator was {coordinator}")
    mark = len(written)
    until("writing goes on", lambda: len(written) > mark + 200)
    later = set(list(written)[mark : mark + 200])
    until("what was written since is accepted", lambda: later <= settled())
    if broker == 1:
        c.kill()
        say("killed a member, too")
    subprocess.run([os.environ["castellan"], "up", "--detach", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
stop.set()
writer.join()
everything = {**first, **written}
until("everything written is accepted", lambda: set(everything) <= settled())
twice, unsure = len(done()) - len(set(done())), len(set(everything) - set(done()))
say(f"{len(everything)} records, {twice} accepted twice, {unsure} by who could not tell")
if unsure > len(everything) / 4:
    sys.exit("too many that nobody could tell of")
at_end = "offsets" + r" \S+:\d+:0" * PARTITIONS
until("nothing is left to do", lambda: re.fullmatch(at_end, ask(f"offsets {GROUP}")), 60)
a.leave()
b.leave()
until("the group is empty", lambda: ask(f"describe {GROUP}").startswith("Empty "), 60)
admin.delete_topics([TOPIC])[TOPIC].result(30)
until("what is deleted is forgotten", lambda: ask(f"offsets {GROUP}") == "offsets", 60)
expect(f"delete {GROUP}", "ok")
expect("list", "groups")
admin_program.stdin.close()
