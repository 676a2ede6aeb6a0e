import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;

/** ShareAdmin BOOTSTRAP: what an administrator asks of share groups, a line of input each, answered in one line.
 *
 * set GROUP KEY=VALUE | get GROUP KEY | describe GROUP | offsets GROUP | alter GROUP TOPIC PARTITION OFFSET |
 * delete-offsets GROUP TOPIC | delete GROUP | list | features */
public class ShareAdmin {
    public static void main(String[] args) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0])); Scanner input = new Scanner(System.in)) {
            while (input.hasNextLine()) {
                String[] words = input.nextLine().split(" ");
                String answer;
                try {
                    answer = ask(admin, words);
                } catch (Exception problem) {
                    Throwable cause = problem.getCause() == null ? problem : problem.getCause();
                    answer = cause.getClass().getSimpleName() + ": " + cause.getMessage();
                }
                System.out.println(answer.replace('\n', ' '));
                System.out.flush();
            }
        }
    }

    private static String ask(Admin admin, String[] words) throws Exception {
        ConfigResource group = words.length < 2 ? null : new ConfigResource(ConfigResource.Type.GROUP, words[1]);
        switch (words[0]) {
            case "set": {
                String[] setting = words[2].split("=", 2);
                AlterConfigOp.OpType type = setting.length > 1 ? AlterConfigOp.OpType.SET : AlterConfigOp.OpType.DELETE;
                ConfigEntry entry = new ConfigEntry(setting[0], setting.length > 1 ? setting[1] : "");
                admin.incrementalAlterConfigs(Map.of(group, List.of(new AlterConfigOp(entry, type)))).all().get();
                return "ok";
            }
            case "get": {
                ConfigEntry entry = admin.describeConfigs(List.of(group)).all().get().get(group).get(words[2]);
                return entry == null ? "none" : entry.value() + " " + entry.source();
            }
            case "describe": {
                ShareGroupDescription found = admin.describeShareGroups(List.of(words[1])).all().get().get(words[1]);
                String members = found.members().stream()
                    .map(member -> member.clientId() + "=" + member.assignment().topicPartitions().stream()
                        .map(TopicPartition::toString).sorted().collect(Collectors.joining(",")))
                    .sorted().collect(Collectors.joining(" "));
                return found.groupState() + " " + found.coordinator().id() + " " + members;
            }
            case "offsets": {
                Map<TopicPartition, SharePartitionOffsetInfo> found = admin
                    .listShareGroupOffsets(Map.of(words[1], new ListShareGroupOffsetsSpec()))
                    .partitionsToOffsetInfo(words[1]).get();
                return "offsets " + found.entrySet().stream()
                    .map(one -> one.getKey() + ":" + (one.getValue() == null ? "-1:-1"
                        : one.getValue().startOffset() + ":" + one.getValue().lag().orElse(-1L)))
                    .sorted().collect(Collectors.joining(" "));
            }
            case "alter": {
                TopicPartition place = new TopicPartition(words[2], Integer.parseInt(words[3]));
                admin.alterShareGroupOffsets(words[1], Map.of(place, Long.parseLong(words[4]))).all().get();
                return "ok";
            }
            case "delete-offsets":
                admin.deleteShareGroupOffsets(words[1], Set.of(words[2])).all().get();
                return "ok";
            case "delete":
                admin.deleteShareGroups(List.of(words[1])).all().get();
                return "ok";
            case "list":
                return "groups " + admin.listGroups().all().get().stream()
                    .map(one -> one.groupId() + ":" + one.type().map(Object::toString).orElse("?") + ":"
                        + one.groupState().map(Object::toString).orElse("?"))
                    .sorted().collect(Collectors.joining(" "));
            case "features":
                return "features " + admin.describeFeatures().featureMetadata().get().finalizedFeatures();
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }
}
