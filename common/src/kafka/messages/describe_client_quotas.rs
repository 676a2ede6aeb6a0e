//! DescribeClientQuotas: the quotas that match a filter (KIP-546).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    48 DescribeClientQuotas: DescribeClientQuotasRequest -> DescribeClientQuotasResponse, 0-1, flexible 1+;

    DescribeClientQuotasRequest {
        components: Vec<ComponentData>, 0+;
        strict: bool, 0+;
    }

    ComponentData {
        entity_type: String, 0+;
        match_type: i8, 0+;
        r#match: Option<String> = Some(String::new()), 0+, null 0+;
    }

    DescribeClientQuotasResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        entries: Option<Vec<EntryData>> = Some(Vec::new()), 0+, null 0+;
    }

    EntryData {
        entity: Vec<EntityData>, 0+;
        values: Vec<ValueData>, 0+;
    }

    EntityData {
        entity_type: String, 0+;
        entity_name: Option<String> = Some(String::new()), 0+, null 0+;
    }

    ValueData {
        key: String, 0+;
        value: f64, 0+;
    }
}
