"""steady_load.py BOOTSTRAP TOPIC STOP-FILE: an idempotent producer with acks=all and a group that reads committed records, until
the file is there. Fails if an error reaches the application, or if something is lost, doubled or out of order for the group."""
import os, sys, threading, time
from confluent_kafka import Consumer, Producer

bootstrap, topic, stop = sys.argv[1:4]
quick = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 500, "retry.backoff.ms": 20}
producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 1,
                     "message.timeout.ms": 300000, **quick})
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "steady", "auto.offset.reset": "earliest",
                     "isolation.level": "read_committed", "enable.auto.commit": True, **quick})
consumer.subscribe([topic])
acknowledged, errors, last, stall = {}, [], [time.monotonic()], [0.0]
read, doubled, disorder = {}, 0, 0


def delivered(number):
    def done(error, message):
        if error is not None:
            errors.append(str(error))
            return
        now = time.monotonic()
        if now - last[0] > 1:
            print(f"{time.strftime('%H:%M:%S')} paused for {now - last[0]:.2f} s", flush=True)
        stall[0] = max(stall[0], now - last[0])
        last[0] = now
        acknowledged[number] = (message.partition(), message.offset())
    return done


produced = threading.Event()


def consume():
    global doubled, disorder
    ends = {}
    while not (produced.is_set() and len(read) >= len(acknowledged)):
        for message in consumer.consume(1000, 0.2):
            if message.error() is not None:
                continue
            place, number = (message.partition(), message.offset()), int(message.value())
            if read.get(place, number) != number:
                disorder += 1
            if place not in read:
                if ends.get(message.partition(), -1) > number:
                    disorder += 1
                ends[message.partition()] = number
            read[place] = number
        if produced.is_set() and time.monotonic() > last[0] + 120:
            break


reader = threading.Thread(target=consume)
reader.start()
number = 0
while not os.path.exists(stop):
    try:
        producer.produce(topic, str(number), partition=number % 6, on_delivery=delivered(number))
        number += 1
    except BufferError:
        pass
    producer.poll(0.002)
producer.flush(120)
produced.set()
reader.join()
# A producer that learns only that its record had arrived before is told no offset.
values = set(read.values())
lost = [n for n, place in acknowledged.items() if n not in values or (place[1] >= 0 and read.get(place) != n)]
doubled = len(read) - len(values)
print(f"{len(acknowledged)} acknowledged, {len(read)} read, {len(lost)} lost, {doubled} doubled, {disorder} out of order, "
      f"{len(errors)} errors; longest pause {stall[0]:.2f} s")
for n in lost[:5]:
    print(f"record {n} was acknowledged at {acknowledged[n]}; there is {read.get(acknowledged[n])}, it is "
          f"{[place for place, value in read.items() if value == n]}")
for error in sorted(set(errors))[:5]:
    print(error)
sys.exit(1 if lost or doubled or disorder or errors else 0)
