//! Patterns of aliases: one kind for policies and the command line.

use crate::inventory::VmId;
use std::fmt;
use std::iter::Peekable;
use std::mem::{replace, take};
use std::str::{Chars, FromStr};

const DEPTH_MAX: usize = 32;

/// An alias pattern: `*`, `?`, `[…]`, `[!…]` and `{a,b}`, over the whole alias, by characters; case-sensitive. A backslash
/// takes the meaning from the character after it.
///
/// Where a VM is looked for, a pattern that is a UUID, in upper or lower case, means the VM of that UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    id: Option<VmId>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// One character within these ranges, or outside of all of them.
    One {
        ranges: Vec<(char, char)>,
        is_outside: bool,
    },
    Many,
    Either(Vec<Vec<Part>>),
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong, such as a bracket that is left open.
    pub fn new(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), id: text.parse().ok(), parts: parts(text)? })
    }

    /// Says whether a text fits, from its beginning to its end.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let mut at = vec![false; text.len() + 1];
        at[0] = true;
        go_on(&self.parts, &text, &mut at);
        at[text.len()]
    }

    /// Says whether a VM is meant, by what is known of it.
    pub fn means(&self, id: Option<VmId>, alias: &str) -> bool {
        if self.id.is_some() { self.id == id } else { self.matches(alias) }
    }
}

/// Takes the places in a text that a pattern has matched up to, and puts those in their stead that it matches up to after
/// some more parts. All places go together, so the time is that of parts times characters, whatever the pattern.
fn go_on(parts: &[Part], text: &[char], at: &mut Vec<bool>) {
    for part in parts {
        match part {
            Part::One { ranges, is_outside } => {
                for (place, c) in text.iter().enumerate().rev() {
                    let fits = ranges.iter().any(|(from, to)| (from..=to).contains(&c)) != *is_outside;
                    at[place + 1] = at[place] && fits;
                }
                at[0] = false;
            }
            Part::Many => {
                let first = at.iter().position(|it| *it).unwrap_or(at.len());
                at[first..].fill(true);
            }
            Part::Either(branches) => {
                let before = replace(at, vec![false; text.len() + 1]);
                for branch in branches {
                    let mut after = before.clone();
                    go_on(branch, text, &mut after);
                    at.iter_mut().zip(after).for_each(|(at, after)| *at |= after);
                }
            }
        }
    }
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    // The branches before this one of the innermost open brace; and for each open brace what was read when it came.
    let mut branches: Vec<Vec<Part>> = Vec::new();
    let mut open: Vec<(Vec<Vec<Part>>, Vec<Part>)> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => parts.push(Part::Many),
            '?' => parts.push(Part::One { ranges: Vec::new(), is_outside: true }),
            '[' => parts.push(class(&mut chars)?),
            '\\' => parts.push(one(chars.next().ok_or("dangling '\\'")?)),
            '{' if open.len() == DEPTH_MAX => {
                return Err(format!("braces within braces more than {DEPTH_MAX} deep"));
            }
            '{' => open.push((take(&mut branches), take(&mut parts))),
            ',' if !open.is_empty() => branches.push(take(&mut parts)),
            '}' => {
                let (outer_branches, outer) = open
                    .pop()
                    .ok_or("unopened alternate group; missing '{' (maybe escape '}' with '[}]'?)")?;
                branches.push(replace(&mut parts, outer));
                parts.push(Part::Either(replace(&mut branches, outer_branches)));
            }
            c => parts.push(one(c)),
        }
    }
    if open.is_empty() {
        Ok(parts)
    } else {
        Err("unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)".to_owned())
    }
}

fn one(c: char) -> Part {
    Part::One { ranges: vec![(c, c)], is_outside: false }
}

fn class(chars: &mut Peekable<Chars<'_>>) -> Result<Part, String> {
    let is_outside = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let from = chars.next().ok_or("unclosed character class; missing ']'")?;
        if from == ']' && !ranges.is_empty() {
            return Ok(Part::One { ranges, is_outside });
        }
        let mut ahead = chars.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                if from > to {
                    return Err(format!("invalid range; '{from}' > '{to}'"));
                }
                *chars = ahead;
                ranges.push((from, to));
            }
            _ => ranges.push((from, from)),
        }
    }
}

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
