//! UpdateMetadata: the controller tells a broker the state of the cluster (ZooKeeper topology).
//! Declares the two messages; holds no rule. The tagged field 10966 is Castellan's own: who does not know it passes over it.

use uuid::Uuid;

use super::declare;

declare! {
    6 UpdateMetadata: UpdateMetadataRequest -> UpdateMetadataResponse, 0-8, flexible 6+;

    UpdateMetadataRequest {
        controller_id: i32, 0+;
        is_kraft_controller: bool, 8+;
        controller_epoch: i32, 0+;
        broker_epoch: i64 = -1, 5+, [ignorable];
        ungrouped_partition_states: Vec<UpdateMetadataPartitionState>, 0-4;
        topic_states: Vec<UpdateMetadataTopicState>, 5+;
        live_brokers: Vec<UpdateMetadataBroker>, 0+;
        #0 r#type: i8, 8+;
    }

    UpdateMetadataPartitionState {
        topic_name: String, 0-4, [ignorable];
        partition_index: i32, 0+;
        controller_epoch: i32, 0+;
        leader: i32, 0+;
        leader_epoch: i32, 0+;
        isr: Vec<i32>, 0+;
        zk_version: i32, 0+;
        replicas: Vec<i32>, 0+;
        offline_replicas: Vec<i32>, 4+, [ignorable];
        #10966 eligible_leader_replicas: Vec<i32>, 6+, [ignorable];
    }

    UpdateMetadataTopicState {
        topic_name: String, 5+;
        topic_id: Uuid, 7+, [ignorable];
        partition_states: Vec<UpdateMetadataPartitionState>, 5+;
    }

    UpdateMetadataBroker {
        id: i32, 0+;
        v0_host: String, 0-0, [ignorable];
        v0_port: i32, 0-0, [ignorable];
        endpoints: Vec<UpdateMetadataEndpoint>, 1+, [ignorable];
        rack: Option<String> = Some(String::new()), 2+, null 0+, [ignorable];
    }

    UpdateMetadataEndpoint {
        port: i32, 1+;
        host: String, 1+;
        listener: String, 3+, [ignorable];
        security_protocol: i16, 1+;
    }

    UpdateMetadataResponse {
        error_code: i16, 0+;
    }
}
