"""near_consumer.py BOOTSTRAP TOPIC COUNT RACK BROKER: a consumer in a rack reads COUNT records of a topic, most of the bytes from that
broker, which is a follower there (KIP-392; librdkafka's own statistics say what came from whom)."""
import json, sys, time
from confluent_kafka import Consumer

bootstrap, topic, count, rack, broker = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
received = {}


def note(text):
    for one in json.loads(text)["brokers"].values():
        received[one["nodeid"]] = one["rxbytes"]


consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"near-{rack}-{broker}", "auto.offset.reset": "earliest", "client.rack": rack,
                     "statistics.interval.ms": 200, "stats_cb": note, "fetch.message.max.bytes": 20000})
consumer.subscribe([topic])
seen, end = [], time.monotonic() + 60
while len(seen) < count and time.monotonic() < end:
    message = consumer.poll(0.5)
    if message is not None and not message.error():
        seen.append(message.offset())
assert seen == list(range(count)), f"{len(seen)} of {count} records, or not in order"
settled = time.monotonic() + 2
while time.monotonic() < settled:
    consumer.poll(0.1)
consumer.close()
print(f"rack {rack}: bytes by broker {received}")
assert max(received, key=received.get) == broker, f"not read from broker {broker}: {received}"
