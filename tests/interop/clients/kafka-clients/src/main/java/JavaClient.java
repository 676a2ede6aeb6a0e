import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** JavaClient BOOTSTRAP NAME [NEW]: Apache Kafka's own client, of whatever version is on the class path (2.5 or later).
 *
 * Each compression and acks, a group of the classic protocol (and of the new one with NEW), transactions, administration. */
public class JavaClient {
    static final int PARTITIONS = 3, COUNT = 100;
    static String servers, topic, out;
    static Admin admin;

    public static void main(String[] args) throws Exception {
        servers = args[0];
        topic = args[1];
        out = topic + "-out";
        admin = Admin.create(Map.of("bootstrap.servers", servers));
        administer();
        List<String> runs = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            for (String acks : List.of("0", "1", "all", "idempotent")) {
                boolean idempotent = acks.equals("idempotent");
                runs.add(codec + "-" + acks);
                try (Producer<String, String> producer = producer(Map.of("compression.type", codec, "acks", idempotent ? "all" : acks,
                        "enable.idempotence", String.valueOf(idempotent), "linger.ms", "5"))) {
                    write(producer, topic, runs.get(runs.size() - 1));
                }
                until("what was written counts", () -> ends(OffsetSpec.latest()).equals(Collections.nCopies(PARTITIONS, (long) runs.size() * COUNT)));
            }
        }
        expect(read(topic, "read_uncommitted"), runs);
        check(ends(OffsetSpec.forTimestamp(1)).equals(List.of(0L, 0L, 0L)), "of the first millisecond on: " + ends(OffsetSpec.forTimestamp(1)));
        DeletedRecords deleted = admin.deleteRecords(Map.of(part(0), RecordsToDelete.beforeOffset(COUNT))).lowWatermarks().get(part(0)).get();
        check(deleted.lowWatermark() == COUNT, "deleted up to " + deleted.lowWatermark());
        check(ends(OffsetSpec.earliest()).equals(List.of((long) COUNT, 0L, 0L)), "begins: " + ends(OffsetSpec.earliest()));
        transactions();
        group("classic", runs.size() * COUNT, Map.of());
        group("cooperative", runs.size() * COUNT, Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        if (args.length > 2) group("consumer", runs.size() * COUNT, Map.of("group.protocol", "consumer"));
        admin.deleteTopics(List.of(topic, out)).all().get();
        until("the topics are gone", () -> Collections.disjoint(get(admin.listTopics().names()), List.of(topic, out)));
        refused(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
        admin.close();
        System.out.println("Java: all as expected for " + topic);
    }

    interface Attempt { void run() throws Exception; }

    static void check(boolean holds, String otherwise) {
        if (!holds) throw new AssertionError(otherwise);
    }

    static void until(String what, BooleanSupplier holds) throws InterruptedException {
        for (long deadline = System.nanoTime() + 30_000_000_000L; !holds.getAsBoolean(); Thread.sleep(50)) {
            check(System.nanoTime() < deadline, "gave up waiting: " + what);
        }
    }

    static <T> T get(org.apache.kafka.common.KafkaFuture<T> future) {
        try {
            return future.get();
        } catch (Exception problem) {
            throw new RuntimeException(problem);
        }
    }

    static void refused(Class<?> with, Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (ExecutionException problem) {
            check(with.isInstance(problem.getCause()), with + " awaited: " + problem);
            return;
        }
        throw new AssertionError("not refused with " + with);
    }

    static TopicPartition part(int partition) { return new TopicPartition(topic, partition); }

    static List<Long> ends(OffsetSpec which) {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        for (int partition = 0; partition < PARTITIONS; partition++) asked.put(part(partition), which);
        var found = get(admin.listOffsets(asked).all());
        List<Long> offsets = new ArrayList<>();
        for (int partition = 0; partition < PARTITIONS; partition++) offsets.add(found.get(part(partition)).offset());
        return offsets;
    }

    static void administer() throws Exception {
        NewTopic first = new NewTopic(topic, 2, (short) 3).configs(Map.of("min.insync.replicas", "2"));
        admin.createTopics(List.of(first, new NewTopic(out, PARTITIONS, (short) 3))).all().get();
        refused(TopicExistsException.class, () -> admin.createTopics(List.of(first)).all().get());
        refused(InvalidReplicationFactorException.class, () -> admin.createTopics(List.of(new NewTopic(topic + "-never", 1, (short) 9))).all().get());
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS))).all().get();
        refused(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(1))).all().get());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Collection<AlterConfigOp> change = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET));
        admin.incrementalAlterConfigs(Map.of(resource, change)).all().get();
        until("the setting is seen", () -> get(admin.describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms").value().equals("3600000"));
        refused(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource,
            List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "a while"), AlterConfigOp.OpType.SET)))).all().get());
        check(admin.describeCluster().nodes().get().size() == 3, "not three brokers");
        check(admin.listPartitionReassignments().reassignments().get().isEmpty(), "something moves");
    }

    static Producer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", servers);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static String value(String run, int partition, int number) {
        return run + " " + partition + " " + number + " " + "=".repeat(50 + number);
    }

    static void write(Producer<String, String> producer, String to, String run) throws Exception {
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        for (int number = 0; number < COUNT; number++) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                var record = new ProducerRecord<>(to, partition, String.valueOf(number), value(run, partition, number));
                record.headers().add("run", run.getBytes());
                sent.add(producer.send(record));
            }
        }
        producer.flush();
        for (var each : sent) each.get();
    }

    static KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", servers, "auto.offset.reset", "earliest", "enable.auto.commit", "false", "fetch.max.wait.ms", "50"));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static List<List<String>> read(String from, String isolation) {
        List<List<String>> got = new ArrayList<>();
        List<TopicPartition> parts = new ArrayList<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            got.add(new ArrayList<>());
            parts.add(new TopicPartition(from, partition));
        }
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("isolation.level", isolation))) {
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            Map<TopicPartition, Long> ends = consumer.endOffsets(parts);
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                check(System.nanoTime() < deadline, from + " was not read to its end");
                consumer.poll(Duration.ofMillis(100)).forEach(record -> got.get(record.partition()).add(record.value()));
            }
        }
        return got;
    }

    static void expect(List<List<String>> got, List<String> runs) {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            List<String> wanted = new ArrayList<>();
            for (String run : runs) for (int number = 0; number < COUNT; number++) wanted.add(value(run, partition, number));
            check(got.get(partition).equals(wanted), "partition " + partition + ": " + got.get(partition).size() + " of " + wanted.size() + " records, or another order");
        }
    }

    static void transactions() throws Exception {
        Map<String, Object> settings = Map.of("transactional.id", topic, "linger.ms", "5");
        Producer<String, String> first = producer(settings);
        first.initTransactions();
        first.beginTransaction();
        write(first, out, "aborted");
        first.abortTransaction();
        KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", topic + "-txn"));
        for (String run : List.of("one", "two")) {
            first.beginTransaction();
            write(first, out, run);
            first.sendOffsetsToTransaction(Map.of(part(1), new OffsetAndMetadata(7, "told")), consumer.groupMetadata());
            first.commitTransaction();
        }
        check(consumer.committed(Set.of(part(1))).get(part(1)).offset() == 7, "no offsets of the transaction");
        consumer.close();
        Producer<String, String> second = producer(settings);
        second.initTransactions();
        try {
            first.beginTransaction();
            first.send(new ProducerRecord<>(out, "never"));
            first.commitTransaction();
            throw new AssertionError("a fenced producer committed");
        } catch (ApiException problem) {
            // Where the second transaction protocol is spoken the leader of the partition is the first to say it.
            check(Set.of("ProducerFencedException", "InvalidProducerEpochException").contains(problem.getClass().getSimpleName()), "fenced: " + problem);
        }
        first.close(Duration.ofSeconds(1));
        second.close();
        expect(read(out, "read_uncommitted"), List.of("aborted", "one", "two"));
        expect(read(out, "read_committed"), List.of("one", "two"));
    }

    static void group(String kind, int end, Map<String, Object> more) throws Exception {
        String name = topic + "-" + kind;
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("group.id", name);
        if (!kind.equals("consumer")) settings.put("heartbeat.interval.ms", "300");
        KafkaConsumer<String, String> first = consumer(settings), second = consumer(settings);
        Set<TopicPartition> all = Set.of(part(0), part(1), part(2));
        int[] read = {0};
        first.subscribe(List.of(topic));
        until("the first reads all", () -> (read[0] += first.poll(Duration.ofMillis(50)).count()) == PARTITIONS * end - COUNT);
        first.commitSync();
        second.subscribe(List.of(topic));
        until("two share", () -> {
            first.poll(Duration.ofMillis(50));
            second.poll(Duration.ofMillis(50));
            Set<TopicPartition> both = new HashSet<>(first.assignment());
            both.addAll(second.assignment());
            return !first.assignment().isEmpty() && !second.assignment().isEmpty() && both.equals(all) && first.assignment().size() + second.assignment().size() == PARTITIONS;
        });
        ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(name)).all().get().get(name);
        check(described.members().size() == 2, "described: " + described);
        check(admin.listConsumerGroups().all().get().stream().map(ConsumerGroupListing::groupId).collect(Collectors.toSet()).contains(name), name + " is not listed");
        refused(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(name)).all().get());
        first.close();
        until("one has all", () -> {
            second.poll(Duration.ofMillis(50));
            return second.assignment().equals(all);
        });
        second.close();
        var committed = admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get();
        check(committed.keySet().equals(all) && committed.values().stream().allMatch(each -> each.offset() == end), "committed: " + committed);
        admin.alterConsumerGroupOffsets(name, Map.of(part(0), new OffsetAndMetadata(3))).all().get();
        admin.deleteConsumerGroupOffsets(name, Set.of(part(1))).all().get();
        committed = admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get();
        check(committed.size() == 2 && committed.get(part(0)).offset() == 3, "moved: " + committed);
        admin.deleteConsumerGroups(List.of(name)).all().get();
        refused(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(name)).all().get());
    }
}
