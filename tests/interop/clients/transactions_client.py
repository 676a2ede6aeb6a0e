"""librdkafka's transactions, one step a run: transactions_client.py BOOTSTRAP STEP [ARGUMENT]...
  basics               commit, abort, read_committed, fencing, offsets in transactions
  fill TOPIC COUNT OUT writes the numbers below COUNT, and makes the topic OUT
  copy IN OUT COUNT    consume-transform-produce with exactly-once until COUNT numbers are through; exit code 3 after 20 s
                       without that: librdkafka 2.x can wait for ever for a coordinator that left the cluster
  check TOPIC COUNT    read_committed shows each number once
  timeout              an open transaction holds readers back until transaction.timeout.ms is over
"""
import os, sys, threading, time, uuid
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

servers, step, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
REPLICAS = 3


def topic(name, partitions=3):
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.create_topics([NewTopic(name, partitions, REPLICAS)]).values():
        future.result()
    return name


def producer(transactional_id, **settings):
    made = Producer({"bootstrap.servers": servers, "transactional.id": transactional_id, "linger.ms": 5, **settings})
    made.init_transactions(60)
    return made


def read(name, level, partitions=3, seconds=60):
    """Everything up to the end that the level shows, sorted."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": uuid.uuid4().hex, "isolation.level": level,
                         "enable.partition.eof": True, "enable.auto.commit": False})
    consumer.assign([TopicPartition(name, index, 0) for index in range(partitions)])
    values, ended, deadline = [], set(), time.time() + seconds
    while len(ended) < partitions:
        assert time.time() < deadline, f"{name} was not read to its end"
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            continue
        ended.discard(message.partition())
        values.append(message.value().decode())
    consumer.close()
    return sorted(values)


def basics():
    name = topic("basics-" + uuid.uuid4().hex[:8])
    first = producer("id-" + name)
    first.begin_transaction()
    for i in range(30):
        first.produce(name, f"a{i}", partition=i % 3)
    first.commit_transaction(60)
    first.begin_transaction()
    for i in range(30):
        first.produce(name, f"b{i}", partition=i % 3)
    first.flush(60)
    assert (len(read(name, "read_committed")), len(read(name, "read_uncommitted"))) == (30, 60)
    first.abort_transaction(60)
    assert (len(read(name, "read_committed")), len(read(name, "read_uncommitted"))) == (30, 60)
    first.begin_transaction()
    first.produce(name, "c", partition=0)
    first.commit_transaction(60)
    assert "c" in read(name, "read_committed")
    # A second instance fences the first and aborts what it left open.
    first.begin_transaction()
    first.produce(name, "d", partition=0)
    first.flush(60)
    second = producer("id-" + name)
    try:
        first.commit_transaction(60)
        raise AssertionError("a fenced producer committed")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError._FENCED, error
    second.begin_transaction()
    second.produce(name, "e", partition=1)
    second.commit_transaction(60)
    values = read(name, "read_committed")
    assert len(values) == 32 and "d" not in values and "e" in values, values
    # Offsets count with their transaction.
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "g-" + name, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest"})
    consumer.subscribe([name])
    while not consumer.assignment():
        consumer.poll(0.2)
    wanted = [TopicPartition(name, 0, 7), TopicPartition(name, 1, 8)]
    for end, expected in ((second.abort_transaction, []), (second.commit_transaction, [(0, 7), (1, 8)])):
        second.begin_transaction()
        second.send_offsets_to_transaction(wanted, consumer.consumer_group_metadata(), 60)
        end(60)
        committed = consumer.committed([TopicPartition(name, 0), TopicPartition(name, 1)], 60)
        assert sorted((p.partition, p.offset) for p in committed if p.offset >= 0) == expected, (committed, expected)
    consumer.close()


def fill(name, count, target):
    topic(name)
    topic(target)
    writer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    for i in range(int(count)):
        writer.produce(name, str(i), partition=i % 3)
    writer.flush(60)


def copy(source, target, count):
    limit = threading.Timer(20, lambda: os._exit(3))
    limit.daemon = True
    limit.start()
    group, through = "copy-" + source, 0
    while through < int(count):
        # Each life of the copier begins with what is committed; a new producer fences the last one.
        writer = producer("copier-" + source, **{"transaction.timeout.ms": 30000})
        consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False,
                             "auto.offset.reset": "earliest", "isolation.level": "read_committed",
                             "session.timeout.ms": 10000})
        consumer.subscribe([source])
        try:
            while through < int(count):
                batch = [m for m in consumer.consume(50, 0.5) if not m.error()]
                if not batch:
                    positions = [p for p in consumer.committed([TopicPartition(source, i) for i in range(3)], 30)]
                    through = sum(max(p.offset, 0) for p in positions)
                    continue
                writer.begin_transaction()
                for message in batch:
                    writer.produce(target, message.value(), partition=message.partition())
                writer.send_offsets_to_transaction(consumer.position(consumer.assignment()),
                                                   consumer.consumer_group_metadata(), 60)
                while True:
                    try:
                        writer.commit_transaction(60)
                        break
                    except KafkaException as error:
                        if not error.args[0].retriable():
                            raise
                        print("committing again after", error.args[0], flush=True)
                print(f"{len(batch)} copied", flush=True)
        except KafkaException as error:
            print("starting anew after", error.args[0], flush=True)
            if error.args[0].txn_requires_abort():
                try:
                    writer.abort_transaction(60)
                except KafkaException as other:
                    print("abort:", other.args[0], flush=True)
        finally:
            consumer.close()
    print("copy: all as it should be", flush=True)
    os._exit(0)


def check(name, count):
    values = read(name, "read_committed")
    expected = sorted(str(i) for i in range(int(count)))
    missing = set(expected) - set(values)
    twice = len(values) - len(set(values))
    assert values == expected, f"{len(missing)} missing, {twice} twice, {len(values)} in all"


def timeout():
    name = topic("timeout-" + uuid.uuid4().hex[:8], 1)
    forgetful = producer("id-" + name, **{"transaction.timeout.ms": 5000})
    forgetful.begin_transaction()
    forgetful.produce(name, "lost", partition=0)
    forgetful.flush(60)
    writer = Producer({"bootstrap.servers": servers})
    writer.produce(name, "kept", partition=0)
    writer.flush(60)
    assert read(name, "read_committed", 1) == []
    deadline = time.time() + 60
    while read(name, "read_committed", 1) != ["kept"]:
        assert time.time() < deadline, "the transaction was not timed out"
        time.sleep(0.5)
    try:
        forgetful.commit_transaction(60)
        raise AssertionError("a transaction that timed out was committed")
    except KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error


{"basics": basics, "fill": fill, "copy": copy, "check": check, "timeout": timeout}[step](*arguments)
print(f"{step}: all as it should be")
