import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** GroupMember BOOTSTRAP GROUP TOPICS KEY=VALUE...: one member of a consumer group, of Apache Kafka's own client.
 *
 * TOPICS that begin with ^ are a pattern. Prints `has t-0 t-1` when what it has changes and `read t-0 17` for each record,
 * which it then commits. Ends, leaving the group, when its input ends. */
public class GroupMember {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[1]);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        for (String setting : Arrays.copyOfRange(args, 3, args.length)) {
            settings.put(setting.substring(0, setting.indexOf('=')), setting.substring(setting.indexOf('=') + 1));
        }
        Thread end = new Thread(() -> {
            try {
                while (System.in.read() != -1) {}
            } catch (Exception ignored) {
            }
        });
        end.setDaemon(true);
        end.start();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            if (args[2].startsWith("^")) {
                consumer.subscribe(new SubscriptionPattern(args[2].substring(1)));
            } else {
                consumer.subscribe(List.of(args[2].split(",")));
            }
            Set<TopicPartition> before = null;
            while (end.isAlive()) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                try {
                    for (ConsumerRecord<String, String> record : records) {
                        System.out.println("read " + record.topic() + "-" + record.partition() + " " + record.offset());
                    }
                    System.out.flush();
                    if (!records.isEmpty()) consumer.commitSync(Duration.ofSeconds(30));
                } catch (CommitFailedException | RetriableException problem) {
                    System.out.println("lost " + problem);
                }
                if (!consumer.assignment().equals(before)) {
                    before = Set.copyOf(consumer.assignment());
                    System.out.println("has " + before.stream().map(TopicPartition::toString).sorted().collect(Collectors.joining(" ")));
                }
                System.out.flush();
            }
        }
    }
}
