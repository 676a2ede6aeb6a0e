//! An answer as data, and the two forms in which it is shown. Asks nobody.

use crate::clock;
use serde_json::{Value, json};

/// So many lines of one kind are shown in the text; the others are counted.
const SHOWN: usize = 20;

/// Something that is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    /// What it is about: a broker, a group, a partition.
    pub(super) subject: String,
    /// What is so.
    pub(super) fact: String,
    /// Since when, milliseconds since 1970; `None` where nothing tells.
    pub(super) since_ms: Option<i64>,
    /// What brought it about, one cause a line.
    pub(super) why: Vec<String>,
    /// What can be done.
    pub(super) remedy: Vec<String>,
    /// What suffers from it, one a line.
    pub(super) affects: Vec<String>,
}

/// Something that happened, as the coordinators ordered it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    /// The place in the order of all changes.
    pub(super) zxid: i64,
    /// Milliseconds since 1970; `None` if only the place is known.
    pub(super) at_ms: Option<i64>,
    /// What it was.
    pub(super) what: String,
}

/// The answer to one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// What the text begins with if nothing is wrong, instead of saying just that.
    pub(super) summary: Option<String>,
    /// What is so and is well, one a line.
    pub(super) facts: Vec<String>,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// What led there.
    pub(super) timeline: Vec<Event>,
    /// What the facts were made of, for who reads JSON.
    pub(super) details: Option<Value>,
}

impl Answer {
    /// Nothing is wrong.
    pub(super) fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds what stood in the way of looking.
    pub(super) fn add_problems(&mut self, problems: Vec<Finding>) {
        self.findings.splice(0..0, problems);
    }

    /// Adds an event if there is a place for it in the order.
    pub(super) fn happened(&mut self, zxid: i64, at_ms: Option<i64>, what: String) {
        self.timeline.push(Event { zxid, at_ms, what });
    }

    /// The events in their order, each once.
    fn ordered(&self) -> Vec<Event> {
        let mut events = self.timeline.clone();
        events.sort();
        events.dedup();
        events
    }

    /// One object with everything.
    pub(super) fn json(&self, question: &str) -> Value {
        let time = |ms: Option<i64>| ms.map(clock::log_time_of);
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                json!({"subject": finding.subject, "fact": finding.fact, "since": time(finding.since_ms),
                       "since_ms": finding.since_ms, "why": finding.why, "remedy": finding.remedy,
                       "affects": finding.affects})
            })
            .collect();
        let timeline: Vec<Value> = self
            .ordered()
            .iter()
            .map(|event| {
                json!({"zxid": format!("{:#x}", event.zxid), "at": time(event.at_ms), "at_ms": event.at_ms,
                       "what": event.what})
            })
            .collect();
        let mut answer = json!({"question": question, "is_well": self.is_well(), "findings": findings,
                                "timeline": timeline, "facts": self.facts});
        if let Some(summary) = &self.summary {
            answer["summary"] = summary.as_str().into();
        }
        if let Some(details) = &self.details {
            answer["details"] = details.clone();
        }
        answer
    }

    /// Lines for a reader at `now_ms`.
    pub(super) fn text(&self, now_ms: i64) -> String {
        let mut text = String::new();
        if self.is_well() {
            text += self.summary.as_deref().unwrap_or("Nothing to explain: all is well.");
            text.push('\n');
        }
        for finding in &self.findings {
            text += &format!("{}: {}\n", finding.subject, finding.fact);
            if let Some(since) = finding.since_ms {
                text += &format!("  since   {} ({} ago)\n", clock::log_time_of(since), span(now_ms - since));
            }
            for (label, lines) in [("why", &finding.why), ("do", &finding.remedy), ("affects", &finding.affects)] {
                for (index, line) in lines.iter().take(SHOWN).enumerate() {
                    text += &format!("  {:7} {line}\n", if index == 0 { label } else { "" });
                }
                if lines.len() > SHOWN {
                    text += &format!("  {:7} ... and {} more; --json has all\n", "", lines.len() - SHOWN);
                }
            }
            text.push('\n');
        }
        let events = self.ordered();
        if !events.is_empty() {
            text += "In the coordinators' order:\n";
            let skipped = events.len().saturating_sub(SHOWN);
            if skipped > 0 {
                text += &format!("  ... {skipped} before; --json has all\n");
            }
            for event in &events[skipped..] {
                let at = event.at_ms.map_or_else(|| format!("{:23}", ""), clock::log_time_of);
                text += &format!("  {at}  zxid {:#x}  {}\n", event.zxid, event.what);
            }
        }
        for fact in &self.facts {
            text += &format!("{fact}\n");
        }
        text
    }
}

/// So many of something: `1 partition`, `2 partitions`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A time span in the two greatest units.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (ms, expected) in
            [(-5, "0 s"), (59_999, "59 s"), (61_000, "1 min 1 s"), (7_260_000, "2 h 1 min"), (90_000_000, "1 d 1 h")]
        {
            assert_eq!(span(ms), expected);
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| count(number, "member")), ["0 members", "1 member", "2 members"]);
    }

    #[test]
    fn events_stand_in_the_order_of_their_zxids() {
        let mut answer = Answer::default();
        answer.happened(9, Some(5), "later by zxid, earlier by the clock".to_owned());
        answer.happened(3, None, "first".to_owned());
        answer.happened(3, None, "first".to_owned());
        assert_eq!(answer.json("q")["timeline"].as_array().unwrap().len(), 2);
        let text = answer.text(0);
        assert!(text.find("first") < text.find("later"), "{text}");
        assert!(text.starts_with("Nothing to explain"), "{text}");
        answer.summary = Some("It changed.".to_owned());
        assert!(answer.text(0).starts_with("It changed.\n"), "{}", answer.text(0));
        answer.findings = vec![Finding { affects: vec!["x".to_owned(); 30], ..Finding::default() }];
        assert!(answer.text(0).contains("... and 10 more"), "{}", answer.text(0));
        assert_eq!(answer.json("q")["is_well"], false);
    }
}
