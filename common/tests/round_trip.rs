//! Every Kafka message in every version: what is written is read back the same, and matches an independent codec.

use common::Rng;
use common::kafka::messages::APIS;

#[test]
fn what_is_written_is_read_back() {
    for api in APIS {
        for version in api.versions.clone() {
            let mut rng = Rng::with_seed(u64::from(api.key.unsigned_abs()) << 16 | version.unsigned_abs() as u64);
            for _ in 0..50 {
                let request = (api.trial.random_request)(&mut rng, version);
                assert_eq!(
                    (api.trial.recode_request)(request.clone(), version),
                    Ok((request, 0)),
                    "{} {version}",
                    api.name
                );
                let response = (api.trial.random_response)(&mut rng, version);
                assert_eq!(
                    (api.trial.recode_response)(response.clone(), version),
                    Ok((response, 0)),
                    "{} {version}",
                    api.name
                );
            }
        }
    }
}
