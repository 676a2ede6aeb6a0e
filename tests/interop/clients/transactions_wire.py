"""The transaction APIs, request by request, good and bad: transactions_wire.py BOOTSTRAP prints each answer.

Two brokers agree if the outputs are equal: producer ids are written p0, p1, ... in the order in which they are given out,
times are left away. One broker only, so that it coordinates everything and leads all partitions. With `v2` as a second argument: what
transaction.version 2 (KIP-890) adds, which no broker on ZooKeeper but ours has; every answer is checked here.
"""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import kafkawire
from kafkawire import s16, varint

conn = kafkawire.Conn(sys.argv[1], 30.0)
ids = []


def named(producer_id):
    if producer_id < 0:
        return str(producer_id)
    if producer_id not in ids:
        ids.append(producer_id)
    return f"p{ids.index(producer_id)}"


def show(what, *answer):
    print(what, "=>", *answer, flush=True)


def uvarint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def compact(text):
    return b"\0" if text is None else uvarint(len(text) + 1) + text.encode()


class Flexible:
    """A connection's flexible requests: header version 2, answers with tags."""

    def ask(self, api, version, body):
        conn.serial += 1
        head = struct.pack(">hhi", api, version, conn.serial) + s16("bench-kafka") + b"\0"
        conn.sock.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        reader = kafkawire.Reader(conn.exactly(struct.unpack(">i", conn.exactly(4))[0]))
        assert reader.take("i") == conn.serial
        reader.take("b")
        return reader


flexible = Flexible()


def count(reader):
    shift = value = 0
    while True:
        byte = reader.take("B")
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value - 1


def text(reader):
    length = count(reader)
    if length < 0:
        return None
    reader.at += length
    return reader.data[reader.at - length:reader.at].decode()


def init(transactional_id, timeout_ms=60000, version=1, has=(-1, -1)):
    if version < 2:
        body = (struct.pack(">h", -1) if transactional_id is None else s16(transactional_id)) + struct.pack(">i", timeout_ms)
        r = conn.ask(22, version, body)
    else:
        body = compact(transactional_id) + struct.pack(">i", timeout_ms)
        body += struct.pack(">qh", *has) if version >= 3 else b""
        r = flexible.ask(22, version, body + b"\0")
    r.take("i")
    error, producer_id, epoch = r.take("hqh")
    if error == 14:  # The first block of producer ids is on its way.
        time.sleep(0.1)
        return init(transactional_id, timeout_ms, version, has)
    shown = "" if has[0] < 0 else f" has {named(has[0])}/{has[1]}"
    show(f"init {transactional_id} v{version} {timeout_ms}{shown}", error, named(producer_id), epoch)
    return producer_id, epoch


def add(transactional_id, producer, places, version=0):
    body = s16(transactional_id) + struct.pack(">qhi", *producer, len(places))
    for topic, partitions in places:
        body += s16(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    r = conn.ask(24, version, body)
    r.take("i")
    topics = r.many(lambda: (r.text(), r.many(lambda: r.take("ih"))))
    show(f"add {transactional_id} v{version} {named(producer[0])}/{producer[1]} {places}", sorted(topics))


def verify(transactional_id, producer, topic, partitions, only=True):
    body = uvarint(2) + compact(transactional_id) + struct.pack(">qhb", *producer, only)
    body += uvarint(2) + compact(topic) + uvarint(len(partitions) + 1)
    body += b"".join(struct.pack(">i", p) for p in partitions) + b"\0\0\0"
    r = flexible.ask(24, 4, body)
    r.take("i")
    error, results = r.take("h"), []
    for _ in range(count(r)):
        name = text(r)
        for _ in range(count(r)):
            place = text(r)
            for _ in range(count(r)):
                results.append((name, place, *r.take("ih")))
                r.take("b")
            r.take("b")
        r.take("b")
    show(f"verify {transactional_id} {named(producer[0])}/{producer[1]} {topic}{partitions} {only}", error, sorted(results))


def add_offsets(transactional_id, producer, group, version=0):
    r = conn.ask(25, version, s16(transactional_id) + struct.pack(">qh", *producer) + s16(group))
    r.take("i")
    show(f"add_offsets {transactional_id} v{version} {named(producer[0])}/{producer[1]} {group!r}", r.take("h"))


def end(transactional_id, producer, is_commit, version=2):
    r = conn.ask(26, version, s16(transactional_id) + struct.pack(">qhb", *producer, is_commit))
    r.take("i")
    error = r.take("h")
    show(f"end {transactional_id} v{version} {named(producer[0])}/{producer[1]} {is_commit}", error)
    return error


def batch(producer, sequence, is_transactional=True, is_control=False):
    record = b"\0" + varint(0) + varint(0) + varint(-1) + varint(1) + b"x" + varint(0)
    record = varint(len(record)) + record
    now = int(time.time() * 1000)
    attributes = (0x10 if is_transactional else 0) | (0x20 if is_control else 0)
    tail = struct.pack(">hiqqqhii", attributes, 0, now, now, *producer, sequence, 1) + record
    return struct.pack(">qiibI", 0, len(tail) + 9, -1, 2, kafkawire.crc32c(tail)) + tail


def produce(transactional_id, producer, sequence, topic, partition, version=7, **kind):
    data = batch(producer, sequence, **kind)
    named_id = struct.pack(">h", -1) if transactional_id is None else s16(transactional_id)
    body = named_id + struct.pack(">hii", -1, 5000, 1) + s16(topic) + struct.pack(">iii", 1, partition, len(data)) + data
    r = conn.ask(0, version, body)
    answers = r.many(lambda: (r.text(), r.many(lambda: r.take("ihqqq"))))
    index, error, offset, _time, _start = answers[0][1][0]
    shown = f"{named(producer[0])}/{producer[1]} {sequence} {topic}-{partition} {kind or ''}"
    show(f"produce {transactional_id} v{version} {shown}", error, offset)


def commit_offsets(transactional_id, group, producer, offsets, version=2):
    body = s16(transactional_id) + s16(group) + struct.pack(">qhi", *producer, len(offsets))
    for topic, partition, offset in offsets:
        body += s16(topic) + struct.pack(">iiq", 1, partition, offset)
        body += (struct.pack(">i", -1) if version >= 2 else b"") + s16("")
    r = conn.ask(28, version, body)
    r.take("i")
    answers = r.many(lambda: (r.text(), r.many(lambda: r.take("ih"))))
    answers = [(topic, *one) for topic, partitions in answers for one in partitions]
    show(f"commit_offsets {transactional_id} {group!r} {named(producer[0])}/{producer[1]} {offsets}", sorted(answers))


def committed(group, topic, partition):
    r = conn.ask(9, 5, s16(group) + struct.pack(">i", 1) + s16(topic) + struct.pack(">ii", 1, partition))
    r.take("i")
    answers = r.many(lambda: (r.text(), r.many(lambda: (*r.take("iqi"), r.text(), r.take("h")))))
    show(f"committed {group} {topic}-{partition}", answers, r.take("h"))


def markers(producer, is_commit, coordinator_epoch, topic, partitions):
    body = struct.pack(">iqhbi", 1, *producer, is_commit, 1) + s16(topic)
    body += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions) + struct.pack(">i", coordinator_epoch)
    r = conn.ask(27, 0, body)
    answers = r.many(lambda: (named(r.take("q")), r.many(lambda: (r.text(), r.many(lambda: r.take("ih"))))))
    show(f"markers {named(producer[0])}/{producer[1]} {is_commit} c{coordinator_epoch} {topic}{partitions}", answers)


def offsets(topic, partition, isolation):
    r = conn.ask(2, 2, struct.pack(">ibi", -1, isolation, 1) + s16(topic) + struct.pack(">iiq", 1, partition, -1))
    r.take("i")
    show(f"offsets {topic}-{partition} isolation {isolation}", r.many(lambda: (r.text(), r.many(lambda: r.take("ihqq")))))


def fetch(topic, partition, isolation, offset=0):
    body = struct.pack(">iiiib", -1, 0, 1, 1 << 20, isolation) + struct.pack(">ii", 0, -1)
    body += struct.pack(">i", 1) + s16(topic) + struct.pack(">iiqqi", 1, partition, offset, -1, 1 << 20)
    r = conn.ask(1, 7, body + struct.pack(">i", 0))
    r.take("i")
    r.take("hi")

    def part():
        index, error, high, stable, start = r.take("ihqqq")
        aborted = r.many(lambda: (named(r.take("q")), r.take("q"))) if r.data[r.at:r.at + 4] != b"\xff\xff\xff\xff" else r.take("i")
        length = r.take("i")
        r.at += max(length, 0)
        return index, error, high, stable, start, aborted

    answers = r.many(lambda: (r.text(), r.many(part)))
    show(f"fetch {topic}-{partition} isolation {isolation} from {offset}", answers)


def describe(*transactional_ids):
    r = flexible.ask(65, 0, uvarint(len(transactional_ids) + 1) + b"".join(map(compact, transactional_ids)) + b"\0")
    r.take("i")
    for _ in range(count(r)):
        error = r.take("h")
        name, state, timeout_ms, start = text(r), text(r), r.take("i"), r.take("q")
        producer_id, epoch, places = *r.take("qh"), []
        for _ in range(count(r)):
            topic = text(r)
            places += [(topic, r.take("i")) for _ in range(count(r))]
            r.take("b")
        r.take("b")
        show(f"describe {name!r}", error, state, timeout_ms, start > 0, named(producer_id) if error == 0 else "-", epoch, sorted(places))


def list_transactions(states=(), producer_ids=()):
    body = uvarint(len(states) + 1) + b"".join(map(compact, states)) + uvarint(len(producer_ids) + 1)
    r = flexible.ask(66, 0, body + b"".join(struct.pack(">q", p) for p in producer_ids) + b"\0")
    r.take("i")
    error, unknown, found = r.take("h"), [], []
    unknown = [text(r) for _ in range(count(r))]
    for _ in range(count(r)):
        found.append((text(r), named(r.take("q")), text(r)))
        r.take("b")
    show(f"list {states} {[named(p) for p in producer_ids]}", error, unknown, sorted(found))


def producers(topic, partition):
    r = flexible.ask(61, 0, uvarint(2) + compact(topic) + uvarint(2) + struct.pack(">i", partition) + b"\0\0")
    r.take("i")
    for _ in range(count(r)):
        text(r)
        for _ in range(count(r)):
            index, error, message, known = r.take("i"), r.take("h"), text(r), []
            for _ in range(count(r)):
                producer_id, epoch, sequence, _time, coordinator_epoch, start = r.take("qiiqiq")
                known.append((named(producer_id), epoch, sequence, coordinator_epoch, start))
                r.take("b")
            r.take("b")
            show(f"producers {topic}-{index}", error, message, sorted(known))
        r.take("b")


def coordinator(key, kind):
    for _ in range(200):
        r = conn.ask(10, 1, s16(key) + struct.pack(">b", kind))
        r.take("i")
        error = r.take("h")
        if error == 0:
            return
        time.sleep(0.1)
    raise TimeoutError(f"no coordinator of {key}")


def ended(transactional_id, producer):
    """Waits until the transaction's markers are written."""
    for _ in range(200):
        r = flexible.ask(65, 0, uvarint(2) + compact(transactional_id) + b"\0")
        r.take("i")
        count(r)
        r.take("h")
        text(r)
        if not text(r).startswith("Prepare"):
            return
        time.sleep(0.02)
    raise TimeoutError("it goes on being ended")


def script():
    conn.create_topic("t", 3, 1)
    coordinator("a", 1)
    coordinator("g", 0)
    for transactional_id, timeout_ms in (("", 60000), ("a", 0), ("a", -1), ("a", 900001)):
        init(transactional_id, timeout_ms)
    init(None)
    for has in ((5, -1), (-1, 5)):
        init("a", version=3, has=has)
    describe("a", "")
    end("a", (7, 0), True)
    add("a", (7, 0), [("t", [0])])
    first = init("a")
    end("a", first, True)
    end("", first, True)
    add("", first, [("t", [0])])
    add("a", first, [("t", [0]), ("u", [0])])
    add("a", first, [("t", [0, 9])])
    add("a", (first[0] + 1000000, 0), [("t", [0])])
    for version in (0, 2):
        add("a", (first[0], 7), [("t", [0])], version)
    produce("a", first, 0, "t", 0)
    verify("a", first, "t", [0, 1])
    add("a", first, [("t", [0])])
    verify("a", first, "t", [0, 1])
    verify("a", (first[0], 9), "t", [0])
    verify("b", first, "t", [0])
    produce("a", first, 0, "t", 0)
    produce("a", first, 1, "t", 0)
    produce("a", first, 1, "t", 0)
    produce("a", first, 5, "t", 0)
    produce("a", first, 2, "t", 0, is_transactional=False)
    produce("a", first, 0, "t", 1)
    produce("a", first, 2, "t", 0, is_control=True)
    produce(None, first, 2, "t", 0)
    for isolation in (0, 1):
        offsets("t", 0, isolation)
        fetch("t", 0, isolation)
    describe("a")
    list_transactions()
    list_transactions(("Ongoing", "Nonsense"))
    list_transactions(("Empty",))
    list_transactions((), (first[0],))
    list_transactions((), (first[0] + 500,))
    producers("t", 0)
    producers("t", 1)
    producers("t", 9)
    for version in (0, 2):
        end("a", (first[0], 7), True, version)
    end("a", (first[0] + 1000000, 0), True)
    end("a", first, True)
    ended("a", first)
    end("a", first, True)
    end("a", first, False)
    describe("a")
    producers("t", 0)
    for isolation in (0, 1):
        offsets("t", 0, isolation)
        fetch("t", 0, isolation)
    # Aborted, with another one behind it.
    add("a", first, [("t", [0, 1])])
    produce("a", first, 2, "t", 0)
    produce("a", first, 0, "t", 1)
    end("a", first, False)
    ended("a", first)
    add("a", first, [("t", [0])])
    produce("a", first, 3, "t", 0)
    end("a", first, True)
    ended("a", first)
    for offset in (0, 3, 4, 5, 6):
        fetch("t", 0, 1, offset)
    fetch("t", 1, 1)
    # Going on after an error, and fencing.
    second = init("a", version=4, has=first)
    init("a", version=4, has=first)
    init("a", version=4, has=(first[0], 9))
    init("a", version=3, has=(first[0], 9))
    init("a", version=4, has=(first[0] + 77, 0))
    third = init("a")
    init("a", version=4, has=second)
    add("a", third, [("t", [2])])
    produce("a", third, 0, "t", 2)
    init("a")
    ended("a", third)
    fourth = init("a")
    produce("a", third, 1, "t", 2)
    end("a", third, True)
    fetch("t", 2, 1)
    producers("t", 2)
    # Offsets.
    commit_offsets("a", "g", fourth, [("t", 0, 5)])
    add_offsets("a", fourth, "g")
    add_offsets("", fourth, "g")
    for version in (0, 2):
        add_offsets("a", third, "g", version)
    commit_offsets("a", "g", fourth, [("t", 0, 5), ("t", 9, 5), ("u", 0, 5)])
    # Kafka 3.9 forgets the commit of a partition when a later one of an old epoch fails.
    commit_offsets("a", "g", third, [("t", 1, 6)])
    commit_offsets("a", "", fourth, [("t", 0, 7)])
    committed("g", "t", 0)
    end("a", fourth, True)
    ended("a", fourth)
    time.sleep(0.5)
    committed("g", "t", 0)
    add_offsets("a", fourth, "g")
    commit_offsets("a", "g", fourth, [("t", 0, 99)])
    end("a", fourth, False)
    ended("a", fourth)
    time.sleep(0.5)
    committed("g", "t", 0)
    # Markers.
    markers((4242, 3), False, 5, "t", [2])
    markers((4242, 2), False, 5, "t", [2])
    markers((4242, 3), False, 4, "t", [2])
    markers((4242, 4), True, 6, "t", [2, 9])
    markers((4242, 4), True, 6, "u", [0])
    producers("t", 2)
    # An open transaction that no coordinator knows of is aborted by hand.
    add("a", fourth, [("t", [2])])
    produce("a", fourth, 0, "t", 2)
    markers(fourth, False, 0, "t", [2])
    fetch("t", 2, 1)
    produce("a", fourth, 1, "t", 2)
    end("a", fourth, True)
    ended("a", fourth)
    describe("a", "nobody")


def tags(r):
    for _ in range(count(r) + 1):
        count(r)
        size = count(r) + 1
        r.at += size


def finalized():
    r = flexible_request_old_answer(18, 3, compact("wire") + compact("1") + b"\0")
    assert r.take("h") == 0
    for _ in range(count(r)):
        r.take("hhh")
        tags(r)
    r.take("i")
    features = {}
    for _ in range(count(r) + 1):
        tag, size = count(r) + 1, count(r) + 1
        end = r.at + size
        if tag == 2:
            for _ in range(count(r)):
                name = text(r)
                features[name] = r.take("hh")
                tags(r)
        r.at = end
    return features


def flexible_request_old_answer(api, version, body):
    """ApiVersions answers with header version 0."""
    conn.serial += 1
    head = struct.pack(">hhi", api, version, conn.serial) + s16("bench-kafka") + b"\0"
    conn.sock.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
    reader = kafkawire.Reader(conn.exactly(struct.unpack(">i", conn.exactly(4))[0]))
    assert reader.take("i") == conn.serial
    return reader


def produce_v12(transactional_id, producer, sequence, topic, partition):
    """Error and offset."""
    data = batch(producer, sequence)
    body = compact(transactional_id) + struct.pack(">hi", -1, 5000) + uvarint(2) + compact(topic) + uvarint(2)
    body += struct.pack(">i", partition) + uvarint(len(data) + 1) + data + b"\0\0\0"
    r = flexible.ask(0, 12, body)
    assert count(r) == 1 and text(r) == topic and count(r) == 1
    _, error, offset = r.take("ihq")
    return error, offset


def end_v5(transactional_id, producer, is_commit):
    """Error, and the producer of the next transaction."""
    r = flexible.ask(26, 5, compact(transactional_id) + struct.pack(">qhb", *producer, is_commit) + b"\0")
    r.take("i")
    return r.take("hqh")


def commit_offsets_v5(transactional_id, group, producer, topic, partition, offset):
    body = compact(transactional_id) + compact(group) + struct.pack(">qhi", *producer, -1) + compact("") + compact(None)
    body += uvarint(2) + compact(topic) + uvarint(2) + struct.pack(">iqi", partition, offset, -1) + compact("") + b"\0\0\0"
    r = flexible.ask(28, 5, body)
    r.take("i")
    assert count(r) == 1 and text(r) == topic and count(r) == 1
    return r.take("ih")[1]


def again(ask):
    """Asks again while the last transaction is being ended (CONCURRENT_TRANSACTIONS)."""
    for _ in range(200):
        answer = ask()
        if (answer[0] if isinstance(answer, tuple) else answer) != 51:
            return answer
        time.sleep(0.02)
    raise TimeoutError("it goes on being ended")


def version_2():
    conn.create_topic("t", 3, 1)
    coordinator("a", 1)
    coordinator("g", 0)
    assert finalized().get("transaction.version") == (2, 2), finalized()
    first = init("a", version=4)
    assert produce_v12("a", first, 0, "t", 0) == (0, 0), "a partition joins by being written to"
    error, *second = end_v5("a", first, True)
    assert (error, second) == (0, [first[0], first[1] + 1])
    assert again(lambda: produce_v12("a", tuple(second), 0, "t", 0)) == (0, 2)
    assert produce_v12("a", first, 1, "t", 0)[0] == 47, "a late record of the transaction before"
    assert end_v5("a", first, True)[0] == 90, "the late EndTxn of KAFKA-17754"
    describe("a")
    error, *third = end_v5("a", second, False)
    assert (error, third) == (0, [first[0], first[1] + 2])
    assert again(lambda: commit_offsets_v5("a", "g", third, "t", 0, 1)) == 0, "offsets join by being committed"
    assert end_v5("a", third, True)[0] == 0
    ended("a", third)
    committed("g", "t", 0)
    fetch("t", 0, 1)
    # A transaction that never began is aborted, and bumps the epoch, too.
    error, _, epoch = again(lambda: end_v5("a", (third[0], third[1] + 1), False))
    assert (error, epoch) == (0, third[1] + 2)


version_2() if sys.argv[2:] == ["v2"] else script()
