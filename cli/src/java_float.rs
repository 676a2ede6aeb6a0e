//! Floating point numbers as Java writes them.

/// As Java writes floating point numbers: always with a fraction, from 10^7 on and below 10^-3 with an exponent.
pub(crate) fn java_float(number: f64, single: bool) -> String {
    if !number.is_finite() {
        return if number.is_nan() { "NaN".to_owned() } else { format!("{number}").replace("inf", "Infinity") };
    }
    let scientific = number != 0.0 && !(1e-3..1e7).contains(&number.abs());
    #[allow(clippy::cast_possible_truncation, reason = "the number was made from an f32")]
    let text = match (single, scientific) {
        (true, true) => format!("{:E}", number as f32),
        (true, false) => format!("{:?}", number as f32),
        (false, true) => format!("{number:E}"),
        (false, false) => format!("{number:?}"),
    };
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

/// As Java's `%.Nf` writes it.
pub(crate) fn fixed(number: f64, digits: usize) -> String {
    if number.is_finite() { format!("{number:.digits$}") } else { java_float(number, false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_java() {
        for (number, text) in [(1.0, "1.0"), (0.0, "0.0"), (1e7, "1.0E7"), (123.45, "123.45"), (1.5e-5, "1.5E-5")] {
            assert_eq!(java_float(number, false), text);
        }
    }
}
