use crate::harness::Folder;
use clap::CommandFactory as _;
use fifo_retain::cli::args::Arguments;
use std::fs;
use std::process::{Command, Stdio};

#[allow(dead_code, reason = "its main function is for the example")]
#[path = "../../examples/manual.rs"]
mod manual;

/// Says whether a program is there to check with.
fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok()
}

#[test]
fn every_shell_has_a_script_that_knows_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.run(&["completions", shell]).code(0).out;
        for command in Arguments::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell} does not know {}", command.get_name());
        }
        assert!(script.contains("max-uploads-per-hypervisor"), "{shell}");
        let path = folder.write(&format!("script.{shell}"), &script);
        if ["bash", "zsh", "fish"].contains(&shell) && is_there(shell) {
            let checked = Command::new(shell).arg("-n").arg(path).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
    folder.run(&["completions", "tcsh"]).code(64);
}

#[test]
fn bash_completes_a_command_and_an_option() {
    if !is_there("bash") {
        return;
    }
    let folder = Folder::new();
    folder.write("script.bash", &folder.run(&["completions", "bash"]).code(0).out);
    let completed = |words: &str, last: usize| {
        let script = format!(
            "source script.bash; COMP_WORDS=({words}); COMP_CWORD={last}; \
             _fifo__retain fifo-retain \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; echo ${{COMPREPLY[@]}}"
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &script]).current_dir(folder.path(""));
        String::from_utf8(bash.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed("fifo-retain reco", 1), "reconcile");
    assert_eq!(completed("fifo-retain plan --detailed", 2), "--detailed-exitcode");
    assert_eq!(completed("fifo-retain schema p", 2), "policy plan");
}

#[test]
fn there_is_a_page_for_the_program_and_each_command() {
    let folder = Folder::new();
    manual::write(&folder.path("man1")).unwrap();
    let mut expected: Vec<String> =
        Arguments::command().get_subcommands().map(|it| format!("fifo-retain-{}.1", it.get_name())).collect();
    expected.push("fifo-retain.1".to_owned());
    expected.sort();
    let mut written: Vec<String> = fs::read_dir(folder.path("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written, expected);
    for name in &written {
        let page = folder.read(&format!("man1/{name}"));
        for part in [".TH fifo", ".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH EXTRA"] {
            assert!(page.contains(part), "{name} has no {part}");
        }
        if is_there("groff") {
            let groff = ["-man", "-Tutf8", "-ww", &format!("man1/{name}")].map(str::to_owned);
            let set = Command::new("groff").args(groff).current_dir(folder.path("")).output().unwrap();
            assert!(
                set.status.success() && set.stderr.is_empty(),
                "{}",
                String::from_utf8_lossy(&set.stderr)
            );
        }
    }
}
