//! Results that come in one by one, and who waits for all of them. Knows nothing of what they mean.

use parking_lot::Mutex;
use std::sync::Arc;

type Then<T> = Box<dyn FnOnce(T) + Send>;

struct Inner<T> {
    so_far: T,
    left: usize,
    then: Option<Then<T>>,
}

/// See the top of the file. Clones share the results.
pub(crate) struct Gathered<T>(Arc<Mutex<Inner<T>>>);

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Gathered<T> {
        Gathered(Arc::clone(&self.0))
    }
}

impl<T: Default> Gathered<T> {
    /// Waits for `left` results, at least one; `then` gets `so_far` with all of them put in.
    pub(crate) fn new(so_far: T, left: usize, then: impl FnOnce(T) + Send + 'static) -> Gathered<T> {
        Gathered(Arc::new(Mutex::new(Inner { so_far, left, then: Some(Box::new(then)) })))
    }

    /// One result is in.
    pub(crate) fn put(&self, add: impl FnOnce(&mut T)) {
        self.put_many(1, add);
    }

    /// Several results are in. `then` is called by whoever brings the last one, outside of the lock.
    pub(crate) fn put_many(&self, count: usize, add: impl FnOnce(&mut T)) {
        let (all, then) = {
            let mut inner = self.0.lock();
            add(&mut inner.so_far);
            inner.left = inner.left.saturating_sub(count);
            if inner.left > 0 {
                return;
            }
            (std::mem::take(&mut inner.so_far), inner.then.take())
        };
        if let Some(then) = then {
            then(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_hears_once_and_of_all() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        let gathered = Gathered::new(vec![0], 3, move |all| told.lock().push(all));
        gathered.clone().put(|all| all.push(1));
        gathered.put_many(1, |all| all.push(2));
        assert!(heard.lock().is_empty());
        gathered.put(|all| all.push(3));
        gathered.put(|all| all.push(4));
        assert_eq!(*heard.lock(), [[0, 1, 2, 3]]);
    }
}
