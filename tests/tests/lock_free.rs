//! The parts without locks, in every interleaving of their threads and every order of memory that the language allows (loom).

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicI64, Ordering, fence};
}
#[path = "../../coordinator/src/server/outstanding.rs"]
mod outstanding;

use atomic::{AtomicI64, Ordering};
use outstanding::Outstanding;
use std::sync::Arc;

#[test]
fn a_client_that_waits_is_woken_by_one_of_its_answers() {
    loom::model(|| {
        let client = Arc::new(Outstanding::new(Arc::new(AtomicI64::new(0))));
        client.read(2);
        let answers = Arc::clone(&client);
        let answering = loom::thread::spawn(move || answers.answered(1) | answers.answered(1));
        let waits = client.must_wait(1);
        let is_woken = answering.join().unwrap();
        assert!(is_woken || !waits, "nobody wakes it");
    });
}

#[test]
fn what_a_gone_client_had_outstanding_is_taken_off_once() {
    loom::model(|| {
        let all = Arc::new(AtomicI64::new(0));
        let client = Arc::new(Outstanding::new(Arc::clone(&all)));
        client.read(2);
        let answers = Arc::clone(&client);
        let answering = loom::thread::spawn(move || answers.answered(1) | answers.answered(1));
        client.end();
        answering.join().unwrap();
        assert_eq!(all.load(Ordering::SeqCst), 0);
    });
}
