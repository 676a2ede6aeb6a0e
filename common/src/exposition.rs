//! Prometheus' text format 0.0.4, as its Java client writes it: the exporters of ZooKeeper and Kafka do. Writes what it is
//! given; counts nothing.

use std::fmt::Write;

/// What a family of figures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May go up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Quantiles, count and sum.
    Summary,
}

/// The text. A family's name may be given once only.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The family of figures that is being written.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'a str,
    text: &'a mut String,
}

/// Names and values of labels; none twice in a series, and no series twice in a family.
pub type Labels<'a> = [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family; `help` is one line.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Summary => "summary",
        };
        push(&mut self.text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { name, text: &mut self.text }
    }

    /// All that was written.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One figure.
    pub fn sample(&mut self, labels: &Labels<'_>, value: f64) {
        self.series("", labels, None, value);
    }

    /// The figures of a summary: parts and the values that they do not exceed, NaN where there are none; how many there
    /// were, and their sum.
    pub fn summary(&mut self, labels: &Labels<'_>, quantiles: &[(&str, f64)], count: f64, sum: f64) {
        for (part, value) in quantiles {
            self.series("", labels, Some(part), *value);
        }
        self.series("_count", labels, None, count);
        self.series("_sum", labels, None, sum);
    }

    fn series(&mut self, suffix: &str, labels: &Labels<'_>, quantile: Option<&str>, value: f64) {
        push(self.text, format_args!("{}{suffix}", self.name));
        let quantile = quantile.map(|part| ("quantile", part));
        if !labels.is_empty() || quantile.is_some() {
            self.text.push('{');
            for (name, value) in labels.iter().copied().chain(quantile) {
                push(self.text, format_args!("{name}=\""));
                push_escaped(self.text, value);
                self.text.push_str("\",");
            }
            self.text.push('}');
        }
        push(self.text, format_args!(" {}\n", real(value)));
    }
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
}

fn push_escaped(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// As Java shows a double: always with a point.
pub fn real(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.1}") } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_each_kind() {
        let mut text = Exposition::default();
        let mut family = text.family("bytes_total", Kind::Counter, "Bytes.");
        family.sample(&[], 7.0);
        family.sample(&[("topic", "a\"b\\c\nd"), ("partition", "0")], 1e18);
        text.family("load", Kind::Gauge, "Load.").sample(&[], -0.25);
        let quantiles = [("0.5", 2.0), ("0.99", f64::NAN)];
        text.family("ms", Kind::Summary, "Time.").summary(&[("request", "Fetch")], &quantiles, 2.0, 5.5);
        let want = "# HELP bytes_total Bytes.\n# TYPE bytes_total counter\nbytes_total 7.0\n\
                    bytes_total{topic=\"a\\\"b\\\\c\\nd\",partition=\"0\",} 1000000000000000000\n\
                    # HELP load Load.\n# TYPE load gauge\nload -0.25\n\
                    # HELP ms Time.\n# TYPE ms summary\nms{request=\"Fetch\",quantile=\"0.5\",} 2.0\n\
                    ms{request=\"Fetch\",quantile=\"0.99\",} NaN\nms_count{request=\"Fetch\",} 2.0\n\
                    ms_sum{request=\"Fetch\",} 5.5\n";
        assert_eq!(text.into_text(), want);
    }
}
