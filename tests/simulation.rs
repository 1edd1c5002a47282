//! Many simulated clusters, each from one seed; see `skyharbor::sim`. `SEEDS=1000..2000` chooses the seeds.
#![cfg(feature = "sim")]

use skyharbor::sim::run;
use std::ops::Range;

#[test]
fn seeds() {
    let seeds = std::env::var("SEEDS").unwrap_or_else(|_| "200..400".to_owned());
    for seed in range(&seeds).expect("SEEDS is like 1000..2000") {
        println!("seed {seed}: {:?}", run(seed));
    }
}

fn range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

#[test]
fn ranges_are_read() {
    assert_eq!(range("3..7"), Some(3..7));
    assert_eq!((range("3"), range("a..b")), (None, None));
}
