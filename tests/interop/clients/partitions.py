"""partitions.py BOOTSTRAP COUNT RESTART KILL: how long a cluster of three takes with many partitions (librdkafka's admin).

Creates a topic of COUNT partitions with three replicas; kills the controller and waits until another one has given every
partition a living leader; starts the broker again and waits until it serves, and until it is in sync everywhere. RESTART and
KILL are shell commands in which {id} stands for the broker. Prints one line of JSON, seconds each. With PIDS=pattern, which
names the servers' pid files, also the processor time that all servers took: for the creation, for ten seconds without load,
and that of the restarted broker until it was in sync; these hold on a busy machine, too."""
import glob, json, os, subprocess, sys, time
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, count, restart, kill = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
topic = f"many-{count}"
servers = bootstrap.split(",")
admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 60000})


def shell(command, broker):
    subprocess.run(command.replace("{id}", str(broker)), shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processor_s():
    """Processor time of each server so far."""
    times = {}
    for path in glob.glob(os.environ.get("PIDS", "")):
        try:
            fields = open(f"/proc/{int(open(path).read())}/stat").read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        times[os.path.basename(path)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return times


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


processor = processor_s()
begin = time.monotonic()
admin.create_topics([NewTopic(topic, count, 3)], operation_timeout=120)[topic].result()
created = time.monotonic() - begin
known = None
for server in servers:
    known = until(lambda _, ps: len(ps) == count and all(p.leader >= 0 for p in ps), server)
led = time.monotonic() - begin
for server in servers:
    until(lambda _, ps: all(len(p.isrs) == 3 for p in ps), server)

creation_s = sum(processor_s().values()) - sum(processor.values())
time.sleep(2)
processor = sum(processor_s().values())
time.sleep(10)
idle_s = sum(processor_s().values()) - processor

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
restart_s = processor_s().get(f"broker-{gone}.pid", 0.0)
print(json.dumps({"partitions": count, "created": round(created, 2), "led_and_described_everywhere": round(led, 2),
                  "other_controller": round(controller, 2), "all_led_again": round(moved, 2),
                  "restarted_serves": round(serves, 2), "in_sync_again": round(in_sync, 2),
                  "processor_creation": round(creation_s, 2), "processor_idle_10_s": round(idle_s, 2),
                  "processor_restart": round(restart_s, 2)}))
