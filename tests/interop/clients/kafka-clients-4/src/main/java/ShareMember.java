import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.serialization.StringDeserializer;

/** ShareMember BOOTSTRAP GROUP TOPICS KEY=VALUE...: one member of a share group, of Apache Kafka's own client.
 *
 * Prints `got t-0 17 2 text` for a record in its second delivery, and `done t-0 17` once the broker has taken that it was
 * accepted. With share.acknowledgement.mode=explicit the text of a record says what is done with it: `release` is given back
 * in its first delivery, `poison` in each, `reject` is refused, `renew` is kept longer, comes once more by that, and is accepted, `hold` is kept for
 * ever. Ends, leaving the group, when its input ends. */
public class ShareMember {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[1]);
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        for (String setting : Arrays.copyOfRange(args, 3, args.length)) {
            settings.put(setting.substring(0, setting.indexOf('=')), setting.substring(setting.indexOf('=') + 1));
        }
        boolean isExplicit = "explicit".equals(settings.get("share.acknowledgement.mode"));
        Thread end = new Thread(() -> {
            try {
                while (System.in.read() != -1) {}
            } catch (Exception ignored) {
            }
        });
        end.setDaemon(true);
        end.start();
        try (KafkaShareConsumer<String, String> consumer = new KafkaShareConsumer<>(settings)) {
            consumer.subscribe(List.of(args[2].split(",")));
            System.out.println("ready");
            System.out.flush();
            Set<String> renewed = new HashSet<>();
            while (end.isAlive()) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                List<ConsumerRecord<String, String>> accepted = new ArrayList<>();
                for (ConsumerRecord<String, String> record : records) {
                    int count = record.deliveryCount().orElse((short) 0);
                    String text = record.value();
                    System.out.println("got " + place(record) + " " + count + " " + text);
                    if (isExplicit) {
                        if (text.startsWith("hold")) {
                            System.out.flush();
                            Thread.sleep(Long.MAX_VALUE);
                        }
                        boolean isReleased = text.startsWith("poison") || text.startsWith("release") && count == 1;
                        AcknowledgeType type = isReleased ? AcknowledgeType.RELEASE
                            : text.startsWith("reject") ? AcknowledgeType.REJECT
                            : text.startsWith("renew") && renewed.add(place(record)) ? AcknowledgeType.RENEW
                            : AcknowledgeType.ACCEPT;
                        consumer.acknowledge(record, type);
                        if (type == AcknowledgeType.ACCEPT) accepted.add(record);
                    } else {
                        accepted.add(record);
                    }
                }
                System.out.flush();
                if (!records.isEmpty()) commit(consumer, accepted);
            }
        }
    }

    private static String place(ConsumerRecord<String, String> record) {
        return record.topic() + "-" + record.partition() + " " + record.offset();
    }

    private static void commit(KafkaShareConsumer<String, String> consumer, List<ConsumerRecord<String, String>> accepted) {
        Map<TopicIdPartition, Optional<KafkaException>> results = consumer.commitSync(Duration.ofSeconds(30));
        Map<TopicPartition, Optional<KafkaException>> byPlace = new HashMap<>();
        results.forEach((partition, result) -> byPlace.put(partition.topicPartition(), result));
        for (ConsumerRecord<String, String> record : accepted) {
            Optional<KafkaException> result = byPlace.get(new TopicPartition(record.topic(), record.partition()));
            if (result != null && result.isEmpty()) {
                System.out.println("done " + place(record));
            } else {
                System.out.println("lost " + place(record) + " " + (result == null ? "no answer" : result.get()));
            }
        }
        System.out.flush();
    }
}
