"""whole.py BOOTSTRAP BROKERS SECONDS: waits until every address of the list, asked by itself, names that many brokers, a
controller among them, all topics that any of them knows, and for every partition a leader and all replicas in sync. One that was
not asked may not have heard yet of a broker that has just ended."""
import sys, time
from confluent_kafka.admin import AdminClient

addresses, count, seconds = sys.argv[1].split(","), int(sys.argv[2]), float(sys.argv[3])
topics = {}


def amiss(address):
    """What is not as it should be, as that broker sees it; None if all is well."""
    try:
        known = AdminClient({"bootstrap.servers": address, "log_level": 0, "socket.timeout.ms": 3000}).list_topics(timeout=3)
    except Exception as error:
        return f"no answer: {error}"
    if len(known.brokers) < count or known.controller_id not in known.brokers:
        return f"brokers {sorted(known.brokers)}, controller {known.controller_id}"
    topics[address] = set(known.topics)
    for topic in known.topics.values():
        for p in topic.partitions.values():
            if p.leader < 0 or len(p.isrs) < len(p.replicas):
                return f"{topic.topic}-{p.id}: leader {p.leader}, replicas {p.replicas}, in sync {p.isrs}"
    return None


end = time.monotonic() + seconds
while True:
    problems = [f"{address}: {problem}" for address in addresses if (problem := amiss(address)) is not None]
    if not problems and len(set(map(frozenset, topics.values()))) == 1:
        break
    if time.monotonic() > end:
        raise SystemExit(f"after {seconds:.0f} s: {problems or topics}")
    time.sleep(0.1)
