//! The first reading of something in ZooKeeper by many questions: over when all of them, and those that they led to, are
//! answered. Asks nothing itself.

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct FirstReading {
    open: usize,
    is_over: bool,
}

impl FirstReading {
    /// Everything is to be read (again).
    pub(super) fn begin(&mut self) {
        self.is_over = false;
    }

    /// A question was asked; while the reading goes on it belongs to it.
    pub(super) fn asked(&mut self) {
        if !self.is_over {
            self.open += 1;
        }
    }

    /// One of its questions was answered, and all that follow from the answer were asked. True if it is over with that.
    pub(super) fn answered(&mut self) -> bool {
        if self.is_over || self.open == 0 {
            return false;
        }
        self.open -= 1;
        self.is_over = self.open == 0;
        self.is_over
    }

    /// The session ended, and with it all questions.
    pub(super) fn forget_questions(&mut self) {
        self.open = 0;
    }

    /// Is everything read?
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}
