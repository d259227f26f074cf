use crate::harness::{AT, Ended, Fifo, Folder};
use fifo_retain::sandbox::{Effect, Rule, User};

const PASSWORD: &str = "correct horse #1; battery";

/// A FiFo with a user whose password is worth keeping.
fn fifo_of_ann() -> Fifo {
    let fifo = Fifo::standing_still();
    fifo.running().with(|state| state.world.users.insert("ann".to_owned(), User::admin(PASSWORD)));
    fifo
}

fn tokens(fifo: &Fifo) -> Vec<String> {
    fifo.running().with(|state| state.world.tokens.keys().cloned().collect())
}

#[test]
fn no_secret_is_printed_at_any_verbosity() {
    let (folder, fifo) = (Folder::new(), fifo_of_ann());
    for log_format in ["text", "json"] {
        let line = ["-vvv", "--log-format", log_format, "plan", "--at", AT, "--diff", "--out", "plan.json"];
        let mut command = folder.command(&line);
        command.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_USER", "ann").env("FIFO_PASSWORD", PASSWORD);
        let ended = Ended::of(command).code(0);
        let output = ended.out + &ended.err + &folder.read("plan.json");
        let tokens = tokens(&fifo);
        assert!(!tokens.is_empty());
        for secret in tokens.iter().map(String::as_str).chain([PASSWORD, "Bearer"]) {
            assert!(!output.contains(secret), "{secret} appears in:\n{output}");
        }
    }
}

#[test]
fn a_refused_sign_in_names_the_user_and_not_the_password() {
    let (folder, fifo) = (Folder::new(), fifo_of_ann());
    let mut command = folder.command(&["-vvv", "plan"]);
    command.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_USER", "ann").env("FIFO_PASSWORD", "hunter2");
    let ended = Ended::of(command).code(1);
    assert!(ended.err.contains("refuses to sign in `ann`"), "{}", ended.err);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
}

#[test]
fn secrets_can_come_from_files() {
    let (folder, fifo) = (Folder::new(), fifo_of_ann());
    folder.write("user", "ann\n");
    folder.write("password", &format!("{PASSWORD}\r\n"));
    let mut command = folder.command(&["plan", "--at", AT]);
    command
        .env("FIFO_ENDPOINT", fifo.url())
        .env("FIFO_USER_FILE", "user")
        .env("FIFO_PASSWORD_FILE", "password");
    Ended::of(command).code(0);

    folder.write("token", &format!("{}\n", tokens(&fifo)[0]));
    let mut command = folder.command(&["plan", "--at", AT]);
    command.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_TOKEN_FILE", "token");
    Ended::of(command).code(0);
    assert_eq!(tokens(&fifo).len(), 1, "a token that is given is used as it is");

    let mut command = folder.command(&["plan", "--at", AT]);
    command.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_TOKEN_FILE", "no-such-file");
    let ended = Ended::of(command).code(1);
    assert!(ended.err.contains("error: failed to read no-such-file (FIFO_TOKEN_FILE)"), "{}", ended.err);
}

#[test]
fn the_profile_that_pyfi_keeps_is_enough() {
    let (folder, fifo) = (Folder::new(), fifo_of_ann());
    let host = fifo.url().replace("http://", "");
    let profile = format!("host = {host}\nuser = ann\npass = {PASSWORD}\napiversion = 3\ninsecure = true\n");
    folder.write(".fifo", &format!("[GENERAL]\nactive = here\n[here]\n{profile}"));
    folder.run(&["plan", "--at", AT]).code(0);

    folder.write("elsewhere", &format!("[there]\n{profile}"));
    let mut command = folder.command(&["--profile", "there", "plan", "--at", AT]);
    command.env("FIFO_CONFIG", "elsewhere");
    Ended::of(command).code(0);
    let ended = folder.run(&["--profile", "there", "plan"]).code(1);
    assert!(ended.err.contains("unknown profile `there`: expected one of here"), "{}", ended.err);
}

#[test]
fn what_goes_to_no_terminal_has_no_colour_in_it() {
    let (folder, fifo) = (Folder::new(), fifo_of_ann());
    let once = Rule::new(Effect::Answer { status: 503, retry_after_s: None, location: None }).times(1);
    fifo.running().with(|state| state.faults.rules.push(once));
    let ended = folder.ask(&fifo, &["-vv", "plan", "--at", AT]).code(0);
    assert!(ended.err.contains("debug: retrying to read the list of VMs"), "{}", ended.err);
    assert!(!ended.err.contains('\u{1b}'), "{:?}", ended.err);
}

#[test]
fn ways_that_others_can_listen_on_are_warned_about() {
    let folder = Folder::new();
    let asked = |endpoint: &str, options: &[&str]| {
        let line = [&["--timeout", "1s", "--endpoint", endpoint], options, &["plan"]].concat();
        let mut command = folder.command(&line);
        command.env("FIFO_TOKEN", "t0ken");
        Ended::of(command).code(1).err
    };
    let plain = asked("http://fifo.invalid", &[]);
    assert!(plain.contains("warning: http://fifo.invalid is plain HTTP"), "{plain}");
    let unchecked = asked("https://127.0.0.1:1", &["--insecure"]);
    assert!(unchecked.contains("warning: TLS is used without checking who answers"), "{unchecked}");
    assert!(!asked("http://127.0.0.1:1", &[]).contains("warning"), "nobody listens on the loopback");
}
