"""Creates, alters, describes and deletes many topics through librdkafka's admin client, fifty at once, in turns, so that
topics of one turn are being deleted while those of the next are created."""

import sys
import time

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

brokers, count = sys.argv[1], int(sys.argv[2])
TURN = 50
admin = AdminClient({"bootstrap.servers": brokers})


def all_of(futures):
    for future in futures.values():
        future.result(60)


def described(names, partitions):
    """All of them are known with so many partitions, each with a leader."""
    known = admin.list_topics(timeout=30).topics
    return all(
        name in known
        and len(known[name].partitions) == partitions
        and all(part.leader >= 0 for part in known[name].partitions.values())
        for name in names
    )


def eventually(what, holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.1)


for first in range(0, count, TURN):
    names = [f"many-{n}" for n in range(first, min(first + TURN, count))]
    all_of(admin.create_topics([NewTopic(name, 2, 2) for name in names], request_timeout=60))
    eventually("created", lambda: described(names, 2))
    all_of(admin.create_partitions([NewPartitions(name, 3) for name in names], request_timeout=60))
    entry = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    resources = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry]) for name in names]
    all_of(admin.incremental_alter_configs(resources, request_timeout=60))
    eventually("altered", lambda: described(names, 3))
    configs = admin.describe_configs([ConfigResource(ResourceType.TOPIC, names[0])], request_timeout=60)
    for future in configs.values():
        assert future.result(60)["retention.ms"].value == "3600000"
    all_of(admin.delete_topics(names, operation_timeout=30, request_timeout=60))
    print(f"{first + len(names)} topics came and went", flush=True)
eventually("deleted", lambda: not any(name.startswith("many-") for name in admin.list_topics(timeout=30).topics))
