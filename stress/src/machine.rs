//! Facts about the machine and this process, for the line above every result.

use std::fs;

/// CPUs, load, compiler.
pub(crate) fn line() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| field(&text, "model name"));
    let load = fs::read_to_string("/proc/loadavg").ok();
    let load = load.map(|text| text.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
    let mut parts = vec![format!("{cpus} CPUs")];
    parts.extend(model);
    parts.extend(load.map(|load| format!("load {load}")));
    parts.push(env!("STRESS_RUSTC").to_owned());
    if cfg!(debug_assertions) {
        parts.push("DEBUG BUILD: its numbers say nothing".into());
    }
    parts.join(", ")
}

/// The most memory that this process ever had, in bytes; none where the system does not say.
pub(crate) fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM")
}

/// The memory that this process has now, in bytes; none where the system does not say.
pub(crate) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS")
}

fn status_bytes(name: &str) -> Option<u64> {
    kibibytes(&field(&fs::read_to_string("/proc/self/status").ok()?, name)?)
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibi| kibi * 1024)
}

/// The text behind `name` and its colon.
fn field(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let status = "Name:\tskyharbor\nVmHWM:\t   51200 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(field(status, "VmHWM").as_deref().and_then(kibibytes), Some(52_428_800));
        assert_eq!(field(status, "VmSwap"), None);
        assert_eq!(kibibytes("12 MB"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_memory_and_its_peak_is_not_less() {
        let resident = resident_bytes().unwrap();
        assert!(resident > 0 && peak_bytes().unwrap() >= resident);
    }
}
