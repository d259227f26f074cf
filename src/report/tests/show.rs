use super::*;
use crate::report::layout::width;

fn text(detail: Detail, columns: usize) -> String {
    let doc = crate::report::show::document(&explained("web-1", "by hand"), None, None, detail);
    text_of(&doc, columns, detail, Styles::plain())
}

#[test]
fn a_backup_is_a_line_of_a_tree() {
    insta::assert_snapshot!(text(Detail::Usual, 120), @"");
    assert!(text(Detail::Usual, 60).lines().all(|line| width(line) <= 60 || line.starts_with("Shown: ")));
}

#[test]
fn in_full_it_says_why_each_is_kept_and_until_when() {
    insta::assert_snapshot!(text(Detail::Full, 120), @"");
}

#[test]
fn no_line_is_wider_than_the_terminal_however_deep_the_chain_and_no_word_is_lost() {
    let mut deep = explained("データ👩‍👩‍👧é\u{301}-1", &"日次".repeat(40));
    for n in 0..30 {
        let mut next = deep.vms[0].backups[3].clone();
        next.depth = 1 + n;
        deep.vms[0].backups.push(next);
    }
    let written = |columns| {
        let doc = crate::report::show::document(&deep, None, None, Detail::Full);
        text_of(&doc, columns, Detail::Full, Styles::plain())
    };
    let letters = |text: &str| {
        let mut letters: Vec<char> =
            text.chars().filter(|letter| !letter.is_whitespace() && !"│├└…".contains(*letter)).collect();
        letters.sort_unstable();
        letters
    };
    let wide = letters(&written(1_000));
    for columns in [100, 120, 140, 200] {
        let text = written(columns);
        for line in text.lines().filter(|line| !line.starts_with("Shown: ")) {
            assert!(width(line) <= columns, "{columns}: {line}");
        }
        assert_eq!(letters(&text), wide, "at {columns} columns");
    }
}
