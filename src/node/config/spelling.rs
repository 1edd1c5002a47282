//! "Did you mean …": the known key that a wrong one probably stands for.

/// Other words for a key.
const SYNONYMS: [(&str, &str); 12] = [
    ("id", "harbor"),
    ("harbor_id", "harbor"),
    ("listen", "bind"),
    ("advertise", "address"),
    ("workers", "thread"),
    ("worker", "thread"),
    ("affinity", "pin"),
    ("log", "logger"),
    ("log_file", "logger"),
    ("log_level", "logger_level"),
    ("socket", "control"),
    ("deadline", "default_deadline"),
];

/// The known key nearest to `key`: at most two single-letter edits away, or another word for it.
pub(super) fn suggestion(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    if let Some((_, meant)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == key) {
        return Some(meant);
    }
    let edits_max = if key.len() <= 4 { 1 } else { 2 };
    known
        .iter()
        .map(|known| (edits(&key, known), *known))
        .filter(|(edits, _)| *edits <= edits_max)
        .min()
        .map(|(_, known)| known)
}

/// The edit distance of Levenshtein, bytewise. Long texts are far from every key.
fn edits(one: &str, other: &str) -> usize {
    const LEN_MAX: usize = 32;
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() > LEN_MAX || other.len() > LEN_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, &letter) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (left, &other_letter) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other_letter);
            diagonal = row[left + 1];
            row[left + 1] = replaced.min(row[left] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (one, other, count) in [
            ("", "", 0),
            ("harbor", "harbour", 1),
            ("adress", "address", 1),
            ("pin", "bind", 2),
            ("abc", "", 3),
        ] {
            assert_eq!(edits(one, other), count, "{one} {other}");
            assert_eq!(edits(other, one), count, "{other} {one}");
        }
    }

    #[test]
    fn the_nearest_key_is_suggested_or_none() {
        let known = ["harbor", "address", "thread", "pin", "bind"];
        assert_eq!(suggestion("harbour", &known), Some("harbor"));
        assert_eq!(suggestion("Threads", &known), Some("thread"));
        assert_eq!(suggestion("log", &known), Some("logger"));
        assert_eq!(suggestion("db_host", &known), None);
        assert_eq!(suggestion(&"x".repeat(100_000), &known), None);
    }
}
