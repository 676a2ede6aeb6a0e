//! AlterClientQuotas: sets and removes quotas (KIP-546).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    49 AlterClientQuotas: AlterClientQuotasRequest -> AlterClientQuotasResponse, 0-1, flexible 1+;

    AlterClientQuotasRequest {
        entries: Vec<EntryData>, 0+;
        validate_only: bool, 0+;
    }

    EntryData {
        entity: Vec<EntityData>, 0+;
        ops: Vec<OpData>, 0+;
    }

    EntityData {
        entity_type: String, 0+;
        entity_name: Option<String> = Some(String::new()), 0+, null 0+;
    }

    OpData {
        key: String, 0+;
        value: f64, 0+;
        remove: bool, 0+;
    }

    AlterClientQuotasResponse {
        throttle_time_ms: i32, 0+;
        entries: Vec<EntryDataResponse>, 0+;
    }

    EntryDataResponse {
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        entity: Vec<EntityData>, 0+;
    }
}
