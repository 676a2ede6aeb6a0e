//! DescribeConfigs: settings of topics, brokers, groups and client metrics with their sources.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    32 DescribeConfigs: DescribeConfigsRequest -> DescribeConfigsResponse, 0-4, flexible 4+;

    DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource>, 0+;
        include_synonyms: bool, 1+;
        include_documentation: bool, 3+;
    }

    DescribeConfigsResource {
        resource_type: i8, 0+;
        resource_name: String, 0+;
        configuration_keys: Option<Vec<String>> = Some(Vec::new()), 0+, null 0+;
    }

    DescribeConfigsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<DescribeConfigsResult>, 0+;
    }

    DescribeConfigsResult {
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        resource_type: i8, 0+;
        resource_name: String, 0+;
        configs: Vec<DescribeConfigsResourceResult>, 0+;
    }

    DescribeConfigsResourceResult {
        name: String, 0+;
        value: Option<String> = Some(String::new()), 0+, null 0+;
        read_only: bool, 0+;
        is_default: bool, 0-0;
        config_source: i8 = -1, 1+, [ignorable];
        is_sensitive: bool, 0+;
        synonyms: Vec<DescribeConfigsSynonym>, 1+, [ignorable];
        config_type: i8, 3+, [ignorable];
        documentation: Option<String> = Some(String::new()), 3+, null 0+, [ignorable];
    }

    DescribeConfigsSynonym {
        name: String, 1+;
        value: Option<String> = Some(String::new()), 1+, null 0+;
        source: i8, 1+;
    }
}
