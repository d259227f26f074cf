//! Markdown, for comments, issues and job summaries.

use super::cells::visible;
use super::text::show as shown;
use super::text::status as words;
use crate::plan::bytes_text;
use crate::plan::explain::{BackupExplained, Explained, VmExplained};
use crate::plan::health::{Health, Verdict, VmHealth};
use std::io::{self, Write};

/// Writes how VMs stand: the counts, a table of those that are out with what to do about each, and the others folded.
///
/// # Errors
///
/// Those of writing.
pub fn status(health: &Health, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "**{}**", words::totals(health))?;
    let (out_of_date, fine): (Vec<&VmHealth>, Vec<&VmHealth>) =
        health.vms.iter().partition(|vm| vm.verdict.is_out());
    if !out_of_date.is_empty() {
        writeln!(out)?;
        table(&out_of_date, out)?;
        problems(&out_of_date, out)?;
    }
    let fine: Vec<&VmHealth> = fine.into_iter().filter(|vm| vm.verdict == Verdict::Safe).collect();
    if !fine.is_empty() {
        writeln!(out, "\n<details><summary>{} safe</summary>\n", fine.len())?;
        table(&fine, out)?;
        problems(&fine, out)?;
        writeln!(out, "\n</details>")?;
    }
    Ok(())
}

/// Lists what is wrong, and what to do about it.
fn problems(vms: &[&VmHealth], out: &mut dyn Write) -> io::Result<()> {
    if vms.iter().all(|vm| vm.problems.is_empty()) {
        return Ok(());
    }
    writeln!(out)?;
    for vm in vms {
        for problem in &vm.problems {
            let (message, advice) = (escaped(&problem.message), escaped(problem.advice));
            writeln!(out, "- {}: {message} → {advice}", escaped(&vm.alias))?;
        }
    }
    Ok(())
}

fn table(vms: &[&VmHealth], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "| VM | policy | stands | newest restorable | age | restore | gaps |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for vm in vms {
        let stands = match vm.verdict {
            Verdict::Safe => "safe",
            Verdict::TooOld => "too old",
            Verdict::NoBackup => "no backup",
            Verdict::Conflict => "conflict",
            Verdict::Unreadable => "unreadable",
            Verdict::Unprotected => "unprotected",
        };
        let newest = vm.newest.as_ref();
        writeln!(
            out,
            "| {} `{}` | {} | {stands} | {} | {} | {} | {} |",
            escaped(&vm.alias),
            vm.uuid.map_or_else(String::new, |id| id.short()),
            escaped(vm.policy.as_deref().unwrap_or_default()),
            newest.map_or_else(String::new, |newest| escaped(&words::name_of(newest))),
            newest.map_or_else(String::new, |newest| words::age_text(newest.age_secs)),
            newest.map_or_else(String::new, words::restore_text),
            vm.gaps.len(),
        )?;
    }
    Ok(())
}

/// Writes VMs' backups with why they are kept: a table for each.
///
/// # Errors
///
/// Those of writing.
pub fn show(explained: &Explained, out: &mut dyn Write) -> io::Result<()> {
    for (place, vm) in explained.vms.iter().enumerate() {
        let id = vm.uuid.map_or_else(String::new, |id| format!(" `{id}`"));
        let policy = vm.policy.as_deref().map_or_else(String::new, |policy| format!(", {}", escaped(policy)));
        writeln!(out, "{}**{}**{id}{policy}\n", if place == 0 { "" } else { "\n" }, escaped(&vm.alias))?;
        for note in &vm.notes {
            writeln!(out, "- {}", escaped(&note.message))?;
        }
        if !vm.notes.is_empty() {
            writeln!(out)?;
        }
        if vm.backups.is_empty() {
            writeln!(out, "No backup.")?;
            continue;
        }
        writeln!(out, "| backup | on | size | restore | local | stored |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        vm.backups.iter().try_for_each(|backup| backup_line(vm, backup, out))?;
    }
    Ok(())
}

fn backup_line(vm: &VmExplained, backup: &BackupExplained, out: &mut dyn Write) -> io::Result<()> {
    let list = |texts: Vec<String>| texts.iter().map(|text| escaped(text)).collect::<Vec<_>>().join("<br>");
    writeln!(
        out,
        "| {}{} `{}` | {} | {} | {} | {} | {} |",
        shown::standing_text(backup),
        escaped(&shown::name_of(backup)),
        backup.backup.short(),
        backup.parent.map_or_else(|| "full".to_owned(), |parent| format!("`{}`", parent.short())),
        backup.size_bytes.map_or_else(|| "unknown".to_owned(), bytes_text),
        shown::restore_text(backup).map_or_else(String::new, |text| escaped(&text)),
        list(shown::local_texts(vm, backup)),
        list(shown::stored_texts(backup)),
    )
}

/// Writes text so that it stands in a table as it is: whoever names a VM must not be able to write a comment of ours, nor
/// to call people by name.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("&#64;"),
            '#' => escaped.push_str("&#35;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            _ => escaped.push(letter),
        }
    }
    // What looks like an address becomes a link by itself.
    escaped.replace("://", "&#58;//")
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn an_alias_writes_nothing_but_itself() {
        assert_eq!(escaped("web-1"), "web-1");
        assert_eq!(
            escaped("a|b <img> @ops `x` [l](http://x)\n"),
            r"a\|b &lt;img&gt; &#64;ops \`x\` \[l\](http&#58;//x)\\n"
        );
    }
}
