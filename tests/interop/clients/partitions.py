"""partitions.py BOOTSTRAP COUNT RESTART KILL: how long a cluster of three takes with many partitions (librdkafka's admin).

Creates a topic of COUNT partitions with three replicas; kills the controller and waits until another one has given every
partition a living leader; starts the broker again and waits until it serves, and until it is in sync everywhere. RESTART and
KILL are shell commands in which {id} stands for the broker. Prints one line of JSON, seconds each."""
import json, subprocess, sys, time
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, count, restart, kill = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
topic = f"many-{count}"
servers = bootstrap.split(",")
admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 60000})


def shell(command, broker):
    subprocess.run(command.replace("{id}", str(broker)), shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def described(server):
    one = AdminClient({"bootstrap.servers": server, "log_level": 0, "socket.timeout.ms": 10000})
    return one.list_topics(topic=topic, timeout=10)


def until(what, server, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            known = described(server)
            if known.topics[topic].error is None and what(known, known.topics[topic].partitions.values()):
                return known
        except Exception:
            pass
        time.sleep(0.01)
    raise SystemExit(f"gave up on {server}")


begin = time.monotonic()
admin.create_topics([NewTopic(topic, count, 3)], operation_timeout=120)[topic].result()
created = time.monotonic() - begin
known = None
for server in servers:
    known = until(lambda _, ps: len(ps) == count and all(p.leader >= 0 for p in ps), server)
led = time.monotonic() - begin
for server in servers:
    until(lambda _, ps: all(len(p.isrs) == 3 for p in ps), server)

gone = known.controller_id
other = servers[(gone + 1) % 3]
shell(kill, gone)
begin = time.monotonic()
known = until(lambda known, _: known.controller_id not in (-1, gone), other)
controller = time.monotonic() - begin
known = until(lambda _, ps: all(p.leader not in (-1, gone) for p in ps), other)
moved = time.monotonic() - begin

begin = time.monotonic()
shell(restart, gone)
until(lambda known, ps: gone in known.brokers and len(ps) == count, servers[gone])
serves = time.monotonic() - begin
until(lambda _, ps: all(len(p.isrs) == 3 for p in ps), servers[gone])
in_sync = time.monotonic() - begin
print(json.dumps({"partitions": count, "created": round(created, 2), "led_and_described_everywhere": round(led, 2),
                  "other_controller": round(controller, 2), "all_led_again": round(moved, 2),
                  "restarted_serves": round(serves, 2), "in_sync_again": round(in_sync, 2)}))
