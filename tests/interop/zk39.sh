# Apache ZooKeeper 3.9.4, the version whose behaviour ours has; sourced after lib.sh. The peers' own jars are those of
# Kafka 3.9, with an older ZooKeeper among them: these come before.
zk39=${XDG_CACHE_HOME:-$HOME/.cache}/castellan/zookeeper-3.9.4
if ! [ -e "$zk39/ready" ]; then
  mkdir -p "$zk39"
  for artifact in zookeeper zookeeper-jute; do
    mvn -q dependency:copy -Dartifact="org.apache.zookeeper:$artifact:3.9.4" -DoutputDirectory="$zk39"
  done
  touch "$zk39/ready"
fi
zk39_classpath="$zk39/*:$PEERS_HOME/lib/*"

# zookeeper_39 DIR PORT [JAVA-OPTION...]: starts one on loopback; sets zookeeper_pid. Lines for its zoo.cfg may stand in
# $zookeeper_settings; the password of the user super is test.
zookeeper_39() {
  local dir=$1 port=$2; shift 2
  mkdir -p "$dir"
  printf 'log4j.rootLogger=WARN, C\nlog4j.appender.C=org.apache.log4j.ConsoleAppender\nlog4j.appender.C.layout=org.apache.log4j.SimpleLayout\n' >"$dir/log4j.properties"
  cat >"$dir/zoo.cfg" <<CFG
tickTime=2000
dataDir=$dir/data
clientPort=$port
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=*
extendedTypesEnabled=true
DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=
${zookeeper_settings:-}
CFG
  java -Xmx512m "$@" -cp "$dir:$zk39_classpath" org.apache.zookeeper.server.quorum.QuorumPeerMain "$dir/zoo.cfg" \
    >"$dir/log" 2>&1 &
  zookeeper_pid=$!
  until_true 30 timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port && printf srvr >&3 && grep -q Mode: <&3"
}
