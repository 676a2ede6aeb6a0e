//! Checks a history of transactions that real clients wrote down: a line for each fact, from the files named as arguments or
//! from standard input. Ends with 1 and says why if a record is lost, there twice, torn from its transaction or read although it
//! was aborted, or if transactions form a cycle. Starts and asks nothing.
//!
//!     txn NUMBER TRANSACTIONAL-ID BEGAN ENDED committed|aborted|unknown|open
//!     append NUMBER TOPIC PARTITION VALUE...
//!     consumed NUMBER TOPIC PARTITION FROM TO OFFSET=VALUE...
//!     read READER TOPIC PARTITION OFFSET VALUE
//!
//! Transactions are numbered from 0 on, in the order of their lines; a value begins with the number and a slash. Times are
//! microseconds of one clock. Reader 0 reads when all is over.

use common::id::TopicPartition;
use std::process::ExitCode;
use tests::check::{committed_reads, txn_cycles, txns_whole};
use tests::sim::history::{Consumed, History, Txn, TxnOutcome};

fn take(history: &mut History, line: &str) -> Option<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, number, more @ ..] = &words[..] else { return None };
    let number: usize = number.parse().ok()?;
    if let ("txn", [id, began, ended, outcome]) = (*kind, more) {
        let outcome = match *outcome {
            "committed" => TxnOutcome::Committed,
            "aborted" => TxnOutcome::Aborted,
            "unknown" => TxnOutcome::Unknown,
            "open" => TxnOutcome::Open,
            _ => return None,
        };
        let txn = Txn {
            transactional_id: (*id).to_owned(),
            producer: (-1, -1),
            appends: Vec::new(),
            consumed: None,
            began: began.parse().ok()?,
            ended: Some(ended.parse().ok()?),
            outcome,
        };
        history.txns.push(txn);
        return (number + 1 == history.txns.len()).then_some(());
    }
    let [topic, partition, more @ ..] = more else { return None };
    let partition = TopicPartition::new(*topic, partition.parse().ok()?);
    match (*kind, more) {
        ("append", values) => {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            history.txns.get_mut(number)?.appends.push((partition, values));
        }
        ("consumed", [from, to, values @ ..]) => {
            let one = |word: &&str| {
                let (offset, value) = word.split_once('=')?;
                Some((offset.parse().ok()?, value.to_owned()))
            };
            let values = values.iter().map(one).collect::<Option<Vec<_>>>()?;
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            history.txns.get_mut(number)?.consumed = Some(Consumed { partition, from, to, values });
        }
        ("read", [offset, value]) => {
            let logs = history.committed.entry(u64::try_from(number).ok()?).or_default();
            logs.entry(partition).or_default().insert(offset.parse().ok()?, (*value).to_owned());
        }
        _ => return None,
    }
    Some(())
}

fn main() -> ExitCode {
    let checks = [txns_whole::check, committed_reads::check, txn_cycles::check];
    tests::verdict::of(take, |history| {
        checks.iter().try_for_each(|check| check(history)).map_err(|problem| format!("NOT sound: {problem}"))?;
        Ok(format!("{} transactions: whole, read as committed, without a cycle", history.txns.len()))
    })
}
