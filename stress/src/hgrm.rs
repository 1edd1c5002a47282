//! Percentile text as Gil Tene's HdrHistogram plotter and its relatives write and read it.
//!
//! ```text
//!        Value     Percentile TotalCount 1/(1-Percentile)
//!
//!        0.266 0.500000000000     500000           2.00
//!        …
//! #[Mean    =        0.301, StdDeviation   =        0.077]
//! #[Max     =       47.871, Total count    =      1000000]
//! #[Buckets =           32, SubBuckets     =         2048]
//! ```
//!
//! Values are microseconds with three decimals, so that no nanosecond is lost. A file of another program may hold any
//! unit; nothing in the format says which.

use hdrhistogram::Histogram;
use std::io::{self, Write};

/// Lines written between one halving of the distance to 100 % and the next: the plotter's own choice.
const LINES_PER_HALVING: u32 = 5;
/// Nanoseconds of the unit that is written.
const NANOS_PER_UNIT: f64 = 1000.0;

/// One line of percentile text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) value: f64,
    /// From 0 to 1.
    pub(crate) quantile: f64,
    /// Values up to and including this one.
    pub(crate) count: u64,
}

/// Percentile text that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    /// In rising order, at least one.
    lines: Vec<Line>,
    /// From the footer, if there is one.
    pub(crate) mean: Option<f64>,
}

/// Why a text is not percentile text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("it has no line with 'Value' and 'Percentile' above its numbers")]
    NoHeader,
    #[error("line {0} is not value, percentile, count and 1/(1-percentile)")]
    NotNumbers(usize),
    #[error("line {0} goes back: values, percentiles and counts must rise")]
    Falling(usize),
    #[error("it has no values")]
    Empty,
}

/// Writes a histogram of nanoseconds.
pub(crate) fn write(histogram: &Histogram<u64>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut count = 0;
    for step in histogram.iter_quantiles(LINES_PER_HALVING) {
        count += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NANOS_PER_UNIT;
        let quantile = step.quantile_iterated_to();
        if quantile < 1.0 {
            writeln!(out, "{value:12.3} {quantile:14.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out, "{value:12.3} {quantile:14.12} {count:10}")?;
        }
    }
    let (mean, deviation) = (histogram.mean() / NANOS_PER_UNIT, histogram.stdev() / NANOS_PER_UNIT);
    let max = histogram.max() as f64 / NANOS_PER_UNIT;
    let (buckets, sub_buckets) = (histogram.buckets(), sub_buckets(histogram.sigfig()));
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(out, "#[Max     = {max:12.3}, Total count    = {count:12}]")?;
    writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")
}

/// The least power of two that resolves `digits` decimal digits in both halves of a bucket.
fn sub_buckets(digits: u8) -> u64 {
    (2 * 10_u64.pow(u32::from(digits))).next_power_of_two()
}

/// Reads percentile text.
pub(crate) fn read(text: &str) -> Result<Distribution, ReadError> {
    let mut numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let header = numbered.by_ref().find(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    if !header.is_some_and(|(_, line)| line.starts_with("Value") && line.contains("Percentile")) {
        return Err(ReadError::NoHeader);
    }
    let mut distribution = Distribution { lines: Vec::new(), mean: None };
    for (number, text) in numbered.filter(|(_, line)| !line.is_empty()) {
        if text.starts_with('#') {
            distribution.mean = distribution.mean.or_else(|| mean_of_footer(text));
            continue;
        }
        let line = read_line(text).ok_or(ReadError::NotNumbers(number))?;
        if distribution.lines.last().is_some_and(|last| line.falls_from(last)) {
            return Err(ReadError::Falling(number));
        }
        distribution.lines.push(line);
    }
    if distribution.lines.is_empty() { Err(ReadError::Empty) } else { Ok(distribution) }
}

/// The fourth column follows from the second one, and the last line has none (or `inf`).
fn read_line(text: &str) -> Option<Line> {
    let mut fields = text.split_whitespace();
    let value: f64 = fields.next()?.parse().ok()?;
    let quantile: f64 = fields.next()?.parse().ok()?;
    let count = fields.next()?.parse().ok()?;
    let inverse_reads = fields.next().is_none_or(|field| field.parse::<f64>().is_ok());
    let valid = value.is_finite() && value >= 0.0 && (0.0..=1.0).contains(&quantile);
    (valid && inverse_reads && fields.next().is_none()).then_some(Line { value, quantile, count })
}

fn mean_of_footer(text: &str) -> Option<f64> {
    let (_, rest) = text.strip_prefix("#[Mean")?.split_once('=')?;
    rest.split(',').next()?.trim().parse().ok()
}

impl Line {
    fn falls_from(&self, last: &Self) -> bool {
        self.value < last.value || self.quantile < last.quantile || self.count < last.count
    }
}

impl Distribution {
    /// The value that a share `quantile` of all values does not exceed.
    pub(crate) fn value_at(&self, quantile: f64) -> f64 {
        let line = self.lines.iter().find(|line| line.quantile >= quantile);
        line.map_or_else(|| self.max(), |line| line.value)
    }

    /// The largest value.
    pub(crate) fn max(&self) -> f64 {
        self.lines.last().map_or(0.0, |line| line.value)
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix;

    fn written(histogram: &Histogram<u64>) -> String {
        let mut bytes = Vec::new();
        write(histogram, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut histogram = crate::sample::histogram();
        let mut random = SplitMix::new(1, 0);
        for _ in 0..100_000 {
            let exponent = random.below(20);
            histogram.record(100 + random.below(1 << exponent) as u64).unwrap();
        }
        let distribution = read(&written(&histogram)).unwrap();
        assert_eq!(distribution.count(), 100_000);
        for quantile in [0.5, 0.9, 0.99, 0.999] {
            let read = distribution.value_at(quantile) * 1000.0;
            let recorded = histogram.value_at_quantile(quantile) as f64;
            assert!(read >= recorded - 0.5 && read < recorded * 1.1, "{quantile}: {read} from {recorded}");
        }
        assert!((distribution.max() * 1000.0 - histogram.max() as f64).abs() < 0.5);
        assert!((distribution.mean.unwrap() * 1000.0 - histogram.mean()).abs() < 1.0);
    }

    #[test]
    fn the_layout_is_the_plotters() {
        let mut histogram = crate::sample::histogram();
        histogram.record_n(250, 3).unwrap();
        histogram.record(1000).unwrap();
        let text = written(&histogram);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       0.250 0.000000000000          3           1.00");
        assert!(lines.contains(&"       1.000 1.000000000000          4"), "{text}");
        assert_eq!(
            lines[lines.len() - 3..],
            [
                "#[Mean    =        0.438, StdDeviation   =        0.325]",
                "#[Max     =        1.000, Total count    =            4]",
                "#[Buckets =            1, SubBuckets     =         2048]",
            ]
        );
    }

    #[test]
    fn files_of_other_programs_read_too() {
        let text = "#[a comment]\n   Value   Percentile   TotalCount 1/(1-Percentile)\n\n\
                    1.5 0.000000 1 1.00\n2.5 0.500000 2 2.00\n9.0 1.000000 4 inf\n#[Mean    = 4.0, StdDeviation = 1.0]\n";
        let distribution = read(text).unwrap();
        assert_eq!(
            (distribution.value_at(0.4), distribution.max(), distribution.mean),
            (2.5, 9.0, Some(4.0))
        );
    }

    #[test]
    fn other_texts_are_refused_with_the_line() {
        let header = "Value Percentile TotalCount 1/(1-Percentile)\n\n";
        for (text, why) in [
            (String::new(), ReadError::NoHeader),
            ("{\"workload\":\"call\"}".into(), ReadError::NoHeader),
            (header.into(), ReadError::Empty),
            (format!("{header}1.0 0.5 1 2.00\n0.9 0.6 2 2.50\n"), ReadError::Falling(4)),
            (format!("{header}1.0 0.5 one 2.00\n"), ReadError::NotNumbers(3)),
            (format!("{header}1.0 1.5 1 2.00\n"), ReadError::NotNumbers(3)),
            (format!("{header}1.0 0.5 1 2.00 3.00\n"), ReadError::NotNumbers(3)),
            (format!("{header}NaN 0.5 1 2.00\n"), ReadError::NotNumbers(3)),
        ] {
            assert_eq!(read(&text), Err(why), "{text:?}");
        }
    }
}
