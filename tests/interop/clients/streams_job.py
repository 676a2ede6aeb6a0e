"""A Kafka Streams application through kills: streams_job.py BOOTSTRAP CLUSTER-DIRECTORY CLASSPATH WORK-DIRECTORY.

Feeds one application that nothing disturbs, and another of two processes while brokers and coordinators are killed and come
back. Both must tell what the input says: each word's count, each pair of records within five seconds once.
"""
import collections, os, random, signal, subprocess, sys, time, uuid
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

servers, cluster, classpath, work = sys.argv[1:5]
castellan = os.environ["castellan"]
PARTITIONS, STEPS, LINES, PAIRS, FIRST_MS = 3, 20, 100, 60, 1_700_000_000_000
WORDS = [f"word{number}" for number in range(40)]


def inputs(step):
    """(topic, key, value, time) of one step; the same for every application."""
    rng = random.Random(step)
    for line in range(LINES):
        yield "lines", str(line % 7), " ".join(rng.choices(WORDS, k=5)), FIRST_MS + step
    for pair in range(PAIRS):
        at = FIRST_MS + (step * PAIRS + pair) * 200
        for side in ("left", "right"):
            key = str(rng.randrange(10))
            yield side, key, f"{side}{step}-{pair}-{key}", at + rng.randrange(200)


def expected():
    counts, sides = collections.Counter(), {"left": [], "right": []}
    for step in range(STEPS):
        for topic, key, value, at in inputs(step):
            if topic == "lines":
                counts.update(value.split())
            else:
                sides[topic].append((key, value, at))
    joined = [f"{a}+{b}" for key, a, one in sides["left"] for other, b, two in sides["right"] if key == other and abs(one - two) <= 5000]
    return {word: str(count) for word, count in counts.items()}, sorted(joined)


def make_topics(name):
    admin = AdminClient({"bootstrap.servers": servers})
    topics = [NewTopic(f"{name}-{what}", PARTITIONS, 3, config={"min.insync.replicas": "2", "retention.ms": "-1"})
              for what in ("lines", "left", "right", "counts", "joined")]
    for future in admin.create_topics(topics).values():
        future.result(30)


def feed(producer, name, step):
    failed = []
    for topic, key, value, at in inputs(step):
        producer.produce(f"{name}-{topic}", value, key=key, timestamp=at, on_delivery=lambda error, _: error and failed.append(error))
    assert producer.flush(90) == 0 and not failed, failed[:3]


def start(name, instance):
    log = open(f"{work}/{name}-{instance}.log", "w")
    return subprocess.Popen(["java", "-Xmx256m", "-cp", classpath, "StreamsJob", servers, name, f"{work}/state-{name}-{instance}"],
                            stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)


def told(name, enough, seconds=150):
    """What the application told, once it is as much as `enough` says, and a while later."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": uuid.uuid4().hex, "isolation.level": "read_committed",
                         "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 2})
    consumer.assign([TopicPartition(f"{name}-{what}", partition, 0) for what in ("counts", "joined") for partition in range(PARTITIONS)])
    counts, joined, deadline, until = {}, [], time.time() + seconds, None
    while until is None or time.time() < until:
        assert time.time() < deadline, f"{name}: {sum(map(int, counts.values()))} words, {len(joined)} pairs"
        for message in consumer.consume(500, 0.2):
            if message.error():
                continue
            if message.topic().endswith("counts"):
                key, count = message.key().decode(), message.value().decode()
                assert int(count) >= int(counts.get(key, 0)), f"{key} went back from {counts[key]} to {count}"
                counts[key] = count
            else:
                joined.append(message.value().decode())
        if until is None and enough(counts, joined):
            until = time.time() + 2
    consumer.close()
    return counts, sorted(joined)


def kill(server):
    with open(f"{cluster}/{server}.pid") as file:
        os.kill(int(file.read()), signal.SIGKILL)
    print(f"killed {server}", flush=True)


def run(name, instances, disturb):
    make_topics(name)
    processes = [start(name, instance) for instance in range(instances)]
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 1, "log_level": 2})
    for step in range(STEPS):
        feed(producer, name, step)
        disturb(name, step)
    result = told(name, lambda counts, joined: sum(map(int, counts.values())) >= STEPS * LINES * 5 and len(joined) >= len(expected()[1]))
    for process in processes:
        process.stdin.close()
    for process in processes:
        assert process.wait(90) == 0, name
    return result


def disturbed(name, step):
    """A server is killed after every second step and is back before the next."""
    order = ["broker-1", "coordinator-2", "broker-0", "coordinator-1", "broker-2", "coordinator-3"]
    if step % 3 == 1 and step // 3 < len(order):
        # Something of the step must have come out, so that the kill falls into the work.
        told(name, lambda counts, _: sum(map(int, counts.values())) >= step * LINES * 5)
        kill(order[step // 3])
    if step % 3 == 2:
        subprocess.run([castellan, "up", "--detach", "--dir", cluster], check=True, stdout=subprocess.DEVNULL)


wanted = expected()
quiet = run("quiet", 1, lambda *_: None)
assert quiet == wanted, "the undisturbed application told something else than its input says"
print(f"undisturbed: {len(quiet[0])} words, {len(quiet[1])} pairs", flush=True)
through = run("through", 2, disturbed)
assert through == quiet, f"{len(through[1])} pairs, {sum(map(int, through[0].values()))} words"
print("through the kills: the same")
