use super::*;
use crate::report::layout::width;

fn text(detail: Detail, columns: usize) -> String {
    let doc = crate::report::show::document(&explained("web-1", "by hand"), None, None, detail, None);
    text_of(&doc, columns, detail, Styles::Plain)
}

#[test]
fn a_backup_is_a_line_of_a_tree_and_in_full_it_says_why_each_is_kept_and_until_when() {
    let full = text(Detail::Full, 120);
    insta::assert_snapshot!(full, @r#"
    web-1  4fa44310-0000-0000-0000-000000000000  grandfather
      ! blocked  cannot be backed up while its state is "frozen"
        backup                             UUID      type     size  local          to restore               stored
      = monthly 2026-11-01 01:00           00000001  full  1.0 GiB                 1 backup, 3.0 GiB
      │ UUID: 00000001-0000-0000-0000-000000000000
      │ stored: one of the 7 newest of its tier, until 2 more of them can be restored
      ├ = weekly 2026-11-08 01:00          00000008  incr  1.0 GiB  1.0 MiB, goes  2 backups, size unknown
      │ │ UUID: 00000008-0000-0000-0000-000000000000
      │ │ restore: fetches nothing while its snapshot is there
      │ │ local: parent of the next weekly, until a newer backup can be that
      │ │ local: goes once the new backup, which is due, is complete and checked
      │ │ stored: one of the 7 newest of its tier, until 2 more of them can be restored
      │ └ ! failed daily 2026-11-09 01:00  00000009  incr  1.0 GiB                 impossible               expired
      │     UUID: 00000009-0000-0000-0000-000000000000
      │     stored: expired: not deleted yet
      └ = daily 2026-11-10 01:00           0000000a  incr  1.0 GiB                 2 backups, 3.0 GiB
          UUID: 0000000a-0000-0000-0000-000000000000
          stored: one of the 7 newest of its tier, until 2 more of them can be restored
        backup "by hand" 2026-11-10 01:00  0000000a  full  1.0 GiB                 1 backup, 3.0 GiB
        UUID: 0000000a-0000-0000-0000-000000000000
        stored: it matches no tier of its policy: it stays

    FiFo: https://fifo.example.com. Times: Europe/Berlin.
    Shown: 5 backups on 1 VM, 5.0 GiB stored; 1 snapshot local, 1.0 MiB of quota.
    "#);
    let usual = text(Detail::Usual, 120);
    assert!(
        usual.lines().all(|line| full.lines().any(|it| it == line)) && !usual.contains("UUID: "),
        "{usual}"
    );
    assert_eq!(usual.lines().count(), 11, "a line a backup:\n{usual}");
    assert!(text(Detail::Usual, 60).lines().all(|line| width(line) <= 60 || line.starts_with("Shown: ")));
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
        let doc = crate::report::show::document(&deep, None, None, Detail::Full, None);
        text_of(&doc, columns, Detail::Full, Styles::Plain)
    };
    let wide = letters(&written(1_000));
    for columns in [120, 132, 200] {
        let text = written(columns);
        for line in text.lines().filter(|line| !line.starts_with("Shown: ")) {
            assert!(width(line) <= columns, "{columns}: {line}");
        }
        assert_eq!(letters(&text), wide, "at {columns} columns");
    }
}
