"""steady_load.py BOOTSTRAP TOPIC STOP-FILE [IN-FLIGHT]: an idempotent producer with acks=all and a group that reads committed records, until
the file is there. Then reads all partitions once more, without a group. Fails if an error reaches the application, or if
something is lost, doubled or out of order, in the partitions or for the group.
IN-FLIGHT requests of a connection, 5 as usual, are 1 where Apache's brokers lead: one that becomes leader between two requests
refuses the first as no leader and the second as out of sequence. librdkafka then begins a new epoch, in which it writes again
what an earlier leader had appended but could not acknowledge any more (on any partition)."""
import os, sys, threading, time
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

bootstrap, topic, stop = sys.argv[1:4]
in_flight = int(sys.argv[4]) if len(sys.argv) > 4 else 5
quick = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 500, "retry.backoff.ms": 20}
producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 1,
                     "message.timeout.ms": 300000, "max.in.flight.requests.per.connection": in_flight, **quick})
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "steady", "auto.offset.reset": "earliest",
                     "isolation.level": "read_committed", "enable.auto.commit": True, **quick})
PARTITIONS = 6
consumer.subscribe([topic])
acknowledged, errors, last, stall = {}, [], [time.monotonic()], [0.0]
read, disorder = {}, 0


def delivered(number):
    def done(error, message):
        if error is not None:
            errors.append(str(error))
            return
        now = time.monotonic()
        if not acknowledged:
            print("writing", flush=True)
            last[0] = now
        if now - last[0] > 1:
            print(f"{time.strftime('%H:%M:%S')} paused for {now - last[0]:.2f} s", flush=True)
        stall[0] = max(stall[0], now - last[0])
        last[0] = now
        # librdkafka knows no offset where it infers from a later acknowledgement that this one's was lost.
        offset = message.offset()
        acknowledged[number] = (message.partition(), -1 if offset is None else offset)
    return done


produced = threading.Event()


def consume():
    global disorder
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
        producer.produce(topic, str(number), partition=number % PARTITIONS, on_delivery=delivered(number))
        number += 1
    except BufferError:
        pass
    producer.poll(0.002)
unsent = producer.flush(120)
produced.set()
reader.join()


def read_alone():
    """What the partitions hold, by place: a group may have passed over what is there."""
    alone = Consumer({"bootstrap.servers": bootstrap, "group.id": "alone", "enable.auto.commit": False, **quick})
    places = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)]
    ends = {p: alone.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(PARTITIONS)}
    alone.assign(places)
    found, end = {}, time.monotonic() + 120
    while time.monotonic() < end and any(p.offset < ends[p.partition] for p in alone.position(places)):
        for message in alone.consume(5000, 0.2):
            if message.error() is None:
                found[message.partition(), message.offset()] = int(message.value())
    alone.close()
    return found


def problems(found, reader):
    """What is wrong with what was read, by place."""
    wrong, places = [], {}
    for place in sorted(found):
        places.setdefault(found[place], []).append(place)
    wrong += [f"{reader}: record {n} twice, at {all}" for n, all in places.items() if len(all) > 1]
    for n, place in acknowledged.items():
        if n not in places or (place[1] >= 0 and found.get(place) != n):
            wrong.append(f"{reader}: record {n} lost: acknowledged at {place}, there is {found.get(place)}; it is at {places.get(n)}")
    last = {}
    for partition, offset in sorted(found):
        if last.get(partition, -1) > found[partition, offset]:
            wrong.append(f"{reader}: disorder: {found[partition, offset]} behind {last[partition]} at {(partition, offset)}")
        last[partition] = found[partition, offset]
    return wrong


alone = read_alone()
wrong = problems(alone, "partitions") + problems(read, "group")
print(f"{len(acknowledged)} acknowledged, {len(alone)} there, {len(read)} read by the group, {len(wrong)} problems, "
      f"{disorder} out of order for the group, {len(errors)} errors, {unsent} unsent, "
      f"{sum(place[1] < 0 for place in acknowledged.values())} without an offset; longest pause {stall[0]:.2f} s")
for line in wrong[:10] + sorted(set(errors))[:5]:
    print(line)
sys.exit(1 if wrong or disorder or errors or unsent else 0)
