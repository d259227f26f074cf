use crate::harness::{Folder, GRANDFATHER};

const BROKEN: &str = "version: 1\npolicy: broken\nselect: { all: true }\ntier: []\n";

#[test]
fn every_mistake_of_every_file_is_reported() {
    let folder = Folder::new();
    folder.write("policies/broken.yaml", BROKEN);
    folder.write("policies/second.yaml", "version: 2\n");
    let ended = folder.run(&["validate"]).code(1);
    assert!(ended.out.contains("policies/broken.yaml:4:1\n"), "{}", ended.out);
    assert!(ended.out.contains("did you mean `tiers`?"), "{}", ended.out);
    assert!(ended.out.contains("policies/second.yaml:1:10\n"), "{}", ended.out);
    assert!(ended.last_line().ends_with(" mistakes in 2 files"), "{}", ended.out);
}

#[test]
fn github_gets_annotations() {
    let folder = Folder::new();
    folder.write("policies/broken.yaml", BROKEN);
    let ended = folder.run(&["--format", "github", "validate"]).code(1);
    assert!(ended.out.contains("::error file=policies/broken.yaml,line=4,col=1::"), "{}", ended.out);
}

#[test]
fn programs_get_json_and_nothing_else() {
    let folder = Folder::new();
    folder.write("policies/broken.yaml", BROKEN);
    let ended = folder.run(&["validate", "--format", "json"]).code(1);
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["format"], "fifo-retain.validate/1");
    let finding = &report["findings"][0];
    assert_eq!((&finding["severity"], &finding["file"]), (&"error".into(), &"policies/broken.yaml".into()));
    assert_eq!((&finding["line"], &finding["column"]), (&4.into(), &1.into()));
    assert!(finding["message"].as_str().unwrap().contains("`tiers`"));
}

#[test]
fn paths_go_before_the_option_and_that_before_the_environment() {
    let folder = Folder::new();
    folder.write("policies/broken.yaml", BROKEN);
    folder.write("good/one.yaml", GRANDFATHER);
    let other = folder.write("other/two.yaml", &GRANDFATHER.replace("grandfather", "other"));
    let other = other.to_str().unwrap();
    folder.run(&["validate"]).code(1);
    folder.run(&["validate", "good"]).code(0);
    folder.run(&["-p", "policies", "validate", "good"]).code(0);
    folder.run(&["-p", "good", "validate"]).code(0);
    let mut command = folder.command(&["validate"]);
    command.env("FIFO_RETAIN_POLICIES", format!("good:{other}"));
    let ended = crate::harness::Ended::of(command).code(0);
    assert_eq!(ended.out, "2 policies in 2 files, no mistakes\n");
}

#[test]
fn a_path_that_is_not_there_is_a_mistake() {
    let ended = Folder::new().run(&["validate", "polices"]).code(1);
    assert!(ended.out.contains("polices"), "{}", ended.out);
}

#[test]
fn warnings_are_mistakes_only_with_strict() {
    let folder = Folder::new();
    // Longer than the daily's gap: a backup that hangs would hold up the next one.
    folder.write("policies/grandfather.yaml", &format!("{GRANDFATHER}stuck_after: 48h\n"));
    for (arguments, code) in [(&["validate"][..], 0), (&["validate", "--strict"], 1)] {
        let ended = folder.run(arguments).code(code);
        assert!(ended.last_line().contains("no mistakes, 1 warning"), "{}", ended.out);
    }
    let annotated = folder.run(&["--format", "github", "validate", "--strict"]).code(1);
    assert!(annotated.out.contains("::warning file=policies/grandfather.yaml"), "{}", annotated.out);
}
