//! DescribeCluster (60, KIP-700), versions 0 to 2: the cluster's id, its controller and brokers as the image has them.
//! MISMATCHED_ENDPOINT_TYPE or UNSUPPORTED_ENDPOINT_TYPE if asked for anything but brokers: there is no other controller
//! endpoint in the ZooKeeper topology. No broker is ever fenced here.

use super::{Context, Endpoint, Reply};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use std::ops::RangeInclusive;

/// Endpoint type in the request: brokers.
const BROKERS: i8 = 1;
/// Endpoint type in the request: KRaft controllers.
const CONTROLLERS: i8 = 2;

/// See the top of the file.
pub struct DescribeCluster;

impl Endpoint for DescribeCluster {
    type Request = DescribeClusterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &Context<'_>, request: DescribeClusterRequest) -> Reply<DescribeClusterResponse> {
        let refuse = |code: ErrorCode, message: String| {
            Reply::Now(DescribeClusterResponse {
                error_code: code.code(),
                error_message: Some(message),
                endpoint_type: BROKERS,
                ..Default::default()
            })
        };
        match request.endpoint_type {
            BROKERS => {}
            CONTROLLERS => {
                let message =
                    "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
                return refuse(ErrorCode::MismatchedEndpointType, message.into());
            }
            other => {
                let message = format!("Unsupported endpoint type {other}");
                return refuse(ErrorCode::UnsupportedEndpointType, message);
            }
        }
        let listener = &ctx.connection.listener;
        let image = ctx.broker.image.read();
        let brokers = image.brokers().filter_map(|(id, broker)| {
            let endpoint = broker.endpoint(listener)?;
            Some(DescribeClusterBroker {
                broker_id: id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
                ..Default::default()
            })
        });
        let mut cluster_authorized_operations = i32::MIN;
        if request.include_cluster_authorized_operations {
            cluster_authorized_operations = ctx.rights().cluster_operations();
        }
        Reply::Now(DescribeClusterResponse {
            endpoint_type: BROKERS,
            cluster_authorized_operations,
            cluster_id: ctx.broker.cluster.cluster_id().unwrap_or_default(),
            controller_id: image.controller().map_or(-1, |controller| controller.0),
            brokers: brokers.collect(),
            ..Default::default()
        })
    }
}
