//! The tables of the README are those of the code. `UPDATE_DOCS=1 cargo test -p i-event-bus docs` writes the options anew.

use std::fs;
use std::path::PathBuf;

use event_bus::{ConfigOption, DEAD_LETTER_HEADERS, ErrorKind, HealthCode, OPTIONS, OptionType};

const OPTIONS_BEGIN: &str = "<!-- options: kept by core/tests/integration/docs.rs -->\n";
const OPTIONS_END: &str = "<!-- /options -->";

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

/// What lies between two markers.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("the README has no {begin}"));
    rest.split_once(end).unwrap_or_else(|| panic!("the README has no {end} behind {begin}")).0
}

fn values(option: &ConfigOption) -> String {
    match option.kind {
        OptionType::Text => "text".into(),
        OptionType::List => "list of texts".into(),
        OptionType::Pem => "PEM text".into(),
        OptionType::Boolean => "boolean".into(),
        OptionType::Choice(all) => all.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", "),
        OptionType::Integer { min, max } => format!("{min}–{max} {}", option.unit).trim_end().to_owned(),
        OptionType::Properties => "text, number, boolean".into(),
        other => panic!("a new type of options needs a name here: {other:?}"),
    }
}

fn options() -> String {
    let mut table = String::from("| option | values | default | what for |\n|---|---|---|---|\n");
    for option in OPTIONS {
        let default = if option.default.is_empty() { "–".to_owned() } else { format!("`{}`", option.default) };
        let env = option.env.map_or_else(String::new, |name| format!(" From the environment: `{name}`."));
        let row = [format!("`{}`", option.key), values(option), default, format!("{}{env}", option.doc)];
        table += &format!("| {} |\n", row.join(" | "));
    }
    table
}

#[test]
fn the_readme_shows_the_table_of_options() {
    let text = fs::read_to_string(readme()).unwrap();
    let shown = between(&text, OPTIONS_BEGIN, OPTIONS_END);
    let wanted = options();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let around = (format!("{OPTIONS_BEGIN}{shown}{OPTIONS_END}"), format!("{OPTIONS_BEGIN}{wanted}{OPTIONS_END}"));
        fs::write(readme(), text.replace(&around.0, &around.1)).unwrap();
        return;
    }
    assert_eq!(shown, wanted, "write it anew: UPDATE_DOCS=1 cargo test -p i-event-bus --features embedded docs");
}

#[test]
fn the_readme_explains_every_kind_of_error() {
    let text = fs::read_to_string(readme()).unwrap();
    let rows: Vec<_> = between(&text, "<!-- errors: kept by core/tests/integration/docs.rs -->\n", "<!-- /errors -->")
        .lines()
        .skip(2)
        .collect();
    assert_eq!(rows.len(), ErrorKind::ALL.len());
    for (row, kind) in rows.iter().zip(ErrorKind::ALL) {
        let retryable = if kind.is_retryable() { "yes" } else { "no" };
        let begin = format!("| `{}` | `{}` | {retryable} | ", kind.code(), kind.js_class());
        let when = row.strip_prefix(&begin).unwrap_or_else(|| panic!("{row}\ndoes not begin with\n{begin}"));
        assert!(when.len() > 10, "{row}: say when it comes");
    }
}

#[test]
fn the_readme_shows_the_headers_of_dead_letters() {
    let text = fs::read_to_string(readme()).unwrap();
    let begin = "<!-- dead-letter headers: kept by core/tests/integration/docs.rs -->\n";
    let shown = between(&text, begin, "<!-- /dead-letter headers -->");
    let rows: String = DEAD_LETTER_HEADERS.iter().map(|(name, doc)| format!("| `{name}` | {doc} |\n")).collect();
    assert_eq!(shown, format!("| header | what it holds |\n|---|---|\n{rows}"));
}

#[test]
fn the_readme_and_the_types_know_every_reason_of_health() {
    let text = fs::read_to_string(readme()).unwrap();
    let rows: Vec<_> = between(&text, "<!-- health: kept by core/tests/integration/docs.rs -->\n", "<!-- /health -->")
        .lines()
        .skip(2)
        .collect();
    assert_eq!(rows.len(), HealthCode::ALL.len());
    let types = fs::read_to_string(readme().with_file_name("bindings-node/ts/health.ts")).unwrap();
    for (row, code) in rows.iter().zip(HealthCode::ALL) {
        let word = |yes| if yes { "yes" } else { "no" };
        let begin = format!("| `{}` | {} | {} | ", code.as_str(), word(code.is_live()), word(code.is_ready()));
        let when = row.strip_prefix(&begin).unwrap_or_else(|| panic!("{row}\ndoes not begin with\n{begin}"));
        assert!(when.len() > 10, "{row}: say when it comes, and what to do");
        assert!(types.contains(&format!("  | '{}'", code.as_str())), "{} is no HealthCode", code.as_str());
    }
}
