"""confluent-kafka (librdkafka) against three brokers: the argument is the bootstrap list. As it comes, and as it was told to
expect an old broker: each compression and acks, groups of both protocols, transactions, administration."""
import sys, time, warnings
from confluent_kafka import (Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, Producer,
                             TopicCollection, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

servers = sys.argv[1]
PARTITIONS, COUNT = 3, 100


def wait(what, holds, seconds=30):
    deadline = time.time() + seconds
    while not holds():
        assert time.time() < deadline, f"gave up waiting: {what}"
        time.sleep(0.05)


def results(futures):
    return {key: future.result(30) for key, future in futures.items()}


def refused(code, futures):
    """All fail with that code."""
    for future in futures.values():
        try:
            future.result(30)
        except KafkaException as problem:
            assert problem.args[0].code() == code, problem
        else:
            raise AssertionError(f"not refused with {code}")


def value(run, partition, number):
    return f"{run} {partition} {number} {'=' * (50 + number)}"


def write(producer, topic, run):
    problems = []
    for number in range(COUNT):
        for partition in range(PARTITIONS):
            producer.produce(topic, value(run, partition, number), key=str(number), partition=partition,
                             on_delivery=lambda error, _: error and problems.append(error))
    assert producer.flush(60) == 0 and not problems, problems[:3]


def read(settings, topic, runs):
    """The topic holds the runs, one after another in each partition, and nothing else."""
    consumer = Consumer({**settings, "group.id": "reader", "enable.partition.eof": True, "enable.auto.commit": False,
                         "fetch.wait.max.ms": 50})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    got, ended, deadline = {partition: [] for partition in range(PARTITIONS)}, set(), time.time() + 60
    while len(ended) < PARTITIONS:
        assert time.time() < deadline, f"{topic} was not read to its end"
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
            continue
        ended.discard(message.partition())
        got[message.partition()].append(message.value().decode())
    consumer.close()
    for partition in range(PARTITIONS):
        assert got[partition] == [value(run, partition, n) for run in runs for n in range(COUNT)], f"{topic}-{partition}: {len(got[partition])}"


class Member:
    """One member of a group, polled by `balance`."""
    def __init__(self, settings, group, topic):
        self.has, self.read = set(), 0
        self.consumer = Consumer({**settings, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                                  "fetch.wait.max.ms": 50})
        self.consumer.subscribe([topic])

    def poll(self):
        for message in self.consumer.consume(500, 0.05):
            self.read += message.error() is None
        self.has = {each.partition for each in self.consumer.assignment()}


def group(admin, settings, name, topic, end, kind):
    first = Member(settings, name, topic)
    def read_all():
        first.poll()
        return first.read == PARTITIONS * end - COUNT
    wait("the first reads all", read_all)
    first.consumer.commit(asynchronous=False)
    second = Member(settings, name, topic)
    def shared():
        first.poll(), second.poll()
        return first.has and second.has and sorted([*first.has, *second.has]) == list(range(PARTITIONS))
    wait("two share", shared)
    described = results(admin.describe_consumer_groups([name]))[name]
    assert len(described.members) == 2 and described.type.name == kind, described.__dict__
    listed = admin.list_consumer_groups().result(30)
    assert name in [each.group_id for each in listed.valid], listed.valid
    refused(KafkaError.NON_EMPTY_GROUP, admin.delete_consumer_groups([name]))
    first.consumer.close()
    def alone():
        second.poll()
        return second.has == set(range(PARTITIONS))
    wait("one has all", alone)
    second.consumer.close()
    where = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    committed = results(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name, where)]))[name]
    assert [each.offset for each in committed.topic_partitions] == [end] * PARTITIONS, committed.topic_partitions
    results(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, [TopicPartition(topic, 0, 3)])]))
    committed = results(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name, where[:1])]))[name]
    assert committed.topic_partitions[0].offset == 3, committed.topic_partitions
    results(admin.delete_consumer_groups([name]))


def administer(admin, topic):
    results(admin.create_topics([NewTopic(topic, 2, 3, config={"min.insync.replicas": "2"}), NewTopic(topic + "-out", PARTITIONS, 3)]))
    refused(KafkaError.TOPIC_ALREADY_EXISTS, admin.create_topics([NewTopic(topic, 2, 3)]))
    refused(KafkaError.INVALID_REPLICATION_FACTOR, admin.create_topics([NewTopic(topic + "-never", 2, 9)]))
    refused(KafkaError.INVALID_CONFIG, admin.create_topics([NewTopic(topic + "-never", 2, 3, config={"retention.ms": "a while"})]))
    results(admin.create_partitions([NewPartitions(topic, PARTITIONS)]))
    refused(KafkaError.INVALID_PARTITIONS, admin.create_partitions([NewPartitions(topic, 2)]))
    def led():
        found = [part for name in (topic, topic + "-out") for part in admin.list_topics(name, 10).topics[name].partitions.values()]
        return len(found) == 2 * PARTITIONS and all(len(part.isrs) == 3 for part in found)
    wait("all partitions are led", led)
    described = results(admin.describe_topics(TopicCollection([topic])))[topic]
    assert len(described.partitions) == PARTITIONS and not described.is_internal
    change = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    resource = lambda **more: ConfigResource(ResourceType.TOPIC, topic, **more)
    results(admin.incremental_alter_configs([resource(incremental_configs=[change])]))
    def setting(name):
        [found] = results(admin.describe_configs([resource()])).values()
        return found[name].value
    wait("the setting is seen", lambda: setting("retention.ms") == "3600000")
    assert setting("min.insync.replicas") == "2"
    warnings.simplefilter("ignore", DeprecationWarning)
    results(admin.alter_configs([resource(set_config={"segment.bytes": "1000000"})]))
    wait("the settings are replaced", lambda: (setting("segment.bytes"), setting("min.insync.replicas")) == ("1000000", "1"))
    cluster = admin.describe_cluster().result(30)
    assert len(cluster.nodes) == 3 and cluster.controller.id in (0, 1, 2) and cluster.cluster_id


def ends(admin, topic):
    found = results(admin.list_offsets({TopicPartition(topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}))
    return [each.offset for each in found.values()]


def transactions(settings, topic):
    out = topic + "-out"
    def producer():
        made = Producer({**settings, "transactional.id": topic, "linger.ms": 1})
        made.init_transactions(30)
        return made
    first = producer()
    first.begin_transaction()
    write(first, out, "aborted")
    first.abort_transaction(30)
    reader = Consumer({**settings, "group.id": topic + "-txn"})
    for run in ("one", "two"):
        first.begin_transaction()
        write(first, out, run)
        first.send_offsets_to_transaction([TopicPartition(topic, 1, 7)], reader.consumer_group_metadata(), 30)
        first.commit_transaction(30)
    assert reader.committed([TopicPartition(topic, 1), TopicPartition(topic, 0)], 30)[0].offset == 7
    reader.close()
    second = producer()
    try:
        first.begin_transaction()
        first.produce(out, "never")
        first.commit_transaction(30)
        raise AssertionError("a fenced producer committed")
    except KafkaException as problem:
        assert problem.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED), problem
    second.begin_transaction()
    second.commit_transaction(30)
    read({**settings, "isolation.level": "read_uncommitted"}, out, ["aborted", "one", "two"])
    read({**settings, "isolation.level": "read_committed"}, out, ["one", "two"])


OLD = {"api.version.request": False, "broker.version.fallback": "0.11.0.0"}
for name, more in {"default": {}, "old": OLD}.items():
    settings = {"bootstrap.servers": servers, "log_level": 2, **more}
    topic = "confluent-" + name
    # The fallback speaks for the data path; the tools always need a broker's own word.
    admin = AdminClient({"bootstrap.servers": servers})
    administer(admin, topic)
    runs = []
    for codec in ("none", "gzip", "snappy", "lz4") + (("zstd",) if more is not OLD else ()):
        for how in ({}, {"acks": 1}, {"acks": 0}) if more is OLD else ({}, {"acks": 1}, {"acks": 0}, {"enable.idempotence": True}):
            producer = Producer({**settings, "compression.type": codec, "linger.ms": 1, **how})
            runs.append(f"{codec} {how}")
            write(producer, topic, runs[-1])
            # Without an answer nobody knows when they are there.
            wait("what was written counts", lambda: ends(admin, topic) == [len(runs) * COUNT] * PARTITIONS)
    read(settings, topic, runs)
    end = len(runs) * COUNT
    early = results(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.for_timestamp(1), TopicPartition(topic, 1): OffsetSpec.max_timestamp()},
                                       isolation_level=IsolationLevel.READ_COMMITTED))
    assert [early[each].offset >= 0 for each in early] == [True, True], early
    deleted = results(admin.delete_records([TopicPartition(topic, 0, COUNT)]))
    assert [each.low_watermark for each in deleted.values()] == [COUNT], deleted
    if more is not OLD:
        transactions(settings, topic)
    for kind, how in {"CLASSIC": {}, "CONSUMER": {"group.protocol": "consumer"}}.items():
        if not (more is OLD and kind == "CONSUMER"):
            group(admin, {**settings, **how}, f"{topic}-{kind}", topic, end, kind)
    group(admin, {**settings, "partition.assignment.strategy": "cooperative-sticky"}, f"{topic}-cooperative", topic, end, "CLASSIC")
    results(admin.delete_topics([topic, topic + "-out"]))
    wait("the topics are gone", lambda: not {topic, topic + "-out"} & set(admin.list_topics(timeout=10).topics))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, admin.delete_topics([topic]))
    print("confluent-kafka, as", name)
