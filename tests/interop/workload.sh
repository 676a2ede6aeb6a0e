# The cluster workload of the four pairings; sourced. Expects $brokers (three), $pair (a name) and of the case:
#   broker_pid ID, broker_start ID          coordinator_pid N, coordinator_start N, coordinator_mode N (N from 0 to 2)
say() { echo "$(date +%T) $*"; }
ended() { ! [ -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
whole() { "$python" "$here/clients/whole.py" "$brokers" 3 120; }
mode_at() { (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf srvr >&3 && timeout 5 cat <&3) 2>/dev/null | sed -n 's/^Mode: //p'; }
serve() { [ "$(for n in 0 1 2; do coordinator_mode $n; done | sort | tr '\n' ' ')" = "follower follower leader " ]; }
leads() { for n in 0 1 2; do [ "$(coordinator_mode $n)" != leader ] || echo $n; done; }
# A shell that shows no list says nothing about who is gone.
absent() {
  local ids; ids=$(zookeeper-shell "$zk" ls "${chroot:-}/brokers/ids" 2>/dev/null | grep '^\[') || return 1
  ! grep -qw "$1" <<<"$ids"
}

# An idempotent producer, a group and transactions, while brokers and a coordinator die and are restarted and topics come,
# grow and go. Nothing is lost, doubled, out of order or half committed.
workload() {
  local topic pid load failed=0
  for topic in m t; do
    kafka-topics --bootstrap-server "$brokers" --create --topic $topic --partitions 6 --replication-factor 3 --config min.insync.replicas=2 >/dev/null
  done
  whole
  "$python" "$here/clients/steady_load.py" "$brokers" m "$work/$pair.stop" "${in_flight:-5}" >"$work/$pair.report" 2>&1 & loads+=($!)
  "$python" "$here/clients/steady_transactions.py" "$brokers" t "$work/$pair.stop" >"$work/$pair.transactions" 2>&1 & loads+=($!)
  # The topic of transactions can be made as long as all three brokers are there.
  for load in report transactions; do until_true 60 grep -q writing "$work/$pair.$load"; done
  whole
  say "the load runs"
  kafka-topics --bootstrap-server "$brokers" --create --topic passing --partitions 3 --replication-factor 3 >/dev/null
  # Another broker may hear of the topic a moment later.
  until_true 30 kafka-topics --bootstrap-server "$brokers" --alter --topic passing --partitions 9
  whole
  kafka-topics --bootstrap-server "$brokers" --delete --topic passing
  # An Apache broker that comes back before its session is over finds its id taken, and ends.
  pid=$(broker_pid 1); kill -9 "$pid"; until_true 10 ended "$pid"; until_true 60 absent 1; broker_start 1
  whole; say "broker 1 was killed and is back"
  pid=$(broker_pid 2); kill -TERM "$pid"; until_true 60 ended "$pid"; broker_start 2
  whole; say "broker 2 was restarted"
  until_true 30 serve
  n=$(leads); pid=$(coordinator_pid "$n"); kill -9 "$pid"; until_true 10 ended "$pid"
  kafka-topics --bootstrap-server "$brokers" --create --topic without --partitions 3 --replication-factor 3 >/dev/null
  coordinator_start "$n"; until_true 60 serve; whole; say "the leading coordinator was killed and is back"
  kafka-leader-election --bootstrap-server "$brokers" --election-type preferred --all-topic-partitions >/dev/null
  whole
  touch "$work/$pair.stop"
  for load in "${loads[@]}"; do wait "$load" || failed=1; done
  cat "$work/$pair.report" "$work/$pair.transactions"
  return $failed
}
