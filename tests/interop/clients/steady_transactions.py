"""steady_transactions.py BOOTSTRAP TOPIC STOP-FILE: transactions of librdkafka over all six partitions, every third one aborted,
until the file is there. Then what a reader of committed records sees is compared: of a committed transaction everything once,
of an aborted one nothing, of one whose end nobody was told all or nothing; and each partition in order."""
import os, sys, time
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

bootstrap, topic, stop = sys.argv[1:4]
PARTITIONS, EACH = 6, 12
quick = {"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 500}
outcomes, troubles = {}, []


def new_producer():
    """Ends what an earlier one left open. librdkafka may wait for ever for a coordinator that died: then another is made."""
    end = time.monotonic() + 120
    while True:
        made = Producer({**quick, "transactional.id": "steady", "transaction.timeout.ms": 60000, "linger.ms": 1,
                         "retry.backoff.ms": 20})
        try:
            made.init_transactions(15)
            return made
        except KafkaException as error:
            troubles.append(f"init: {error.args[0].name()}")
            if time.monotonic() > end:
                raise


def run(producer, number):
    """One transaction: `committed`, `aborted` or `unknown`, and whether the producer can go on."""
    ending = producer.abort_transaction if number % 3 == 2 else producer.commit_transaction
    try:
        producer.begin_transaction()
        for i in range(EACH):
            producer.produce(topic, f"{number}:{i}", partition=i % PARTITIONS)
        for attempt in range(5):
            try:
                ending(10)
                return ("aborted" if number % 3 == 2 else "committed"), True
            except KafkaException as error:
                troubles.append(f"end: {error.args[0].name()}")
                if error.args[0].txn_requires_abort():
                    producer.abort_transaction(10)
                    return "aborted", True
                if not error.args[0].retriable():
                    break
    except (KafkaException, BufferError) as error:
        troubles.append(f"begin: {error}")
    return "unknown", False


def read_committed():
    alone = Consumer({**quick, "group.id": "alone", "enable.auto.commit": False, "isolation.level": "read_committed"})
    places = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)]
    ends = {p: alone.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(PARTITIONS)}
    alone.assign(places)
    found, end = {}, time.monotonic() + 60
    # The position passes over markers, too; what is open at the end holds it back and is seen as lost.
    while time.monotonic() < end and any(p.offset < ends[p.partition] for p in alone.position(places)):
        for message in alone.consume(5000, 0.2):
            if message.error() is None:
                number, i = map(int, message.value().split(b":"))
                found.setdefault(number, []).append((message.partition(), message.offset(), i))
    alone.close()
    return found


producer, number, longest, last = new_producer(), 0, 0.0, None
print("writing", flush=True)
while not os.path.exists(stop):
    outcomes[number], goes_on = run(producer, number)
    now = time.monotonic()
    if last and now - last > 1:
        print(f"{time.strftime('%H:%M:%S')} {now - last:.2f} s between two ends", flush=True)
    longest, last = max(longest, now - (last or now)), now
    number += 1
    if not goes_on:
        producer = new_producer()
    time.sleep(0.02)
del producer
new_producer()  # nothing is open any more
found, wrong = read_committed(), []
for number, outcome in outcomes.items():
    records = sorted(i for _, _, i in found.get(number, []))
    is_whole, is_absent = records == list(range(EACH)), records == []
    if not {"committed": is_whole, "aborted": is_absent, "unknown": is_whole or is_absent}[outcome]:
        wrong.append(f"transaction {number} is {outcome}; records {records} are there")
latest = {}
for partition, offset, number, i in sorted((p, o, n, i) for n, records in found.items() for p, o, i in records):
    if latest.get(partition, (-1, -1)) > (number, i):
        wrong.append(f"disorder: {(number, i)} behind {latest[partition]} at {(partition, offset)}")
    latest[partition] = (number, i)
counts = {what: list(outcomes.values()).count(what) for what in ("committed", "aborted", "unknown")}
print(f"transactions: {counts}, {len(wrong)} problems; longest time between two ends {longest:.2f} s; "
      f"told to the application: { {text: troubles.count(text) for text in sorted(set(troubles))} }")
for line in wrong[:10]:
    print(line)
sys.exit(1 if wrong or counts["committed"] == 0 else 0)
