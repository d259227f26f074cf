use crate::harness::{AT, Fifo, Folder};

#[test]
fn a_plan_as_a_comment_has_its_marker_its_counts_and_what_the_terminal_shows() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let page = folder.ask(&fifo, &["plan", "--at", AT, "--format", "markdown"]).code(0).out;
    assert!(
        page.starts_with(
            "<!-- fifo-retain plan -->\n**Plan: 5 to create, 9 to delete locally; 4 up to date, 1 waiting, 2 \
             blocked, 3 unprotected.**\n"
        ),
        "{page}"
    );
    let (open, folded) = page.split_once("<details>").unwrap();
    for line in [
        "\n| mail-1 `48085698` | grandfather | delete locally | daily of 2026-11-20 01:01 | no longer needed as a parent |\n",
        " | delete locally | failed daily of 2026-11-22 01:01 | once the new weekly is complete |\n",
        "\n| build-1 `ec0f77be` | grandfather | waiting | a weekly has been uploading since",
        "\n| app-2 `f77752ff` | grandfather | **blocked** | on no hypervisor (stored); ",
    ] {
        assert!(open.contains(line), "{line} is not in\n{open}");
    }
    assert_eq!(open.matches("| delete locally |").count(), 9, "no delete is folded away:\n{page}");
    assert!(
        folded.contains("| unprotected | matches no policy |") && folded.contains("| up to date |"),
        "{folded}"
    );
    assert!(!page.contains("left out"), "{page}");
}

#[test]
fn a_small_comment_counts_what_it_leaves_out() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    for max_bytes in ["1536", "2500", "4000"] {
        let arguments = ["plan", "--at", AT, "--format", "markdown", "--max-bytes", max_bytes];
        let page = folder.ask(&fifo, &arguments).code(0).out;
        assert!(page.len() <= max_bytes.parse().unwrap(), "{} bytes:\n{page}", page.len());
        assert!(page.contains(&format!("\n**{max_bytes} bytes do not hold all of it: ")), "{page}");
        assert!(page.contains("Every VM with every note and UUID (15 VMs): left out here"), "{page}");
    }
}

#[test]
fn a_diff_on_the_page_is_what_the_text_shows_and_gives_way_to_everything_else() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let ask =
        |args: &[&str]| folder.ask(&fifo, &[&["plan", "--at", AT, "--diff"], args].concat()).code(0).out;
    let text = ask(&[]);
    let diff = text.split("\n\n").nth(1).unwrap();
    assert!(diff.starts_with("--- ") && diff.contains("\n+daily "), "{text}");
    let page = ask(&["--format", "markdown"]);
    let open = "\n<details><summary>Actual against desired backups</summary>\n\n```diff\n";
    assert!(page.contains(&format!("{open}{diff}\n```\n\n</details>\n")), "{page}");
    let short = ask(&["--format", "markdown", "--max-bytes", "3000"]);
    assert!(!short.contains("```diff") && short.contains("Actual against desired backups: … "), "{short}");
}
