//! The same plan as text, as Markdown and as HTML: the same facts, and nothing is cut silently.

use super::*;
use crate::plan::VmPlan;
use crate::report::doc::Block;
use crate::report::{html, markdown};

/// Everything that a document says, but for what text leaves to `-v`.
fn facts(doc: &Doc) -> Vec<String> {
    let mut facts = doc.summary.clone();
    facts.extend(doc.remarks.iter().map(|(_, remark)| remark.clone()));
    for block in doc.alarms.iter().chain(&doc.blocks) {
        match block {
            Block::Heading(text) | Block::Para(_, text) => facts.push(text.clone()),
            Block::List(lines) | Block::Lines { lines, .. } => {
                facts.extend(lines.iter().map(|(_, line)| line.clone()));
            }
            Block::Table(table) => {
                facts.extend(table.rows.iter().flat_map(|row| row.cells.iter().chain(&row.below)).cloned());
            }
            Block::Entries(entries) => {
                for entry in entries {
                    facts.extend([&entry.name, &entry.id, &entry.policy].map(Clone::clone));
                    let said = |line: &super::super::doc::Line| {
                        [line.verb.to_owned(), line.what.clone(), line.why.clone()]
                    };
                    facts.extend(entry.lines.iter().flat_map(said));
                }
            }
            Block::Details { .. } => {}
        }
    }
    facts
}

/// Takes markup and blanks out of a text.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    for (place, part) in text.split('<').enumerate() {
        bare.push_str(if place == 0 { part } else { part.split_once('>').unwrap().1 });
    }
    for (from, to) in
        [("&#8203;", ""), ("&#58;", ":"), ("&gt;", ">"), ("&lt;", "<"), ("&quot;", "\""), ("&amp;", "&")]
    {
        bare = bare.replace(from, to);
    }
    bare.replace(|letter: char| letter.is_whitespace() || "*`\\".contains(letter), "")
}

#[test]
fn a_plan_has_the_same_facts_in_text_in_markdown_and_in_html() {
    for vms in [12, 200] {
        let mut plan = cloud();
        let numbered =
            |n: usize| VmPlan { alias: format!("{}-{n}", plan.vms[n % 8].alias), ..plan.vms[n % 8].clone() };
        plan.vms = (0..vms).map(numbered).collect();
        for detail in [Detail::Usual, Detail::Full] {
            let doc = plan_doc(&plan, detail);
            let wide = text_of(&doc, 10_000, detail, Styles::Plain);
            let written =
                [wide, markdown::written(&doc, None, None), html::page("", "", &doc, &maud::html! {}, "")]
                    .map(|it| bare(&it));
            let facts = facts(&doc);
            assert!(facts.len() > 40, "{facts:?}");
            for (fact, text) in facts.iter().flat_map(|fact| written.iter().map(move |text| (fact, text))) {
                assert!(text.contains(&bare(fact)), "{fact:?} is not in {text}");
            }
        }
    }
}
