//! Reads Rust just far enough: code without comments and texts, and the paths in it.

/// Where a file belongs.
pub(super) struct Place {
    /// The folder of its crate.
    pub(super) krate: String,
    /// The module under the crate's root that it belongs to.
    pub(super) room: String,
    /// How many modules deep it lies: 0 for lib.rs.
    depth: usize,
    /// Nothing in it gets into a product.
    pub(super) is_test: bool,
}

impl Place {
    /// The place of a path like `core/src/kafka/producer.rs`.
    pub(super) fn of(path: &str) -> Self {
        let (krate, inside) = path.split_once("/src/").expect("a source lies in src");
        let mut modules: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if modules.last() == Some(&"mod") {
            modules.pop();
        }
        let is_root = modules == ["lib"];
        Place {
            krate: krate.to_owned(),
            room: modules[0].to_owned(),
            depth: if is_root { 0 } else { modules.len() },
            is_test: modules.contains(&"tests"),
        }
    }
}

/// The text with comments, and what stands in string and character literals, blanked out.
pub(super) fn code(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| letters.get(at + i) == Some(&c));
    while at < letters.len() {
        let behind_word = at > 0 && is_word(letters[at - 1]);
        if starts(at, "//") {
            while at < letters.len() && letters[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    (depth, at) = (depth + 1, at + 2);
                } else if starts(at, "*/") {
                    (depth, at) = (depth - 1, at + 2);
                } else {
                    at += 1;
                }
                if depth == 0 || at >= letters.len() {
                    break;
                }
            }
            code.push(' ');
        } else if letters[at] == 'r' && !behind_or_prefix(&letters, at) && raw_hashes(&letters, at).is_some() {
            let hashes = raw_hashes(&letters, at).unwrap_or_default();
            let end = format!("\"{}", "#".repeat(hashes));
            at += 2 + hashes;
            while at < letters.len() && !starts(at, &end) {
                at += 1;
            }
            at += end.len();
            code.push_str("\"\"");
        } else if letters[at] == '"' {
            at += 1;
            while at < letters.len() && letters[at] != '"' {
                at += if letters[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
            code.push_str("\"\"");
        } else if letters[at] == '\'' && !behind_word {
            // A character ends with a quote soon; a lifetime does not.
            let end = if letters.get(at + 1) == Some(&'\\') {
                letters.iter().skip(at + 3).position(|letter| *letter == '\'').map(|found| at + 3 + found)
            } else {
                (letters.get(at + 2) == Some(&'\'')).then_some(at + 2)
            };
            match end {
                Some(end) => (at, _) = (end + 1, code.push_str("' '")),
                None => (at, _) = (at + 1, code.push('\'')),
            }
        } else {
            code.push(letters[at]);
            at += 1;
        }
    }
    code
}

/// An `r` that ends a word begins no raw string, unless the word is `br` or `cr`.
fn behind_or_prefix(letters: &[char], at: usize) -> bool {
    match at.checked_sub(1).map(|before| letters[before]) {
        Some('b' | 'c') => at > 1 && is_word(letters[at - 2]),
        Some(letter) => is_word(letter),
        None => false,
    }
}

/// How many `#` a raw string begins with, if one begins here.
fn raw_hashes(letters: &[char], at: usize) -> Option<usize> {
    let hashes = letters[at + 1..].iter().take_while(|letter| **letter == '#').count();
    (letters.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The code without items behind `#[cfg(test)]`.
pub(super) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut product = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        product.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        rest = &rest[end_of_item(rest)..];
    }
    product + rest
}

/// Behind the first `;` outside braces or the first block, whichever comes first.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    let mut is_use = false;
    for (at, letter) in code.char_indices() {
        match letter {
            '{' => {
                is_use |= depth == 0 && code[..at].trim_end().ends_with("::");
                depth += 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 && !is_use {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The words of the code.
pub(super) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter| !is_word(letter)).filter(|word| !word.is_empty())
}

/// Every path in the code, groups of imports taken apart.
pub(super) fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut tokens = tokens(code).into_iter().peekable();
    while let Some(token) = tokens.next() {
        if token.chars().all(is_word) {
            path(vec![token], &mut tokens, &mut found);
        }
    }
    found
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<String>>;

fn path(mut so_far: Vec<String>, tokens: &mut Tokens, found: &mut Vec<Vec<String>>) {
    while tokens.next_if(|token| token == "::").is_some() {
        if tokens.next_if(|token| token == "{").is_some() {
            let mut depth_ends = false;
            while !depth_ends {
                match tokens.next() {
                    Some(token) if token.chars().all(is_word) => {
                        let mut inner = so_far.clone();
                        inner.push(token);
                        path(inner, tokens, found);
                    }
                    Some(token) => depth_ends = token == "}",
                    None => return,
                }
            }
            return;
        }
        match tokens.next_if(|token| token.chars().all(is_word)) {
            Some(token) => so_far.push(token),
            None => break,
        }
    }
    found.push(so_far);
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut letters = code.chars().peekable();
    while let Some(letter) = letters.next() {
        if is_word(letter) {
            let mut word = String::from(letter);
            while let Some(next) = letters.next_if(|next| is_word(*next)) {
                word.push(next);
            }
            tokens.push(word);
        } else if letter == ':' && letters.next_if_eq(&':').is_some() {
            tokens.push("::".into());
        } else if !letter.is_whitespace() {
            tokens.push(letter.into());
        }
    }
    tokens
}

/// The first names under the crate's root that the code refers to.
pub(super) fn imports(place: &Place, product: &str) -> Vec<String> {
    let root = |path: Vec<String>| {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let skip = match path.first().map(String::as_str) {
            Some("crate") => 1,
            Some("super") if supers == place.depth => supers,
            _ => return None,
        };
        path.into_iter().nth(skip)
    };
    paths(product).into_iter().filter_map(root).collect()
}
