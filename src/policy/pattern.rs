//! Patterns of aliases: one kind for policies and the command line.

use crate::inventory::VmId;
use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

/// An alias pattern: `*`, `?`, `[…]`, `[!…]` and `{a,b}`, over the whole alias, by characters; case-sensitive. A backslash
/// takes the meaning from the character after it.
///
/// Where a VM is looked for, a pattern that is a UUID, in upper or lower case, means the VM of that UUID.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    id: Option<VmId>,
    steps: Vec<Step>,
}

/// A step through a pattern; after the last one is the end.
#[derive(Clone, Debug)]
enum Step {
    /// One character within these ranges, or outside of all of them.
    One { ranges: Vec<(char, char)>, is_outside: bool },
    /// Any characters, or none.
    Many,
    /// No character; it goes on with any of these steps.
    Fork(Vec<usize>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// When a bracket or brace is left open and the like; says what is wrong.
    pub fn new(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), id: text.parse().ok(), steps: steps(text)? })
    }

    /// Says whether a text fits, from its beginning to its end.
    pub fn matches(&self, text: &str) -> bool {
        let mut at = vec![false; self.steps.len() + 1];
        self.reach(0, &mut at);
        for c in text.chars() {
            let mut next = vec![false; self.steps.len() + 1];
            for (place, step) in self.steps.iter().enumerate().filter(|(place, _)| at[*place]) {
                match step {
                    Step::One { ranges, is_outside }
                        if ranges.iter().any(|&(from, to)| (from..=to).contains(&c)) != *is_outside =>
                    {
                        self.reach(place + 1, &mut next);
                    }
                    Step::Many => self.reach(place, &mut next),
                    Step::One { .. } | Step::Fork(_) => {}
                }
            }
            at = next;
        }
        at[self.steps.len()]
    }

    /// Says whether a VM is meant, by what is known of it.
    pub fn means(&self, id: Option<VmId>, alias: &str) -> bool {
        if self.id.is_some() { self.id == id } else { self.matches(alias) }
    }

    /// Notes that a step is come to, and those that are come to from there without a character.
    fn reach(&self, step: usize, at: &mut [bool]) {
        let mut steps = vec![step];
        while let Some(step) = steps.pop() {
            if !std::mem::replace(&mut at[step], true) {
                match self.steps.get(step) {
                    Some(Step::Many) => steps.push(step + 1),
                    Some(Step::Fork(to)) => steps.extend(to),
                    Some(Step::One { .. }) | None => {}
                }
            }
        }
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    // Of each brace that is open: the fork that it begins with, and the ends of its branches.
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let here = steps.len();
        let step = match (c, open.last_mut()) {
            ('*', _) => Step::Many,
            ('?', _) => Step::One { ranges: Vec::new(), is_outside: true },
            ('[', _) => class(&mut chars)?,
            ('\\', _) => one(chars.next().ok_or("dangling '\\'")?),
            ('{', _) => {
                open.push((here, Vec::new()));
                Step::Fork(vec![here + 1])
            }
            (',', Some((fork, ends))) => {
                ends.push(here);
                if let Step::Fork(branches) = &mut steps[*fork] {
                    branches.push(here + 1);
                }
                Step::Fork(Vec::new())
            }
            ('}', Some((_, ends))) => {
                ends.drain(..).for_each(|end| steps[end] = Step::Fork(vec![here]));
                open.pop();
                continue;
            }
            ('}', None) => {
                return Err("unopened alternate group; missing '{' (maybe escape '}' with '[}]'?)".to_owned());
            }
            (c, _) => one(c),
        };
        steps.push(step);
    }
    if open.is_empty() {
        Ok(steps)
    } else {
        Err("unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)".to_owned())
    }
}

fn one(c: char) -> Step {
    Step::One { ranges: vec![(c, c)], is_outside: false }
}

/// Reads a character class up to its closing bracket.
fn class(chars: &mut Peekable<Chars<'_>>) -> Result<Step, String> {
    let is_outside = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let from = chars.next().ok_or("unclosed character class; missing ']'")?;
        if from == ']' && !ranges.is_empty() {
            return Ok(Step::One { ranges, is_outside });
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

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

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
