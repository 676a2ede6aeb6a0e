"""What a group read against what was produced: complete, nothing made up, each key in order and on one partition.
Arguments: the input as KEY TAB NUMBER TAB LINE, and the members' outputs as Partition:P TAB Offset:O TAB KEY TAB VALUE."""
import sys

source, outputs = sys.argv[1], sys.argv[2:]
expected = {}
for line in open(source, "rb"):
    key, value = line.rstrip(b"\n").split(b"\t", 1)
    expected.setdefault(key, []).append(value)

records, shares = {}, []
for path in outputs:
    own = 0
    for line in open(path, "rb"):
        fields = dict(f.split(b":", 1) for f in line.split(b"\t", 2)[:2])
        key, value = line.rstrip(b"\n").split(b"\t", 3)[2:]
        place = int(fields[b"Partition"]), int(fields[b"Offset"])
        assert records.setdefault(place, (key, value)) == (key, value), f"two records at {place}"
        own += 1
    shares.append(own)

found, home = {}, {}
for (partition, offset) in sorted(records):
    key, value = records[partition, offset]
    assert home.setdefault(key, partition) == partition, f"{key} is on two partitions"
    found.setdefault(key, []).append(value)
assert set(found) == set(expected), f"{len(set(expected) - set(found))} keys are missing, {len(set(found) - set(expected))} are made up"
wrong = [key for key in expected if found[key] != expected[key]]
assert not wrong, f"{len(wrong)} keys are not as produced, first {wrong[0]}: {len(found[wrong[0]])} of {len(expected[wrong[0]])} values"
total = sum(map(len, expected.values()))
print(f"{total} records of {len(expected)} keys complete and in order; members read {shares}, {sum(shares) - total} of them twice")
