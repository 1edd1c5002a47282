//! What a run prints: one line of JSON, or a table with small histograms.

use crate::plan::{Goal, Outcome, Params, Plan};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// One workload's result, the line that `--json` prints. The names and their order do not change.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) workload: &'static str,
    params: Params,
    pub(crate) msgs: u64,
    secs: f64,
    msgs_per_s: f64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: Option<u64>,
    /// What `msgs` counts, for people.
    #[serde(skip)]
    unit: &'static str,
    #[serde(skip)]
    latency: Option<Histogram<u64>>,
}

impl Record {
    pub(crate) fn new(workload: &'static str, unit: &'static str, plan: &Plan, outcome: Outcome) -> Self {
        let latency = outcome.latency.filter(|histogram| !histogram.is_empty());
        let quantile = |share| latency.as_ref().map(|histogram| histogram.value_at_quantile(share));
        let secs = outcome.time.as_secs_f64();
        Self {
            workload,
            params: params(plan, outcome.params),
            msgs: outcome.msgs,
            secs,
            msgs_per_s: if secs > 0.0 { outcome.msgs as f64 / secs } else { 0.0 },
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            max_ns: latency.as_ref().map(Histogram::max),
            unit,
            latency,
        }
    }

    /// The line of `--json`, without its end.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }

    pub(crate) fn latency(&self) -> Option<&Histogram<u64>> {
        self.latency.as_ref()
    }

    /// The facts of the run that stand in no column, for people.
    pub(crate) fn facts(&self) -> String {
        let facts = self.params.iter().map(|(name, value)| format!("{name} {value}"));
        format!("{}: {} {}, {}", self.workload, self.msgs, self.unit, facts.collect::<Vec<_>>().join(", "))
    }
}

fn params(plan: &Plan, extra: Params) -> Params {
    let mut params = Params::from([
        ("workers", plan.workers.into()),
        ("pin", plan.pin.into()),
        ("size", plan.size.into()),
        ("seed", plan.seed.into()),
    ]);
    match plan.goal {
        Goal::Count(count) => params.insert("n", count.into()),
        Goal::Time(time) => params.insert("secs", time.as_secs_f64().into()),
    };
    params.extend(extra);
    params
}

/// The table of some results.
pub(crate) fn table(records: &[Record]) -> String {
    let mut text = format!(
        "{:<10}{:>21}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
        "workload", "rate", "p50", "p90", "p99", "p99.9", "max"
    );
    for record in records {
        let rate = format!("{} {}/s", amount(record.msgs_per_s), record.unit);
        write!(text, "{:<10}{rate:>21}", record.workload).expect(WRITES);
        for nanos in [record.p50_ns, record.p90_ns, record.p99_ns, record.p999_ns, record.max_ns] {
            let column = nanos.map_or_else(|| "-".into(), time);
            write!(text, "{column:>10}").expect(WRITES);
        }
        text.push('\n');
    }
    text
}

const WRITES: &str = "a string takes every text";
/// The widest bar of a histogram, in characters.
const BAR_WIDTH: f64 = 40.0;
/// Rows of a histogram; what is above them is one row more.
const BAR_ROWS: usize = 11;

/// A small histogram: one row per step of 1, 2, 5, 10, …
pub(crate) fn bars(histogram: &Histogram<u64>) -> String {
    let total = histogram.len();
    let mut text = String::new();
    let mut from = 0;
    let mut rows = 0;
    for to in std::iter::successors(Some(10), |&bound| Some(next_bound(bound))) {
        if from > histogram.max() {
            break;
        }
        let last_row = rows == BAR_ROWS;
        let below = if last_row { u64::MAX } else { to };
        let count = histogram.count_between(from, below - 1);
        if rows > 0 || count > 0 {
            rows += 1;
            let share = count as f64 / total as f64;
            let label = if last_row { format!("≥ {}", time(from)) } else { format!("< {}", time(below)) };
            let row = format!("{label:>10} {:>8.3} % {}", share * 100.0, bar(share, count));
            writeln!(text, "{}", row.trim_end()).expect(WRITES);
        }
        if last_row {
            break;
        }
        from = to;
    }
    text
}

/// A row that has any value has at least a dot.
fn bar(share: f64, count: u64) -> String {
    let width = (share * BAR_WIDTH).round() as usize;
    match (width, count) {
        (0, 0) => String::new(),
        (0, _) => "·".into(),
        (width, _) => "█".repeat(width),
    }
}

/// The bound after 10, 20, 50, 100, …
fn next_bound(bound: u64) -> u64 {
    let leading = bound / 10_u64.pow(bound.ilog10());
    if leading == 2 { bound / 2 * 5 } else { bound * 2 }
}

/// An amount in at most five characters and a prefix.
pub(crate) fn amount(value: f64) -> String {
    match value {
        1e9.. => format!("{:.2}G", value / 1e9),
        1e6.. => format!("{:.2}M", value / 1e6),
        1e4.. => format!("{:.1}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// Nanoseconds in at most four digits and a unit.
pub(crate) fn time(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..10_000 => format!("{:.2}µs", value / 1e3),
        10_000..1_000_000 => format!("{:.1}µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}ms", value / 1e6),
        _ => format!("{:.2}s", value / 1e9),
    }
}

/// A time for people.
pub(crate) fn duration(time_of: Duration) -> String {
    time(time_of.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            title: String::new(),
            goal: Goal::Count(4),
            workers: 2,
            pin: false,
            seed: 9,
            size: 16,
            rate: 0.0,
            window: None,
        }
    }

    fn record(latency: Option<Histogram<u64>>) -> Record {
        let params = Params::from([("sample", 16.into())]);
        let outcome = Outcome { msgs: 4_000_000, time: Duration::from_secs(2), latency, params };
        Record::new("pingpong", "trips", &plan(), outcome)
    }

    #[test]
    fn json_has_its_keys_in_their_order() {
        let mut histogram = crate::sample::histogram();
        histogram.record_n(250, 99).unwrap();
        histogram.record(700).unwrap();
        assert_eq!(
            record(Some(histogram)).json(),
            r#"{"workload":"pingpong","params":{"n":4,"pin":false,"sample":16,"seed":9,"size":16,"workers":2},"#
                .to_owned()
                + r#""msgs":4000000,"secs":2.0,"msgs_per_s":2000000.0,"#
                + r#""p50_ns":250,"p90_ns":250,"p99_ns":250,"p999_ns":700,"max_ns":700}"#
        );
        let json = record(Some(crate::sample::histogram())).json();
        assert!(json.ends_with(r#""p50_ns":null,"p90_ns":null,"p99_ns":null,"p999_ns":null,"max_ns":null}"#));
    }

    #[test]
    fn the_table_has_a_dash_where_nothing_was_measured() {
        assert_eq!(
            table(&[record(None)]),
            "workload                   rate       p50       p90       p99     p99.9       max\n\
             pingpong          2.00M trips/s         -         -         -         -         -\n"
        );
    }

    #[test]
    fn bars_show_every_value_once() {
        let mut histogram = crate::sample::histogram();
        histogram.record_n(150, 750).unwrap();
        histogram.record_n(499, 249).unwrap();
        histogram.record_n(3_000, 1).unwrap();
        assert_eq!(
            bars(&histogram),
            "   < 200ns   75.000 % ██████████████████████████████\n   \
                < 500ns   24.900 % ██████████\n  \
               < 1.00µs    0.000 %\n  \
               < 2.00µs    0.000 %\n  \
               < 5.00µs    0.100 % ·\n"
        );
        histogram.record(30_000_000_000).unwrap();
        let text = bars(&histogram);
        assert_eq!(text.lines().count(), BAR_ROWS + 1, "{text}");
        assert!(text.ends_with("\n ≥ 500.0µs    0.100 % ·\n"), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        let amounts = [0.0, 99.94, 123.4, 9_999.0, 74_230.0, 3.49e6, 2e9].map(amount);
        assert_eq!(amounts, ["0.0", "99.9", "123", "9999", "74.2k", "3.49M", "2.00G"]);
        let times = [999, 1_336, 57_120, 804_900, 7_900_000, 2_500_000_000].map(time);
        assert_eq!(times, ["999ns", "1.34µs", "57.1µs", "804.9µs", "7.90ms", "2.50s"]);
    }
}
