//! DescribeUserScramCredentials: which SCRAM mechanisms users have (KIP-554).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    50 DescribeUserScramCredentials: DescribeUserScramCredentialsRequest -> DescribeUserScramCredentialsResponse, 0-0, flexible 0+;

    DescribeUserScramCredentialsRequest {
        users: Option<Vec<UserName>> = Some(Vec::new()), 0+, null 0+;
    }

    UserName {
        name: String, 0+;
    }

    DescribeUserScramCredentialsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        results: Vec<DescribeUserScramCredentialsResult>, 0+;
    }

    DescribeUserScramCredentialsResult {
        user: String, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        credential_infos: Vec<CredentialInfo>, 0+;
    }

    CredentialInfo {
        mechanism: i8, 0+;
        iterations: i32, 0+;
    }
}
