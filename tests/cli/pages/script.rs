//! What a page says to type, as one script.

use super::page::Page;

/// Before the page's own lines, on its first line: what is left running ends with the page, and what fails is named.
const PROLOGUE: &str = "trap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT; \
    trap 'echo \"line $LINENO: ended with exit code $?: $BASH_COMMAND\" >&2' ERR; \
    ends_with() { [ \"$2\" = \"$1\" ] || { echo \"exit code $2, and the page says $1\" >&2; exit 99; }; }; ";

/// Puts all `sh` blocks of a page into one script in which every line has the number that it has in the page. `None`
/// where the page has no such block.
///
/// `exit 2` in the comment at the end of a line, with or without more around it, says which exit code the command on its line ends with.
pub(crate) fn of(page: &Page) -> Option<String> {
    let mut lines = vec![String::new(); page.text.lines().count()];
    let blocks = page.blocks();
    let shell: Vec<_> = blocks.iter().filter(|block| block.language == "sh").collect();
    for block in &shell {
        let mut begun: Option<usize> = None;
        for (number, line) in (block.first..).zip(&block.lines) {
            let first = begun.unwrap_or(number);
            lines[number] = (*line).to_owned();
            begun = line.ends_with('\\').then_some(first);
            if let Some((command, code)) = expectation(line) {
                lines[number] = format!("{command}; }} || got=$?; ends_with {code} $got");
                lines[first].insert_str(0, "got=0; { ");
            }
        }
    }
    let script = lines.join("\n");
    (!shell.is_empty()).then(|| format!("{PROLOGUE}{script}\n"))
}

/// Parts a line from the exit code that it says to expect.
fn expectation(line: &str) -> Option<(&str, u8)> {
    let (before, comment) = line.rsplit_once("exit ")?;
    let (command, _) = before.rsplit_once(" # ")?;
    let digits = comment.chars().take_while(char::is_ascii_digit).count();
    Some((command.trim_end(), comment[..digits].parse().ok()?))
}
