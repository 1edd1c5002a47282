//! Percentiles of two runs side by side.

use crate::hgrm::{self, Distribution};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read; one of this program has some kilobytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The rows of the comparison.
const QUANTILES: [(&str, f64); 8] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("p99.999", 0.99999),
];

/// Why two files cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("{0} is larger than {FILE_BYTES_MAX} bytes: not percentile text (.hgrm)")]
    TooLarge(String),
    #[error("{0} is not percentile text (.hgrm): {1}")]
    NotHgrm(String, hgrm::ReadError),
}

/// The comparison of two files as text.
pub(crate) fn compare(first: &Path, second: &Path) -> Result<String, CompareError> {
    let (a, b) = (read(first)?, read(second)?);
    Ok(render((&first.display().to_string(), &a), (&second.display().to_string(), &b)))
}

fn read(path: &Path) -> Result<Distribution, CompareError> {
    let name = || path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if read.map_err(|error| CompareError::File(name(), error))? as u64 > FILE_BYTES_MAX {
        return Err(CompareError::TooLarge(name()));
    }
    hgrm::read(&String::from_utf8_lossy(&bytes)).map_err(|error| CompareError::NotHgrm(name(), error))
}

fn render(first: (&str, &Distribution), second: (&str, &Distribution)) -> String {
    let (a, b) = (first.1, second.1);
    let mut text = format!("A  {}, {} values\nB  {}, {} values\n\n", first.0, a.count(), second.0, b.count());
    text.push_str("                     A            B      B/A\n");
    for (name, quantile) in QUANTILES {
        // Beyond one value in so many the two columns would only repeat the largest value.
        if (1.0 - quantile) * a.count().min(b.count()) as f64 >= 0.999 {
            row(&mut text, name, a.value_at(quantile), b.value_at(quantile));
        }
    }
    row(&mut text, "max", a.max(), b.max());
    if let (Some(a), Some(b)) = (a.mean, b.mean) {
        row(&mut text, "mean", a, b);
    }
    text.push_str("\nunit: that of the files; files of this program hold microseconds\n");
    text
}

fn row(text: &mut String, name: &str, a: f64, b: f64) {
    let ratio = if a > 0.0 { format!("{:.2}", b / a) } else { "-".into() };
    writeln!(text, "{name:<9}{a:>13.3}{b:>13.3}{ratio:>9}").expect("a string takes every text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(values: &[u64]) -> Distribution {
        let mut histogram = crate::sample::histogram();
        for &value in values {
            histogram.record(value).unwrap();
        }
        let mut text = Vec::new();
        hgrm::write(&histogram, &mut text).unwrap();
        hgrm::read(&String::from_utf8(text).unwrap()).unwrap()
    }

    #[test]
    fn percentiles_stand_side_by_side_with_their_ratio() {
        let slow: Vec<u64> = (1..=1000).collect();
        let fast: Vec<u64> = (1..=1000).map(|value| value / 2).collect();
        let text = render(("old", &distribution(&slow)), ("new", &distribution(&fast)));
        assert!(text.starts_with("A  old, 1000 values\nB  new, 1000 values\n"), "{text}");
        assert!(text.contains("p50              0.500        0.250     0.50\n"), "{text}");
        assert!(text.contains("max              1.000        0.500     0.50\n"), "{text}");
        assert!(text.contains("p99.9 "), "{text}");
        assert!(!text.contains("p99.99 "), "a thousand values have no p99.99\n{text}");
    }

    #[test]
    fn a_ratio_to_nothing_is_left_out() {
        let text = render(("a", &distribution(&[0])), ("b", &distribution(&[5])));
        assert!(text.contains("max              0.000        0.005        -\n"), "{text}");
    }
}
