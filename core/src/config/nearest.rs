//! Names the option that was probably meant.

use super::input::shown;
use super::options::{KAFKA, OPTIONS};
use crate::error::{Error, ErrorKind};

/// What other clients call an option of ours, too far away in spelling to be found by it.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("bootstrapServers", "brokers"),
    ("bootstrap.servers", "brokers"),
    ("requestTimeout", "publishTimeoutMs"),
    ("sasl.user", "sasl.username"),
    ("ssl.rejectUnauthorized", "kafka.enable.ssl.certificate.verification"),
    ("ssl.passphrase", "kafka.ssl.key.password"),
];

/// Objects that hold options and are none themselves.
const PARENTS: &[&str] = &["sasl", "retry", "kafka"];

/// The error for a name that no option has.
pub(super) fn unknown(key: &str) -> Error {
    let error = Error::new(ErrorKind::Config, format!("there is no option {}", shown(key))).with("option", shown(key));
    let bare = key.trim_end_matches('.');
    let parent = if PARENTS.contains(&bare) { bare } else { split(key).0 };
    if parent != bare
        && let Some(nearest) = nearest(key)
    {
        return error.hint(format!("did you mean {nearest}?"));
    }
    let inside: Vec<_> = keys().filter(|known| !parent.is_empty() && split(known).0 == parent).collect();
    let known = if inside.is_empty() { keys().collect() } else { inside };
    error.hint(format!("the options are {}; other properties of librdkafka go below kafka", known.join(", ")))
}

fn keys() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.key)
}

/// The option nearest in spelling, when no more than a third of it differs.
fn nearest(key: &str) -> Option<&'static str> {
    if let Some((_, ours)) = OTHER_NAMES.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(key)) {
        return Some(ours);
    }
    let (parent, name) = split(key);
    keys()
        .filter(|known| !known.starts_with(KAFKA))
        .chain(PARENTS.iter().copied())
        .filter_map(|known| {
            let (known_parent, known_name) = split(known);
            // Inside an object only the part behind the dot can be misspelt.
            let (a, b) = if parent == known_parent { (name, known_name) } else { (key, known) };
            let differs = distance(a, b);
            (differs * 3 <= a.chars().count().max(b.chars().count())).then_some((differs, known))
        })
        .min_by_key(|(differs, _)| *differs)
        .map(|(_, known)| known)
}

fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or(("", key))
}

/// How many characters must be added, dropped, changed or swapped with their neighbour, case aside.
fn distance(a: &str, b: &str) -> usize {
    // Nothing longer than twice the longest option can be near to one.
    let letters = |text: &str| text.chars().take(64).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_mistakes() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "ABC", 0),
            ("abc", "acb", 1),
            ("abc", "ab", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn misspelt_names_are_found() {
        for (wrong, meant) in [
            ("broker", Some("brokers")),
            ("clientID", Some("clientId")),
            ("grupId", Some("groupId")),
            ("maxInflightByte", Some("maxInFlightBytes")),
            ("publishTimeout", Some("publishTimeoutMs")),
            ("connectionTimeout", Some("connectTimeoutMs")),
            ("autoCreateTopic", Some("autoCreateTopics")),
            ("sasl.usrename", Some("sasl.username")),
            ("sasl.pasword", Some("sasl.password")),
            ("sasl.User", Some("sasl.username")),
            ("ssl.crt", Some("ssl.cert")),
            ("sssl", Some("ssl")),
            ("sals", Some("sasl")),
            ("kafak", Some("kafka")),
            ("ssl.rejectUnauthorized", Some("kafka.enable.ssl.certificate.verification")),
            ("bootstrapServers", Some("brokers")),
            ("ssl.pem", None),
            ("logger", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong), meant, "{wrong}");
        }
    }
}
