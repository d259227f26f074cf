//! Text in columns: made harmless, measured as a terminal shows it, wrapped and padded.

use anstream::adapter::strip_str;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Writes control characters, and those that turn the direction of text around, as escapes such as `\u{1b}`.
///
/// An alias is free text that its VM's owner chooses. Written as it is, it could move the cursor, repaint the screen
/// or begin a line of its own, and make a plan read as another one.
pub fn visible(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_unseen(letter) {
            // Writing to a String cannot fail.
            let _ = write!(harmless, "{}", letter.escape_default());
        } else {
            harmless.push(letter);
        }
    }
    harmless
}

/// Says whether a character shows nothing and changes how its neighbours are shown.
fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns the columns that a text takes on a terminal: its colours take none.
pub(super) fn width(text: &str) -> usize {
    strip_str(text).map(UnicodeWidthStr::width).sum()
}

/// Pads a text with blanks to a number of columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Breaks a text into lines of at most so many columns: between words, and inside one only where it is longer than a
/// whole line. Nothing is left out; an empty text is one empty line.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let word_width = width(word);
        if used > 0 && used + 1 + word_width <= columns {
            push(&mut lines, " ");
            push(&mut lines, word);
            used += 1 + word_width;
            continue;
        }
        if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        if word_width <= columns {
            push(&mut lines, word);
            used = word_width;
            continue;
        }
        for letter in word.chars() {
            let letter_width = letter.width().unwrap_or(0);
            if used + letter_width > columns {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, letter.encode_utf8(&mut [0; 4]));
            used += letter_width;
        }
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(visible("web\u{1b}[2J\r\n1"), r"web\u{1b}[2J\r\n1");
        assert_eq!(visible("a\u{202e}b\u{9b}c\u{200b}d"), r"a\u{202e}b\u{9b}c\u{200b}d");
        assert_eq!(visible("データ-1 é"), "データ-1 é");
    }

    #[test]
    fn wide_letters_count_as_what_they_take() {
        assert_eq!(padded("データ", 8), "データ  ");
        assert_eq!(wrapped("データ データ", 7), ["データ", "データ"]);
    }

    #[test]
    fn words_are_broken_only_when_no_line_could_hold_them() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a abcdefghij k", 4), ["a", "abcd", "efgh", "ij k"]);
        assert_eq!(wrapped("", 10), [""]);
    }

    proptest! {
        #[test]
        fn wrapping_loses_nothing_and_keeps_the_width(text in "[a-zé世 ]{0,120}", columns in 2_usize..60) {
            let lines = wrapped(&text, columns);
            prop_assert!(lines.iter().all(|line| width(line) <= columns));
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
