//! What do packing and unpacking cost, by shape of the values?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use skyharbor::seri::{Table, Value, from_values, pack_into, to_values, unpack};
use std::hint::black_box;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Move {
    player: u32,
    x: f64,
    y: f64,
    state: String,
}

/// A remote call's arguments, a small record, a list of numbers, a long text.
fn shapes() -> [(&'static str, Vec<Value>); 4] {
    let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    let record = [("player", 70_001.0), ("x", 12.5), ("y", -3.25), ("speed", 0.1)];
    let record = record.iter().map(|(name, value)| (text(name), Value::Float(*value))).collect();
    let numbers = (0..256).map(|number| Value::Int(number * 31)).collect();
    [
        ("3 scalars", vec![text("add"), Value::Int(2), Value::Bool(true)]),
        ("table of 4 fields", vec![Value::Table(Table::from_pairs(record))]),
        ("array of 256 integers", vec![Value::Table(Table::from_array(numbers))]),
        ("text of 4 KiB", vec![text(&"x".repeat(4096))]),
    ]
}

fn seri(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("seri");
    let mut packed = Vec::new();
    for (name, values) in shapes() {
        packed.clear();
        pack_into(&values, &mut packed).expect("they can be packed");
        group.throughput(Throughput::Bytes(packed.len() as u64));
        group.bench_function(format!("unpack {name}"), |bench| bench.iter(|| unpack(black_box(&packed))));
        group.bench_function(format!("pack {name}"), |bench| {
            bench.iter(|| {
                packed.clear();
                pack_into(black_box(&values), &mut packed)
            });
        });
    }

    let step = Move { player: 70_001, x: 12.5, y: -3.25, state: "running".into() };
    packed.clear();
    to_values(&step, &mut packed).expect("it can be packed");
    group.throughput(Throughput::Bytes(packed.len() as u64));
    group.bench_function("unpack a struct of 4 fields", |bench| {
        bench.iter(|| from_values::<Move>(black_box(&packed)));
    });
    group.bench_function("pack a struct of 4 fields", |bench| {
        bench.iter(|| {
            packed.clear();
            to_values(black_box(&step), &mut packed)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = seri
}
criterion_main!(benches);
