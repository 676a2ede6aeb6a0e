"""group_member.py BOOTSTRAP GROUP TOPICS KEY=VALUE...: one member of a consumer group, of librdkafka (confluent-kafka).

TOPICS that begin with ^ are a pattern. Prints `has t-0 t-1` when what it has changes and `read t-0 17` for each record, which
it then commits. Ends, leaving the group, when its input ends."""
import sys, threading
from confluent_kafka import Consumer, KafkaException

bootstrap, group, topics, *settings = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
    "topic.metadata.refresh.interval.ms": 2000, **dict(setting.split("=", 1) for setting in settings)})
end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
consumer.subscribe(topics.split(","))
before = None
while not end.is_set():
    message = consumer.poll(0.1)
    if message is not None and message.error():
        print("error", message.error(), flush=True)
    elif message is not None:
        print(f"read {message.topic()}-{message.partition()} {message.offset()}", flush=True)
        try:
            consumer.commit(message=message, asynchronous=False)
        except KafkaException as problem:
            print("lost", problem, flush=True)
    has = sorted(f"{place.topic}-{place.partition}" for place in consumer.assignment())
    if has != before:
        before = has
        print("has", *has, flush=True)
consumer.close()
