//! Patterns of aliases: one kind for policies and the command line.

use crate::inventory::VmId;
use regex_lite::Regex;
use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

const DEPTH_MAX: usize = 32;

/// An alias pattern: `*`, `?`, `[…]`, `[!…]`, `{a,b}` and `\`, over the whole alias, by characters; case-sensitive.
///
/// Where a VM is looked for, a pattern that is a UUID, in upper or lower case, means the VM of that UUID.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    id: Option<VmId>,
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong, such as a bracket that is left open.
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = Regex::new(&regex_of(text)?).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), id: text.parse().ok(), regex })
    }

    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Says whether a VM is meant, by what is known of it.
    pub fn means(&self, id: Option<VmId>, alias: &str) -> bool {
        if self.id.is_some() { self.id == id } else { self.matches(alias) }
    }
}

fn regex_of(text: &str) -> Result<String, String> {
    let mut regex = r"(?s)\A".to_owned();
    let mut depth: usize = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // One after the other they would only make the expression longer.
            '*' if regex.ends_with(".*") => {}
            '*' => regex += ".*",
            '?' => regex.push('.'),
            '[' => regex += &class(&mut chars)?,
            '\\' => regex += &literal(chars.next().ok_or("dangling '\\'")?),
            '{' if depth == DEPTH_MAX => {
                return Err(format!("braces within braces more than {DEPTH_MAX} deep"));
            }
            '{' => {
                depth += 1;
                regex += "(?:";
            }
            ',' if depth > 0 => regex.push('|'),
            '}' => {
                let unopened = "unopened alternate group; missing '{' (maybe escape '}' with '[}]'?)";
                depth = depth.checked_sub(1).ok_or(unopened)?;
                regex.push(')');
            }
            c => regex += &literal(c),
        }
    }
    match depth {
        0 => Ok(regex + r"\z"),
        _ => Err("unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)".to_owned()),
    }
}

fn literal(c: char) -> String {
    regex_lite::escape(c.encode_utf8(&mut [0; 4]))
}

fn class(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let is_outside = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let begin = if is_outside { "[^" } else { "[" };
    let mut class = begin.to_owned();
    loop {
        let from = chars.next().ok_or("unclosed character class; missing ']'")?;
        if from == ']' && class != begin {
            return Ok(class + "]");
        }
        let mut ahead = chars.clone();
        let to = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                *chars = ahead;
                to
            }
            _ => from,
        };
        if from > to {
            return Err(format!("invalid range; '{from}' > '{to}'"));
        }
        class += &format!(r"\x{{{:x}}}-\x{{{:x}}}", u32::from(from), u32::from(to));
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_go_by_characters_over_the_whole_text() {
        let cases: [(&str, &[&str], &[&str]); 16] = [
            ("web-1", &["web-1"], &["web-10", "Web-1", "my-web-1", ""]),
            ("web-*", &["web-", "web-1", "web-a/b", "web-ü"], &["my-web-1", "web"]),
            ("*-scratch", &["a-scratch", "-scratch", "a-scratch-scratch"], &["scratch", "a-scratch-1"]),
            ("b?ro-1", &["büro-1", "baro-1", "b日ro-1"], &["bro-1", "baaro-1"]),
            ("b??ro-1", &["baaro-1"], &["büro-1"]),
            ("b[ü]ro", &["büro"], &["buro", "b\u{c3}ro"]),
            ("[ä-ü]", &["ö", "é"], &["z", "ä-ü"]),
            ("[!ü]", &["u"], &["ü", "", "uu"]),
            ("[^a-c]x", &["dx"], &["ax", "x"]),
            ("[]a]-[a-]", &["]-a", "a--"], &["b-a", "]-b"]),
            ("{web,db-{a,b}}-?", &["web-1", "db-a-1", "db-b-2"], &["db-1", "web-db-a-1", "{web-1"]),
            ("a{,-b}c", &["ac", "a-bc"], &["a-b", "abc"]),
            ("{*,x}y", &["y", "aby", "xy"], &["yx"]),
            (r"\*[*]", &["**"], &["a*", r"\**"]),
            ("a,b", &["a,b"], &["a", "b"]),
            ("**", &["", "any/thing"], &[]),
        ];
        for (pattern, fitting, others) in cases {
            let read = Pattern::new(pattern).unwrap();
            fitting.iter().for_each(|text| assert!(read.matches(text), "{pattern} {text}"));
            others.iter().for_each(|text| assert!(!read.matches(text), "{pattern} {text}"));
        }
    }

    #[test]
    fn a_pattern_that_has_no_end_is_refused_with_what_is_missing() {
        for (pattern, missing) in [
            ("web-[1", "']'"),
            ("[]", "']'"),
            ("{a", "'}'"),
            ("a}", "'{'"),
            ("a\\", "'\\'"),
            ("[z-a]", "'z' > 'a'"),
        ] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(missing), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let pattern = Pattern::new(&("*a".repeat(200) + "b")).unwrap();
        assert!(!pattern.matches(&"a".repeat(2_000)));
        assert!(Pattern::new(&"*".repeat(100_000)).unwrap().matches("a"));
        let pattern = Pattern::new(&("{a,aa,*a}".repeat(200) + "b")).unwrap();
        assert!(!pattern.matches(&"a".repeat(2_000)));
        let deep = |depth| "{a,".repeat(depth) + "b" + &"}".repeat(depth);
        assert!(Pattern::new(&deep(32)).unwrap().matches("b"));
        assert!(Pattern::new(&deep(100_000)).unwrap_err().contains("more than 32 deep"));
    }

    #[test]
    fn a_uuid_means_the_vm_of_that_uuid_in_any_case() {
        let id: VmId = "4fa44310-0000-4000-8000-00000000000a".parse().unwrap();
        let upper = Pattern::new("4FA44310-0000-4000-8000-00000000000A").unwrap();
        assert!(upper.means(Some(id), "db-1") && !upper.means(None, &id.to_string()));
        let alias = Pattern::new("db-*").unwrap();
        assert!(alias.means(None, "db-1") && !alias.means(Some(id), "web-1"));
    }
}
