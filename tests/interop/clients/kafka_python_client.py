"""kafka-python against three brokers: the argument is the bootstrap list."""
import faulthandler, logging, sys, threading, time
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

servers = sys.argv[1].split(",")
logging.basicConfig(level=logging.WARNING)
admin = KafkaAdminClient(bootstrap_servers=servers)
admin.create_topics([NewTopic("t", 6, 3)])
try:
    admin.create_topics([NewTopic("t", 6, 3)])
    raise AssertionError("a topic was created twice")
except TopicAlreadyExistsError:
    pass

# Every acks with every compression; each record comes back as it went in.
sent = {}
for acks in (0, 1, "all"):
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        producer = KafkaProducer(bootstrap_servers=servers, acks=acks, compression_type=codec, linger_ms=5,
                                 enable_idempotence=False)
        for i in range(200):
            key = f"{acks}-{codec}-{i}".encode()
            sent[key] = key * 20
            producer.send("t", key=key, value=sent[key], headers=[("codec", str(codec).encode())])
        producer.flush(60)
        producer.close()
consumer = KafkaConsumer("t", bootstrap_servers=servers, auto_offset_reset="earliest", group_id=None)
got = {}
deadline = time.time() + 60
while len(got) < len(sent) and time.time() < deadline:
    for records in consumer.poll(500).values():
        for r in records:
            assert r.key not in got, f"twice: {r.key}"
            got[r.key] = r.value
assert got == sent, f"{len(got)} of {len(sent)}"
consumer.close()

# Idempotent producer.
producer = KafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
futures = [producer.send("t", key=b"idem", value=str(i).encode()) for i in range(500)]
offsets = [f.get(60).offset for f in futures]
assert offsets == sorted(offsets) and len(set(offsets)) == 500
producer.close()

# A group grows from one to three members and shrinks again; every partition has one owner.
def member(stop, owned, name):
    c = KafkaConsumer(bootstrap_servers=servers, group_id="g", auto_offset_reset="earliest",
                      session_timeout_ms=10000, heartbeat_interval_ms=500, max_poll_interval_ms=30000)
    # kafka-python 3.0.12 takes part without knowing the topic, else; it then joins again, and forgets that it does so if
    # poll() ends meanwhile (one start in fifty: answered by the broker, never taken by the client).
    assert c.partitions_for_topic("t")
    c.subscribe(["t"])
    while not stop.is_set():
        c.poll(200)
        owned[name] = {tp.partition for tp in c.assignment()}
    c.close()
    owned[name] = set()

owned, members = {}, []
def start():
    stop = threading.Event()
    thread = threading.Thread(target=member, args=(stop, owned, len(members)), daemon=True)
    thread.start()
    members.append((stop, thread))
def balanced(count):
    parts = [p for p in owned.values() if p]
    return len(parts) == count and sorted(p for part in parts for p in part) == list(range(6))
def wait(condition, what):
    deadline = time.time() + 60
    while not condition():
        if time.time() > deadline:
            faulthandler.dump_traceback()  # where each member stands
            raise AssertionError(f"{what}: {owned}")
        time.sleep(0.05)
start(); wait(lambda: balanced(1), "one member has not all partitions")
start(); start(); wait(lambda: balanced(3), "three members do not share")
stop, thread = members[0]
stop.set(); thread.join(30); wait(lambda: balanced(2), "two members do not take over")
for stop, thread in members[1:]:
    stop.set(); thread.join(30)
committed = KafkaConsumer(bootstrap_servers=servers, group_id="g")
assert sum(committed.committed(TopicPartition("t", p)) or 0 for p in range(6)) == len(sent) + 500
committed.close()

# Administration.
admin.create_partitions({"t": NewPartitions(8)})
wait(lambda: len(admin.describe_topics(["t"])[0]["partitions"]) == 8, "no eight partitions")
admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "t", configs={"retention.ms": "3600000"})])
def retention():
    return "3600000" in str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "t")]))
wait(retention, "the setting is not seen")
assert "g" in str(admin.list_consumer_groups() if hasattr(admin, "list_consumer_groups") else admin.list_groups())
admin.delete_topics(["t"])
wait(lambda: "t" not in admin.list_topics(), "the topic is still there")
admin.close()
print("kafka-python: all as expected")
