//! Many simulated clusters, each from one seed; see `skyharbor::sim`.
#![cfg(feature = "sim")]

use skyharbor::sim::run;

#[test]
fn seeds() {
    let range = std::env::var("SEEDS").unwrap_or("0..200".into());
    let (a, b) = range.split_once("..").unwrap();
    for seed in a.parse::<u64>().unwrap()..b.parse().unwrap() {
        let report = run(seed);
        println!("{seed} {report:?}");
    }
}
