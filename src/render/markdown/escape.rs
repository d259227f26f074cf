//! Text from outside, made harmless.

use crate::inventory::VmId;
use crate::render::cells::visible;

/// The longest alias shown, in characters; the UUID follows.
const ALIAS_CHARS_MAX: usize = 60;
/// The longest message shown, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// Escapes text for a table: the owner who names a VM must not be able to add markup to our comment, nor
/// to mention people.
///
/// A character that would start a mention or a reference gets a zero-width space behind it: GitHub looks for these in
/// the text that a reader sees, where an escaped character is unescaped again.
pub(in crate::render) fn escaped(text: &str) -> String {
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

/// Writes a message, its end left out with `…` where it is very long.
pub(super) fn message(text: &str) -> String {
    escaped(&cut(text, MESSAGE_CHARS_MAX))
}

/// Says which FiFo was read, as whom, and in which zone times are.
pub(super) fn origin(endpoint: &str, identity: Option<&str>, timezone: &str) -> String {
    format!("FiFo: {}. Times: {}.", fifo(endpoint, identity), escaped(timezone))
}

/// Names a FiFo and as whom it was read.
pub(super) fn fifo(endpoint: &str, identity: Option<&str>) -> String {
    let identity = identity.map_or_else(String::new, |identity| format!(" {identity}"));
    escaped(&format!("{endpoint}{identity}"))
}

/// Names a VM: its alias, and the beginning of its UUID which identifies it when others have the same alias.
pub(super) fn name(alias: &str, uuid: Option<VmId>) -> String {
    short_name(alias, uuid, ALIAS_CHARS_MAX)
}

/// Names a VM likewise, with its alias cut to a number of characters and `…`.
pub(super) fn short_name(alias: &str, uuid: Option<VmId>, chars_max: usize) -> String {
    let id = uuid.map_or_else(|| "(no UUID)".to_owned(), |id| format!("`{}`", id.short()));
    if alias.is_empty() {
        format!("(no alias) {id}")
    } else {
        format!("{} {id}", escaped(&cut(alias, chars_max)))
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    let mut letters = text.chars();
    let mut kept: String = letters.by_ref().take(chars_max).collect();
    if letters.next().is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_writes_nothing_but_itself() {
        assert_eq!(escaped("web-1"), "web-1");
        assert_eq!(
            escaped("a|b <img> `x` [l](http://x)\n"),
            r"a\|b &lt;img&gt; \`x\` \[l\](http&#58;//x)\\n"
        );
        assert_eq!(escaped("-->\n</details>"), r"--&gt;\\n&lt;/details&gt;");
    }

    #[test]
    fn nobody_is_called_and_nothing_is_referred_to() {
        assert_eq!(
            escaped("@ops #1 !2 %3 :tada: www.x.y GH-4"),
            "@&#8203;ops #&#8203;1 \\!&#8203;2 %&#8203;3 &#58;tada: www&#46;x.y GH&#8203;-4"
        );
        assert_eq!(escaped("daily of 2026-11-21 01:00: late"), "daily of 2026-11-21 01:00: late");
    }

    #[test]
    fn a_long_alias_ends_in_dots_and_keeps_its_uuid() {
        let named = name(&"デ".repeat(100), None);
        assert_eq!(named, format!("{}… (no UUID)", "デ".repeat(60)));
        assert_eq!(name("", None), "(no alias) (no UUID)");
    }
}
