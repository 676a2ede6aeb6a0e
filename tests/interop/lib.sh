# What the cases share; sourced. Expects $root, $here, $castellan, $work and $python of tests/interop/run.
set -euo pipefail
PATH=$root/bin:$PATH

# free_ports N [OFFSET...]: the first of N consecutive free ports, those at the offsets behind them free, too, and none of
# them given to this run before. (An Apache ZooKeeper of ours has more ports 700 and 1700 behind.)
free_ports() {
  "$python" - "$work/ports" "$@" <<'PY'
import fcntl, random, socket, sys
count, offsets = int(sys.argv[2]), [0, *map(int, sys.argv[3:])]
with open(sys.argv[1], "a+") as given:
    fcntl.flock(given, fcntl.LOCK_EX)
    given.seek(0)
    taken = set(map(int, given.read().split()))
    while True:
        first = random.randrange(20000, 30000)
        ports = [first + offset + n for offset in offsets for n in range(count)]
        try:
            sockets = [socket.create_server(("127.0.0.1", port)) for port in ports]
        except OSError:
            continue
        if taken.isdisjoint(ports):
            break
    print(*ports, file=given)
print(first)
PY
}

# cluster NAME COORDINATORS BROKERS [UP-FLAG...]: starts ours; sets dir, zk (connect string) and brokers (bootstrap).
cluster() {
  local coordinators=$2 count=$3 zport bport
  dir=$work/$1; zport=$(free_ports $((coordinators * 3))); bport=$(free_ports "$count"); shift 3
  "$castellan" up --detach --dir "$dir" --coordinators "$coordinators" --brokers "$count" \
    --coordinator-port "$zport" --broker-port "$bport" "$@"
  zk=$(for ((i = 0; i < coordinators; i++)); do printf '127.0.0.1:%d,' $((zport + i)); done); zk=${zk%,}
  brokers=$(for ((i = 0; i < count; i++)); do printf '127.0.0.1:%d,' $((bport + i)); done); brokers=${brokers%,}
}

# expect TEXT COMMAND...: the output has that line.
expect() {
  local text=$1 out; shift
  out=$("$@" 2>&1) || true
  grep -qxF -- "$text" <<<"$out" || { printf 'expected the line:\n  %s\nof: %s\nbut it printed:\n%s\n' "$text" "$*" "$out" >&2; return 1; }
}

# until_true SECONDS COMMAND...
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "gave up waiting for: $*" >&2; return 1; }
    sleep 0.2
  done
}
