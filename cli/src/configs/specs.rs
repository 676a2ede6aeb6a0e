//! The options of `kafka-configs`, with the words of its help. Decides nothing.

use crate::options::{HELP, Spec, VERSION, flag, text};

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text(
        "zookeeper",
        "urls",
        "DEPRECATED. The connection string for the zookeeper connection in the form host:port. Multiple URLS can be given \
         to allow fail-over. Required when configuring SCRAM credentials for users or dynamic broker configs when the \
         relevant broker(s) are down. Not allowed otherwise.",
    ),
    text("bootstrap-server", "server to connect to", "The Kafka servers to connect to."),
    text("bootstrap-controller", "controller to connect to", "The Kafka controllers to connect to."),
    text(
        "command-config",
        "command config property file",
        "Property file containing configs to be passed to Admin Client. This is used only with --bootstrap-server option \
         for describing and altering broker configs.",
    ),
    flag("alter", "Alter the configuration for the entity."),
    flag("describe", "List configs for the given entity."),
    flag(
        "all",
        "List all configs for the given topic, broker, or broker-logger entity (includes static configuration when the \
         entity type is brokers)",
    ),
    text("entity-type", "", "Type of entity (topics/clients/users/brokers/broker-loggers/ips/client-metrics)"),
    text("entity-name", "", "Name of entity (topic name/client id/user principal name/broker id/ip/client metrics)"),
    flag(
        "entity-default",
        "Default entity name for clients/users/brokers/ips (applies to corresponding entity type in command line)",
    ),
    text(
        "add-config",
        "",
        "Key Value pairs of configs to add. Square brackets can be used to group values which contain commas: \
         'k1=v1,k2=[v1,v2,v2],k3=v3'. \
         The following is a list of valid configurations: For entity-type 'topics': \n\
         \tcleanup.policy\n\tcompression.gzip.level\n\tcompression.lz4.level\n\tcompression.type\n\
         \tcompression.zstd.level\n\tdelete.retention.ms\n\tfile.delete.delay.ms\n\tflush.messages\n\tflush.ms\n\
         \tfollower.replication.throttled.replicas\n\tindex.interval.bytes\n\
         \tleader.replication.throttled.replicas\n\tlocal.retention.bytes\n\tlocal.retention.ms\n\
         \tmax.compaction.lag.ms\n\tmax.message.bytes\n\tmessage.downconversion.enable\n\tmessage.format.version\n\
         \tmessage.timestamp.after.max.ms\n\tmessage.timestamp.before.max.ms\n\
         \tmessage.timestamp.difference.max.ms\n\tmessage.timestamp.type\n\tmin.cleanable.dirty.ratio\n\
         \tmin.compaction.lag.ms\n\tmin.insync.replicas\n\tpreallocate\n\tremote.log.copy.disable\n\
         \tremote.log.delete.on.disable\n\tremote.storage.enable\n\tretention.bytes\n\tretention.ms\n\
         \tsegment.bytes\n\tsegment.index.bytes\n\tsegment.jitter.ms\n\tsegment.ms\n\
         \tunclean.leader.election.enable\n\
         For entity-type 'brokers': \n\
         \tadvertised.listeners\n\tbackground.threads\n\tcompression.gzip.level\n\tcompression.lz4.level\n\
         \tcompression.type\n\tcompression.zstd.level\n\tfollower.replication.throttled.rate\n\
         \tleader.replication.throttled.rate\n\tlistener.security.protocol.map\n\tlisteners\n\
         \tlog.cleaner.backoff.ms\n\tlog.cleaner.dedupe.buffer.size\n\tlog.cleaner.delete.retention.ms\n\
         \tlog.cleaner.io.buffer.load.factor\n\tlog.cleaner.io.buffer.size\n\
         \tlog.cleaner.io.max.bytes.per.second\n\tlog.cleaner.max.compaction.lag.ms\n\
         \tlog.cleaner.min.cleanable.ratio\n\tlog.cleaner.min.compaction.lag.ms\n\tlog.cleaner.threads\n\
         \tlog.cleanup.policy\n\tlog.flush.interval.messages\n\tlog.flush.interval.ms\n\
         \tlog.index.interval.bytes\n\tlog.index.size.max.bytes\n\tlog.local.retention.bytes\n\
         \tlog.local.retention.ms\n\tlog.message.downconversion.enable\n\tlog.message.timestamp.after.max.ms\n\
         \tlog.message.timestamp.before.max.ms\n\tlog.message.timestamp.difference.max.ms\n\
         \tlog.message.timestamp.type\n\tlog.preallocate\n\tlog.retention.bytes\n\tlog.retention.ms\n\
         \tlog.roll.jitter.ms\n\tlog.roll.ms\n\tlog.segment.bytes\n\tlog.segment.delete.delay.ms\n\
         \tmax.connection.creation.rate\n\tmax.connections\n\tmax.connections.per.ip\n\
         \tmax.connections.per.ip.overrides\n\tmessage.max.bytes\n\tmetric.reporters\n\tmin.insync.replicas\n\
         \tnum.io.threads\n\tnum.network.threads\n\tnum.recovery.threads.per.data.dir\n\tnum.replica.fetchers\n\
         \tprincipal.builder.class\n\tproducer.id.expiration.ms\n\tremote.fetch.max.wait.ms\n\
         \tremote.log.index.file.cache.total.size.bytes\n\tremote.log.manager.copy.max.bytes.per.second\n\
         \tremote.log.manager.fetch.max.bytes.per.second\n\treplica.alter.log.dirs.io.max.bytes.per.second\n\
         \tsasl.enabled.mechanisms\n\tsasl.jaas.config\n\tsasl.kerberos.kinit.cmd\n\
         \tsasl.kerberos.min.time.before.relogin\n\tsasl.kerberos.principal.to.local.rules\n\
         \tsasl.kerberos.service.name\n\tsasl.kerberos.ticket.renew.jitter\n\
         \tsasl.kerberos.ticket.renew.window.factor\n\tsasl.login.refresh.buffer.seconds\n\
         \tsasl.login.refresh.min.period.seconds\n\tsasl.login.refresh.window.factor\n\
         \tsasl.login.refresh.window.jitter\n\tsasl.mechanism.inter.broker.protocol\n\tssl.cipher.suites\n\
         \tssl.client.auth\n\tssl.enabled.protocols\n\tssl.endpoint.identification.algorithm\n\
         \tssl.engine.factory.class\n\tssl.key.password\n\tssl.keymanager.algorithm\n\
         \tssl.keystore.certificate.chain\n\tssl.keystore.key\n\tssl.keystore.location\n\tssl.keystore.password\n\
         \tssl.keystore.type\n\tssl.protocol\n\tssl.provider\n\tssl.secure.random.implementation\n\
         \tssl.trustmanager.algorithm\n\tssl.truststore.certificates\n\tssl.truststore.location\n\
         \tssl.truststore.password\n\tssl.truststore.type\n\ttransaction.partition.verification.enable\n\
         \tunclean.leader.election.enable\n\
         For entity-type 'users': \n\
         \tSCRAM-SHA-256\n\tSCRAM-SHA-512\n\tconsumer_byte_rate\n\tcontroller_mutation_rate\n\
         \tproducer_byte_rate\n\trequest_percentage\n\
         For entity-type 'clients': \n\
         \tconsumer_byte_rate\n\tcontroller_mutation_rate\n\tproducer_byte_rate\n\trequest_percentage\n\
         For entity-type 'ips': \n\
         \tconnection_creation_rate\n\
         For entity-type 'client-metrics': \n\
         \tinterval.ms\n\tmatch\n\tmetrics\n\
         Entity types 'users' and 'clients' may be specified together to update config for clients of a specific user.",
    ),
    text(
        "add-config-file",
        "",
        "Path to a properties file with configs to add. See add-config for a list of valid configurations.",
    ),
    text("delete-config", "", "config keys to remove 'k1,k2'"),
    flag("force", "Suppress console prompts"),
    text("topic", "", "The topic's name."),
    text("client", "", "The client's ID."),
    flag("client-defaults", "The config defaults for all clients."),
    text("user", "", "The user's principal name."),
    flag("user-defaults", "The config defaults for all users."),
    text("broker", "", "The broker's ID."),
    flag("broker-defaults", "The config defaults for all brokers."),
    text("broker-logger", "", "The broker's ID for its logger config."),
    flag("ip-defaults", "The config defaults for all IPs."),
    text("ip", "", "The IP address."),
    text(
        "zk-tls-config-file",
        "ZooKeeper TLS configuration",
        "Identifies the file where ZooKeeper client TLS connectivity properties are defined.  Any properties other than \
         zookeeper.clientCnxnSocket, zookeeper.ssl.cipher.suites, zookeeper.ssl.client.enable, \
         zookeeper.ssl.crl.enable, zookeeper.ssl.enabled.protocols, \
         zookeeper.ssl.endpoint.identification.algorithm, zookeeper.ssl.keystore.location, \
         zookeeper.ssl.keystore.password, zookeeper.ssl.keystore.type, zookeeper.ssl.ocsp.enable, \
         zookeeper.ssl.protocol, zookeeper.ssl.truststore.location, zookeeper.ssl.truststore.password, \
         zookeeper.ssl.truststore.type are ignored.",
    ),
];
