"""aiokafka against three brokers: the argument is the bootstrap list. Each compression and acks, groups with each way to
assign, transactions, administration."""
import asyncio, sys
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata

servers = sys.argv[1]
TOPIC, OUT, PARTITIONS, COUNT = "aio", "aio-out", 3, 100
PARTS = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]


async def wait(what, holds, seconds=30):
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


def value(run, partition, number):
    return f"{run} {partition} {number} {'=' * (50 + number)}".encode()


async def write(producer, topic, run):
    sent = [await producer.send(topic, value(run, partition, number), key=b"%d" % number, partition=partition, headers=[("run", run.encode())])
            for number in range(COUNT) for partition in range(PARTITIONS)]
    await asyncio.gather(*sent)


async def read(topic, runs, **settings):
    """The topic holds the runs, one after another in each partition, and nothing else."""
    wanted = {p: [value(run, p, number) for run in runs for number in range(COUNT)] for p in range(PARTITIONS)}
    got = {p: [] for p in range(PARTITIONS)}
    async with AIOKafkaConsumer(bootstrap_servers=servers, fetch_max_wait_ms=50, **settings) as consumer:
        parts = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        consumer.assign(parts)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(parts)
        async with asyncio.timeout(60):
            while any([await consumer.position(part) < ends[part] for part in parts]):
                for part, records in (await consumer.getmany(timeout_ms=100)).items():
                    got[part.partition] += [record.value for record in records]
    assert got == wanted, {p: (len(got[p]), len(wanted[p])) for p in got}


async def administer(admin):
    made = await admin.create_topics([NewTopic(TOPIC, 2, 3, topic_configs={"min.insync.replicas": "2"}), NewTopic(OUT, PARTITIONS, 3)])
    assert [error for _, error, *_ in made.topic_errors] == [0, 0], made
    twice = await admin.create_topics([NewTopic(TOPIC, 2, 3)])
    assert [error for _, error, *_ in twice.topic_errors] == [36], twice
    await admin.create_partitions({TOPIC: NewPartitions(PARTITIONS)})

    async def led():
        found = await admin.describe_topics([TOPIC, OUT])
        parts = [part for each in found for part in each["partitions"]]
        return len(parts) == 2 * PARTITIONS and all(part["leader"] >= 0 and len(part["isr"]) == 3 for part in parts)
    await wait("all partitions are led", led)
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC, configs={"retention.ms": "3600000"})])

    async def setting():
        return "3600000" in str(await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC)]))
    await wait("the setting is seen", setting)
    cluster = await admin.describe_cluster()
    assert len(cluster["brokers"]) == 3 and cluster["controller_id"] in (0, 1, 2), cluster


async def transactions():
    async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id="aio") as producer:
        try:
            async with producer.transaction():
                await write(producer, OUT, "aborted")
                raise ValueError
        except ValueError:
            pass
        for run in ("one", "two"):
            async with producer.transaction():
                await write(producer, OUT, run)
                await producer.send_offsets_to_transaction({PARTS[1]: OffsetAndMetadata(7, "told")}, "aio-txn")
        async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id="aio"):
            try:
                async with producer.transaction():
                    await producer.send_and_wait(OUT, b"never")
                raise AssertionError("a fenced producer committed")
            except ProducerFenced:
                pass
    await read(OUT, ["aborted", "one", "two"], isolation_level="read_uncommitted")
    await read(OUT, ["one", "two"], isolation_level="read_committed")
    async with AIOKafkaConsumer(bootstrap_servers=servers, group_id="aio-txn") as consumer:
        assert await consumer.committed(PARTS[1]) == 7 and await consumer.committed(PARTS[0]) is None


async def group(admin, strategy, end):
    name = "aio-" + strategy.name

    async def member():
        made = AIOKafkaConsumer(TOPIC, bootstrap_servers=servers, group_id=name, auto_offset_reset="earliest", enable_auto_commit=False,
                                heartbeat_interval_ms=300, partition_assignment_strategy=[strategy], fetch_max_wait_ms=50)
        await made.start()
        return made
    first, seen = await member(), 0

    async def read_all():
        nonlocal seen
        seen += sum([len(records) for records in (await first.getmany(timeout_ms=100)).values()])
        return seen == PARTITIONS * end - COUNT
    await wait("the first reads all", read_all)
    await first.commit()
    second = await member()

    async def shared():
        await first.getmany(timeout_ms=50), await second.getmany(timeout_ms=50)
        return first.assignment() and second.assignment() and sorted([*first.assignment(), *second.assignment()]) == PARTS
    await wait("two share", shared)
    [described] = await admin.describe_consumer_groups([name])
    assert "Stable" in str(described) and strategy.name in str(described), described
    assert name in [each[0] for each in await admin.list_consumer_groups()]
    await first.stop()

    async def alone():
        await second.getmany(timeout_ms=50)
        return second.assignment() == set(PARTS)
    await wait("one has all", alone)
    await second.stop()
    committed = await admin.list_consumer_group_offsets(name)
    assert {part: at.offset for part, at in committed.items()} == {part: end for part in PARTS}, committed


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await administer(admin)
    runs = []
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        for how in ({"acks": 0}, {"acks": 1}, {"acks": "all"}, {"enable_idempotence": True}):
            async with AIOKafkaProducer(bootstrap_servers=servers, compression_type=codec, linger_ms=1, **how) as producer:
                runs.append(f"{codec} {how}")
                await write(producer, TOPIC, runs[-1])
                if how == {"acks": 0}:
                    # No answer tells when they are there.
                    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
                        async def there():
                            return set((await consumer.end_offsets(PARTS)).values()) == {len(runs) * COUNT}
                        await wait("records without answers", there)
    await read(TOPIC, runs)
    end = len(runs) * COUNT
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        found = await consumer.offsets_for_times({PARTS[1]: 1})
        assert found[PARTS[1]].offset == 0, found
    assert await admin.delete_records({PARTS[0]: RecordsToDelete(before_offset=COUNT)}) == {PARTS[0]: COUNT}
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        assert (await consumer.beginning_offsets(PARTS))[PARTS[0]] == COUNT
    await transactions()
    for strategy in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor):
        await group(admin, strategy, end)
    await admin.delete_topics([TOPIC, OUT])

    async def gone():
        return not {TOPIC, OUT} & set(await admin.list_topics())
    await wait("the topics are gone", gone)
    await admin.close()
    print("aiokafka: all as expected")


asyncio.run(main())
