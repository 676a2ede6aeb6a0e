//! Planted bugs: places where a defence of ours can be turned off, to see whether the simulator notices. Without the cargo
//! feature `mutants`, which only the crate `tests` asks for, every question is the constant `false` and costs nothing. No
//! server turns anything on.

/// True if the defence of this name is turned off in this thread. The table of names is `tests/src/mutants.rs`.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_on(_name: &str) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use switch::{is_on, reached, with};

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
        static REACHED: Cell<u64> = const { Cell::new(0) };
    }

    /// True if the defence of this name is turned off in this thread. The table of names is `tests/src/mutants.rs`.
    pub fn is_on(name: &str) -> bool {
        let is_on = ON.get().is_some_and(|on| on == name);
        if is_on {
            REACHED.set(REACHED.get() + 1);
        }
        is_on
    }

    /// How often the defence that is off, or was last, has been missed.
    pub fn reached() -> u64 {
        REACHED.get()
    }

    /// Does something while a defence is off in this thread; on again afterwards, also after a panic.
    pub fn with<T>(name: &'static str, what: impl FnOnce() -> T) -> T {
        struct On(Option<&'static str>);
        impl Drop for On {
            fn drop(&mut self) {
                ON.set(self.0);
            }
        }
        REACHED.set(0);
        let _on = On(ON.replace(Some(name)));
        what()
    }
}
