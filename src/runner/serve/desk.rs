//! The page on which policies are tried: each edit is answered with what it would make of the coming year.

use super::super::interrupt::Interrupt;
use super::super::output::print;
use super::{Answer, Asked, Server};
use crate::inventory::{Inventory, Vm};
use crate::policy::{Match, Policies, Policy, SourceFile, parse};
use crate::report::html::simulation::{findings, fragment, live_page};
use crate::report::simulate::Played;
use crate::report::{Exit, Failure};
use crate::simulate::{Scenario, simulate_with_stories};
use bytes::Bytes;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const EDIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the tiers of a file may be due in all: more takes longer than anybody waits.
const DUE_MAX: i64 = 20_000;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

pub struct Desk {
    pub files: Vec<SourceFile>,
    /// The VMs to begin with; without them one VM a policy of which nothing is known.
    pub inventory: Option<Inventory>,
    pub scenario: Scenario,
}

#[derive(Debug, Serialize)]
struct Edited {
    /// The page below its head; `None` while there are mistakes.
    page: Option<String>,
    findings: String,
}

/// Serves the page until a signal. Nothing is written and nothing is sent to FiFo. An error: it cannot listen, on the address
/// or for signals.
pub async fn serve(address: &str, desk: Desk) -> Result<Exit, Failure> {
    let interrupt = Interrupt::default();
    interrupt.listen()?;
    let (desk, newest) = (Arc::new(desk), Arc::new(Mutex::new(Arc::<AtomicBool>::default())));
    let site = move |asked: Asked| -> futures::future::BoxFuture<'static, Option<Answer>> {
        Box::pin(answer(Arc::clone(&desk), Arc::clone(&newest), asked))
    };
    let server = Server::start(address, true, "these policies", site).await?;
    let url = format!("http://{}/", server.address());
    print(|out| writeln!(out, "{url}"))?;
    interrupt.signalled().await;
    Ok(Exit::Done)
}

/// Answers one request; a newer edit ends the work on an older one.
async fn answer(desk: Arc<Desk>, newest: Arc<Mutex<Arc<AtomicBool>>>, asked: Asked) -> Option<Answer> {
    let place: usize = match asked.query.as_str() {
        "" => 0,
        query => query.strip_prefix("file=")?.parse().ok()?,
    };
    desk.files.get(place)?;
    let stop = Arc::<AtomicBool>::default();
    let work = {
        let stop = Arc::clone(&stop);
        match (asked.path.as_str(), asked.sent) {
            ("/", None) => tokio::task::spawn_blocking(move || Some((HTML, desk.page(place, stop)?))),
            ("/simulate", Some(sent)) => {
                let older = {
                    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
                    std::mem::replace(&mut *newest, Arc::clone(&stop))
                };
                older.store(true, Ordering::Relaxed);
                tokio::task::spawn_blocking(move || {
                    Some((JSON, serde_json::to_string(&desk.edited(place, sent, stop)).ok()?))
                })
            }
            _ => return None,
        }
    };
    // An edit that was overtaken is not worth an answer.
    let done = tokio::time::timeout(EDIT_TIMEOUT, work).await;
    let is_stopped = stop.swap(true, Ordering::Relaxed);
    let failed = |body: &str| Answer {
        is_well: false,
        content_type: "text/plain; charset=utf-8",
        body: body.to_owned(),
    };
    Some(match done {
        Err(_) => failed("this takes longer than 10 s: give --days a smaller number"),
        Ok(_) if is_stopped => failed("a newer edit came in between"),
        Ok(Ok(Some((content_type, body)))) => Answer { is_well: true, content_type, body },
        Ok(_) => failed("a bug in this program: it cannot simulate this"),
    })
}

impl Desk {
    /// Writes the page with a file in the editor.
    fn page(&self, place: usize, stop: Arc<AtomicBool>) -> Option<String> {
        let text = |file: &SourceFile| (file.name.clone(), String::from_utf8_lossy(&file.bytes).into_owned());
        let files: Vec<(String, String)> = self.files.iter().map(text).collect();
        let edited = self.edited(place, Bytes::copy_from_slice(&self.files.get(place)?.bytes), stop);
        Some(live_page(&files, place, edited.page.as_deref(), &edited.findings))
    }

    /// Puts a text in the place of a file, and simulates the policies in it.
    fn edited(&self, place: usize, sent: Bytes, stop: Arc<AtomicBool>) -> Edited {
        let name = &self.files[place].name;
        let mut files = self.files.clone();
        files[place].bytes = sent.to_vec();
        let loaded = match parse(&files) {
            Ok(loaded) => loaded,
            Err(mistakes) => return Edited { page: None, findings: findings(mistakes.diagnostics(), name) },
        };
        let (all, warnings) = (loaded.policies, findings(&loaded.warnings, name));
        let own = Policies::new(all.iter().filter(|policy| policy.source.file == *name).cloned().collect());
        let scenario = Scenario { stop, ..self.scenario.clone() };
        if let Some(often) = own.iter().find_map(|policy| too_often(policy, &scenario)) {
            return Edited { page: None, findings: often };
        }
        let inventory = self.inventory.as_ref().map(|inventory| matched(inventory, &all, &own));
        let inventory = inventory.as_ref();
        let (simulation, stories) = simulate_with_stories(&own, inventory, &scenario);
        let played = Played { simulation: &simulation, policies: &own, stories: &stories };
        Edited { page: Some(fragment(played, &scenario)), findings: warnings }
    }
}

/// Takes the VMs that belong to some of all policies.
fn matched(inventory: &Inventory, all: &Policies, own: &Policies) -> Inventory {
    let is_own = |policy: &Policy| own.iter().any(|own| own.name == policy.name);
    let is_theirs = |vm: &&Vm| matches!(all.policy_for(vm), Match::One(policy) if is_own(policy));
    let vms = inventory.vms.values().filter(is_theirs).map(|vm| (vm.id, vm.clone())).collect();
    Inventory { endpoint: inventory.endpoint.clone(), vms, unreadable: Vec::new() }
}

/// Says that a policy is due too often to be simulated while a user waits.
fn too_often(policy: &Policy, scenario: &Scenario) -> Option<String> {
    let secs = (scenario.until - scenario.from).num_seconds();
    let due =
        policy.tiers.iter().map(|tier| secs / tier.schedule.gap_min().num_seconds().max(1)).sum::<i64>();
    (due > DUE_MAX).then(|| {
        format!(
            "<p class=\"error\">`{}` is due about {due} times in these days, which takes too long here: write it less often, or \
             give --days a smaller number</p>",
            policy.name
        )
    })
}
