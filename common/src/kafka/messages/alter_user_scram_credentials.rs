//! AlterUserScramCredentials: sets and removes SCRAM credentials (KIP-554).
//! Declares the two messages; holds no rule.

use bytes::Bytes;

use super::declare;

declare! {
    51 AlterUserScramCredentials: AlterUserScramCredentialsRequest -> AlterUserScramCredentialsResponse, 0-0, flexible 0+;

    AlterUserScramCredentialsRequest {
        deletions: Vec<ScramCredentialDeletion>, 0+;
        upsertions: Vec<ScramCredentialUpsertion>, 0+;
    }

    ScramCredentialDeletion {
        name: String, 0+;
        mechanism: i8, 0+;
    }

    ScramCredentialUpsertion {
        name: String, 0+;
        mechanism: i8, 0+;
        iterations: i32, 0+;
        salt: Bytes, 0+;
        salted_password: Bytes, 0+;
    }

    AlterUserScramCredentialsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<AlterUserScramCredentialsResult>, 0+;
    }

    AlterUserScramCredentialsResult {
        user: String, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
    }
}
