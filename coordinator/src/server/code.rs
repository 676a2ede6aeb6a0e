//! Gives back the memory of code that only the start needs. Most of what an idle server has resident is the text of its program
//! and of RocksDB's library, brought in by what runs once: recovery, options, parsing. Measured on three idle servers: see
//! docs/performance.md.
#![expect(unsafe_code, reason = "there is no other way to tell the kernel; `Text::parse` says why it is sound")]

use rustix::mm::{Advice, madvise};
use std::time::Duration;

/// How long after the start nothing is given back: by then recovery and the election are usually over.
const STARTED: Duration = Duration::from_millis(500);

/// A mapping of executable code that nobody can have written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text {
    begin: usize,
    bytes: usize,
}

impl Text {
    /// A line of `/proc/self/maps`, if it is a private mapping of a file that can be read and executed and not written. Its
    /// pages are those of the file: given back, they are read again when they are run. Data that the loader has relocated is
    /// mapped without `x`.
    fn parse(line: &str) -> Option<Text> {
        let mut words = line.split_ascii_whitespace();
        let (range, flags) = (words.next()?, words.next()?);
        let path = words.nth(3)?;
        if flags != "r-xp" || !path.starts_with('/') {
            return None;
        }
        let (begin, end) = range.split_once('-')?;
        let (begin, end) = (usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some(Text { begin, bytes: end.checked_sub(begin)? })
    }

    fn give_back(self) {
        let address = std::ptr::with_exposed_provenance_mut(self.begin);
        // SAFETY: the mapping is private, of a file, and was never writable (see `parse`), so no byte of it changes: the next
        // use of a page maps it again from the file. A library that is unloaded meanwhile is none of ours: none ever is.
        let advised = unsafe { madvise(address, self.bytes, Advice::LinuxDontNeed) };
        if let Err(error) = advised {
            tracing::debug!(%error, "the memory of code is kept");
        }
    }
}

/// Gives the code back once, when the server has started.
pub(super) async fn give_back_after_start() {
    tokio::time::sleep(STARTED).await;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(Text::parse).for_each(Text::give_back);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_given_back() {
        let cases = [
            (
                "7f00-8f00 r-xp 00001000 fe:00 123   /usr/lib/librocksdb.so.7.8",
                Some(Text { begin: 0x7f00, bytes: 0x1000 }),
            ),
            ("7f00-8f00 r--p 00001000 fe:00 123   /usr/lib/librocksdb.so.7.8", None),
            ("7f00-8f00 rwxp 00001000 fe:00 123   /usr/lib/a.so", None),
            ("7f00-8f00 r-xs 00001000 fe:00 123   /usr/lib/a.so", None),
            ("7f00-8f00 r-xp 00000000 00:00 0   [vdso]", None),
            ("7f00-8f00 r-xp 00000000 00:00 0", None),
            ("nonsense", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Text::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn a_program_runs_on_without_its_code() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("this is Linux");
        let all: Vec<Text> = maps.lines().filter_map(Text::parse).collect();
        assert!(!all.is_empty(), "{maps}");
        all.iter().for_each(|text| text.give_back());
        assert_eq!(format!("{:?}", Text::parse("10-20 r-xp 0 0 1 /a")), "Some(Text { begin: 16, bytes: 16 })");
    }
}
