//! Foreign text: aliases, comments, states, error bodies. Whatever prints passes them through here, so that they show
//! themselves and do nothing.

use std::fmt::Write as _;

/// Writes a text so that neither a terminal nor a CI system obeys it.
///
/// An alias is free text that its VM's owner chooses. Control characters, line separators and those that turn the direction
/// of text around become escapes such as `\u{1b}`. CI systems take `::` at the start of a line and `##[` or `##vso[`
/// anywhere in it as commands: a backslash breaks them. Any word may start a line, once lines are wrapped.
pub fn visible(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut starts_word = true;
    for (at, letter) in text.char_indices() {
        let rest = text.get(at..).unwrap_or_default();
        if is_acted_on(letter) {
            // Writing to a String cannot fail.
            let _ = write!(harmless, "{}", letter.escape_default());
        } else {
            if starts_word && rest.starts_with("::") {
                harmless.push('\\');
            }
            harmless.push(letter);
            if is_ci_command(rest) {
                harmless.push('\\');
            }
        }
        starts_word = letter.is_whitespace();
    }
    harmless
}

/// Says whether a text starts with a command such as `##[`, `##vso[` or `##teamcity[`.
fn is_ci_command(text: &str) -> bool {
    let name = text.strip_prefix("##").map(|rest| rest.trim_start_matches(char::is_alphanumeric));
    name.is_some_and(|rest| rest.starts_with('['))
}

/// Says whether a character controls a terminal, or shows nothing and changes how its neighbours are shown.
pub(super) fn is_acted_on(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes a text for Markdown: a VM's name neither adds markup to our comment nor mentions people.
///
/// A character that would start a mention or a reference gets a zero-width space behind it: GitHub looks for these in
/// the text that a reader sees, where an escaped character is unescaped again.
pub(super) fn markdown(text: &str) -> String {
    let text = visible(text);
    let mut escaped = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("@&#8203;"),
            '#' => escaped.push_str("#&#8203;"),
            '%' => escaped.push_str("%&#8203;"),
            '!' => escaped.push_str("\\!&#8203;"),
            '$' => escaped.push_str("&#36;"),
            // A colon makes an address a link, and a name between two of them a picture; that of a time of day stays.
            ':' if letters.peek().is_some_and(|next| !next.is_ascii_digit() && *next != ' ') => {
                escaped.push_str("&#58;");
            }
            '|' | '`' | '*' | '_' | '[' | ']' | '{' | '}' | '\\' | '~' | '^' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            _ => escaped.push(letter),
        }
    }
    // What looks like an address, or like the number of an issue, becomes a link by itself.
    let links = [("www.", "www&#46;"), ("WWW.", "WWW&#46;"), ("gh-", "gh&#8203;-"), ("GH-", "GH&#8203;-")];
    links.into_iter().fold(escaped, |text, (from, to)| text.replace(from, to))
}

/// Cuts a text that is too long, and shows by `…` that it is cut.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_or_a_ci_system_would_obey_is_written_out() {
        for (foreign, shown) in [
            ("web\u{1b}[2J\r\n1", r"web\u{1b}[2J\r\n1"),
            ("a\u{202e}b\u{9b}c\u{200b}d\u{2028}e", r"a\u{202e}b\u{9b}c\u{200b}d\u{2028}e"),
            ("データ-1 é", "データ-1 é"),
            ("::add-mask::x", r"\::add-mask::x"),
            ("a \u{a0}::stop::", "a \u{a0}\\::stop::"),
            ("fe80::1 or :: it", r"fe80::1 or \:: it"),
            ("###[group]x##vso[task]", r"##\#[group]x#\#vso[task]"),
            ("##VSO[x] # 1 ## [b]", r"#\#VSO[x] # 1 ## [b]"),
        ] {
            assert_eq!(visible(foreign), shown);
        }
    }

    #[test]
    fn in_markdown_an_alias_writes_nothing_but_itself_and_calls_nobody() {
        for (foreign, shown) in [
            ("web-1", "web-1"),
            ("a|b <img> `x` [l](http://x)\n", r"a\|b &lt;img&gt; \`x\` \[l\](http&#58;//x)\\n"),
            ("-->\n</details>", r"--&gt;\\n&lt;/details&gt;"),
            ("@ops #1 !2 %3", "@&#8203;ops #&#8203;1 \\!&#8203;2 %&#8203;3"),
            (":tada: www.x.y GH-4", "&#58;tada: www&#46;x.y GH&#8203;-4"),
            ("daily of 2026-11-21 01:00: late", "daily of 2026-11-21 01:00: late"),
        ] {
            assert_eq!(markdown(foreign), shown);
        }
        assert_eq!((cut("äöü", 2).as_str(), cut("äöü", 3).as_str()), ("äö…", "äöü"));
    }
}
