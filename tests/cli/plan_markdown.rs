use crate::harness::{AT, Fifo, Folder};

#[test]
fn a_plan_as_a_comment_has_its_marker_its_counts_and_its_deletes_first() {
    let ended =
        Folder::new().ask(&Fifo::standing_still(), &["plan", "--at", AT, "--format", "markdown"]).code(0);
    let page = ended.out;
    assert!(
        page.starts_with(
            "<!-- fifo-retain plan -->\n**Plan: 5 to create, 9 to delete locally; 4 up to date, 1 waiting, 2 \
             blocked, 3 unprotected.**\n"
        ),
        "{page}"
    );
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in\n{page}"));
    let deletes = place("### 9 snapshots to delete locally\n");
    assert!(place("| mail-1 `48085698` | grandfather | daily of 2026-11-20 01:01 (") > deletes);
    assert!(place("| app-1 `736b610c` | grandfather | failed daily of 2026-11-22 01:01 (") > deletes);
    let folded = place("<details>");
    assert!(page[..folded].contains("| db-1 "), "no delete is folded away");
    assert!(place("<summary>5 to create</summary>") > folded);
    assert!(place("| build-1 `ec0f77be` | grandfather | waiting | a weekly has been uploading") > folded);
    assert!(place("| app-2 `f77752ff` | grandfather | **blocked** | on no hypervisor (stored); ") > folded);
    assert!(place("<summary>3 VMs in no policy</summary>") > folded);
    assert!(!page.contains("Left out"), "{page}");
}

#[test]
fn a_small_comment_counts_what_it_leaves_out() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    for max_bytes in ["1536", "2000", "2500", "4000"] {
        let arguments = ["plan", "--at", AT, "--format", "markdown", "--max-bytes", max_bytes];
        let page = folder.ask(&fifo, &arguments).code(0).out;
        assert!(page.len() <= max_bytes.parse().unwrap(), "{} bytes:\n{page}", page.len());
        assert!(page.contains("\n**Left out, for ") || max_bytes == "4000", "{page}");
    }
    let page =
        folder.ask(&fifo, &["plan", "--at", AT, "--format", "markdown", "--max-bytes", "1536"]).code(0).out;
    let counted =
        "\n**9 deletes are only counted here, by policy and tier: there is no room to list them.**\n";
    assert!(page.contains("- **grandfather, daily (") || page.contains(counted), "{page}");
}

#[test]
fn a_size_that_holds_nothing_and_a_size_for_what_is_never_cut_are_wrong_usage() {
    let folder = Folder::new();
    let ended = folder.run(&["plan", "--format", "markdown", "--max-bytes", "1535"]).code(64);
    assert!(ended.err.contains("at least 1536 are needed"), "{}", ended.err);
    let ended = folder.run(&["plan", "--max-bytes", "9000"]).code(64);
    assert!(ended.err.contains("--max-bytes is for --format markdown"), "{}", ended.err);
    let ended = folder.run(&["plan", "--format", "json", "--diff"]).code(64);
    assert!(ended.err.contains("--diff is for people: it does not go with --format json"), "{}", ended.err);
}

#[test]
fn a_diff_on_the_page_is_what_the_text_shows_and_gives_way_to_everything_else() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let ask =
        |args: &[&str]| folder.ask(&fifo, &[&["plan", "--at", AT, "--diff"], args].concat()).code(0).out;
    let text = ask(&[]);
    let diff = text.split_once("\n\n").unwrap().0;
    assert!(diff.starts_with("--- ") && diff.contains("\n+daily "), "{text}");
    let page = ask(&["--format", "markdown"]);
    let open = "\n<details><summary>Actual against desired backups</summary>\n\n```diff\n";
    assert!(page.ends_with(&format!("{open}{diff}\n```\n\n</details>\n")), "{page}");
    let short = ask(&["--format", "markdown", "--max-bytes", "1536"]);
    assert!(!short.contains("```diff") && short.contains(" lines of the diff.**\n"), "{short}");
}
