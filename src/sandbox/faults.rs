//! Disturbances, as told: between FiFo's handlers and whoever asks them.

use super::list_cache::ListCache;
use super::message::{Reply, Request};
use super::race::Race;
use super::routes::{self, Resource};
use super::users::UserStore;
use super::world::World;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// A disturbance and when it strikes.
///
/// As JSON: `{"when": {"operation": "create"}, "skip": 1, "times": 2, "effect": {"answer": {"status": 503}}}`. Several
/// rules may strike the same request; where they cannot all, the first in the list does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests it looks at; all where left out.
    #[serde(default)]
    pub when: Matcher,
    /// How many of these it lets pass first.
    #[serde(default)]
    pub skip: u32,
    /// Strikes at every so-manieth after that; at each where left out.
    #[serde(default = "one")]
    pub every: u32,
    /// How often it strikes at most; without end where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What it does.
    pub effect: Effect,
    /// How many requests it has looked at.
    #[serde(default)]
    pub seen: u32,
    /// How often it has struck.
    #[serde(default)]
    pub struck: u32,
}

fn one() -> u32 {
    1
}

impl Rule {
    /// Makes a rule that strikes at every request, for ever.
    pub fn new(effect: Effect) -> Self {
        Self { when: Matcher::default(), skip: 0, every: 1, times: None, effect, seen: 0, struck: 0 }
    }

    /// Makes it look only at one kind of request.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.when.operation = Some(operation);
        self
    }

    /// Makes it look only at requests about one VM.
    #[must_use]
    pub fn of_vm(mut self, vm: Uuid) -> Self {
        self.when.vm = Some(vm);
        self
    }

    /// Makes it let some pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Makes it strike so often at most.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Looks at a request, and says whether it strikes.
    fn strikes(&mut self, request: &Request, operation: Operation, vm: Option<&str>) -> bool {
        if !self.when.matches(request, operation, vm) {
            return false;
        }
        self.seen = self.seen.saturating_add(1);
        let Some(past) = self.seen.checked_sub(self.skip.saturating_add(1)) else { return false };
        let strikes =
            past.is_multiple_of(self.every.max(1)) && self.times.is_none_or(|times| self.struck < times);
        self.struck += u32::from(strikes);
        strikes
    }
}

/// Which requests a rule looks at: those that agree with everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matcher {
    /// What the request is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Its method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What its path contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The VM it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<Uuid>,
}

impl Matcher {
    fn matches(&self, request: &Request, operation: Operation, vm: Option<&str>) -> bool {
        let vm = vm.and_then(|vm| Uuid::try_parse(vm).ok());
        self.operation.is_none_or(|wanted| wanted == operation)
            && self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.path.as_ref().is_none_or(|path| request.path().contains(path))
            && self.vm.is_none_or(|wanted| vm == Some(wanted))
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Signing in.
    SignIn,
    /// Reading the list of VMs.
    List,
    /// Reading one VM.
    ReadVm,
    /// Creating a backup.
    Create,
    /// Deleting a backup, wherever.
    Delete,
    /// Anything else.
    Other,
}

impl Operation {
    fn of(request: &Request, resource: Option<Resource<'_>>) -> Self {
        match (request.method.as_str(), resource) {
            ("POST", Some(Resource::Token)) => Self::SignIn,
            ("GET", Some(Resource::Vms)) => Self::List,
            ("GET", Some(Resource::Vm(_))) => Self::ReadVm,
            ("POST", Some(Resource::Backups(_))) => Self::Create,
            ("DELETE", Some(Resource::Backup(..))) => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// What a disturbance does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Answers with a status, and nothing is done.
    Answer {
        /// The status.
        status: u16,
        /// The `retry-after` that goes with it, in seconds.
        #[serde(default)]
        retry_after_s: Option<u32>,
        /// The `location` that goes with it.
        #[serde(default)]
        location: Option<String>,
    },
    /// Does what was asked, and then answers with a status and no body all the same.
    ActThenAnswer {
        /// The status.
        status: u16,
    },
    /// Breaks the connection off, and nothing is done.
    Drop,
    /// Does what was asked, and breaks the connection off: the answer is lost.
    ActThenDrop,
    /// Breaks the connection off, and does what was asked only later, its condition (`if-match`) included: the request
    /// was on its way for so long. A later request makes it arrive.
    ActLate {
        /// How much later, in milliseconds.
        ms: u64,
    },
    /// Does what was asked, and answers late.
    Delay {
        /// How late, in milliseconds.
        ms: u64,
    },
    /// Breaks the connection off within the answer's body.
    Cut {
        /// After so many bytes of it.
        after_bytes: usize,
    },
    /// Has reads of single VMs served from a cache that writes through it do not clear. The list is never stale.
    ///
    /// The whole of a write is hidden, and with it whatever the upload does later. With `every` only each so-manieth
    /// read is served from the cache, as where several API nodes take turns and one of them has it. `skip` and `times`
    /// mean nothing here: a cache is on or off.
    Stale {
        /// For how long after each write, in seconds. Left out: for ever after a full backup, until the next
        /// incremental one or delete of that VM clears it.
        #[serde(default)]
        seconds: Option<u32>,
    },
    /// Drops the body of the request, as some proxies do with a DELETE's.
    DropBody,
    /// Has the `date` header off.
    ShiftDate {
        /// By so many seconds.
        seconds: i64,
    },
    /// Leaves the `date` header out.
    HideDate,
    /// Leaves the `etag` header out.
    HideEtag,
    /// Makes the `etag` a weak one, as a proxy does that changes bodies.
    WeakEtag,
    /// Answers 412 to whatever has a condition, and nothing is done.
    RefuseConditions,
    /// Makes every token given out so far worthless, before the request is looked at.
    ExpireTokens,
    /// Has the user store behave like that while the request is looked at.
    UserStore(UserStore),
    /// Judges `if-match` and acts on it apart, as FiFo does: for so long after a write to a VM, another one that names
    /// the ETag from before is done as well. `skip`, `every` and `times` mean nothing here.
    Race {
        /// For how long, in milliseconds.
        ms: u32,
    },
    /// Has lists served from a cache, as FiFo of 2015 does. `skip`, `every` and `times` mean nothing here.
    StaleList {
        /// For how long a list is served again, in milliseconds.
        ms: u32,
    },
    /// Puts something else in place of the answer's body.
    Garble {
        /// The other body.
        body: String,
        /// Its content type; the right one where left out.
        #[serde(default)]
        content_type: Option<String>,
    },
}

/// What the connection has to do, after the handlers and the disturbances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The answer; `None` closes the connection without one.
    pub reply: Option<Reply>,
    /// Whether the connection is reset rather than closed.
    pub reset: bool,
    /// How long to wait before answering.
    pub delay: Duration,
    /// After how many bytes of the body to break off.
    pub cut_after_bytes: Option<usize>,
    /// How far the `date` header is off, in seconds.
    pub date_shift_s: i64,
    /// Whether the `date` header is left out.
    pub hides_date: bool,
}

/// The disturbances that are set, and the cache that some of them need.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The rules, in their order.
    pub rules: Vec<Rule>,
    frozen: BTreeMap<Uuid, Vec<Frozen>>,
    race: Race,
    lists: ListCache,
    late: Vec<Arrival>,
}

/// A write that is carried out after its connection broke off.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// What is asked for.
    pub request: Request,
    /// What is answered, which nobody hears; once it has arrived.
    pub reply: Option<Reply>,
}

/// A VM as a cache still shows it.
#[derive(Clone, Debug)]
struct Frozen {
    until_us: i64,
    reply: Reply,
}

impl Faults {
    /// Takes away all rules, and clears the cache.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Answers a request as [`routes::handle`] does, disturbed.
    pub fn handle(&mut self, world: &mut World, request: &Request, now_us: i64) -> Outgoing {
        while self.arrive(world, now_us).is_some() {}
        let resource = Resource::of(request.path());
        let vm = resource.and_then(Resource::vm);
        let operation = Operation::of(request, resource);
        let struck = self.rules.iter_mut().filter_map(|rule| {
            let standing =
                matches!(rule.effect, Effect::Stale { .. } | Effect::Race { .. } | Effect::StaleList { .. });
            (!standing && rule.strikes(request, operation, vm)).then(|| rule.effect.clone())
        });
        let struck: Vec<Effect> = struck.collect();

        let mut request = request.clone();
        let mut out = Outgoing::default();
        for effect in &struck {
            match effect {
                Effect::DropBody => request.body.clear(),
                Effect::ExpireTokens => world.tokens.clear(),
                Effect::ShiftDate { seconds } => out.date_shift_s += seconds,
                Effect::Delay { ms } => out.delay += Duration::from_millis(*ms),
                Effect::Cut { after_bytes } => out.cut_after_bytes = Some(*after_bytes),
                Effect::HideDate => out.hides_date = true,
                _ => {}
            }
        }
        let has_condition = request.header("if-match").is_some();
        let instead = struck.iter().find(|effect| match effect {
            Effect::Answer { .. } | Effect::Drop | Effect::ActLate { .. } => true,
            Effect::RefuseConditions => has_condition,
            _ => false,
        });
        match instead {
            Some(Effect::RefuseConditions) => out.reply = Some(Reply::empty(412)),
            Some(Effect::ActLate { ms }) => {
                let after_us = i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
                self.late.push(Arrival { at_us: now_us.saturating_add(after_us), request, reply: None });
                out.reset = true;
            }
            Some(Effect::Answer { status, retry_after_s, location }) => {
                let mut reply = Reply::empty(*status);
                reply.headers.extend(retry_after_s.map(|seconds| ("retry-after", seconds.to_string())));
                reply.headers.extend(location.clone().map(|location| ("location", location)));
                out.reply = Some(reply);
            }
            Some(_) => out.reset = true,
            None => {
                let vm = vm.and_then(|vm| Uuid::try_parse(vm).ok());
                let user_store = world.user_store;
                for effect in &struck {
                    if let Effect::UserStore(store) = effect {
                        world.user_store = *store;
                    }
                }
                out.reply = self.handle_raced(world, request, operation, vm, now_us);
                world.user_store = user_store;
                for effect in &struck {
                    disturb_reply(effect, &mut out);
                }
            }
        }
        out
    }

    /// Carries out the earliest of the late writes that have arrived by an instant; `None` when none has.
    pub fn arrive(&mut self, world: &mut World, now_us: i64) -> Option<Arrival> {
        let arrived = self.late.iter().enumerate().filter(|(_, late)| late.at_us <= now_us);
        let (place, _) = arrived.min_by_key(|(_, late)| late.at_us)?;
        let mut arrival = self.late.remove(place);
        let resource = Resource::of(arrival.request.path());
        let operation = Operation::of(&arrival.request, resource);
        let vm = resource.and_then(Resource::vm).and_then(|vm| Uuid::try_parse(vm).ok());
        arrival.reply = self.handle_raced(world, arrival.request.clone(), operation, vm, arrival.at_us);
        Some(arrival)
    }

    /// Answers through the list's cache and without a condition that had still held a moment ago, where these are on.
    fn handle_raced(
        &mut self,
        world: &mut World,
        mut request: Request,
        operation: Operation,
        vm: Option<Uuid>,
        now_us: i64,
    ) -> Option<Reply> {
        let is_write = matches!(operation, Operation::Create | Operation::Delete);
        let race = self.milliseconds(vm, |effect| match effect {
            Effect::Race { ms } => Some(*ms),
            _ => None,
        });
        let Some((ms, vm)) = race.zip(vm).filter(|_| is_write) else {
            let reply = self.handle_cached(world, &request, operation, vm, now_us);
            let kept = self.milliseconds(vm, |effect| match effect {
                Effect::StaleList { ms } => Some(*ms),
                _ => None,
            });
            return match (kept, reply) {
                (Some(ms), Some(reply)) if operation == Operation::List => {
                    Some(self.lists.through(&request, reply, ms, now_us))
                }
                (_, reply) => reply,
            };
        };
        self.race.loosen(&mut request, vm, ms, now_us);
        world.advance(now_us);
        let before = world.vms.get(&vm).map(|record| routes::vm_reply(world, vm, record));
        let reply = self.handle_cached(world, &request, operation, Some(vm), now_us);
        if reply.as_ref().is_some_and(|reply| matches!(reply.status, 204 | 303)) {
            self.race.written(vm, before.as_ref().and_then(|before| before.header("etag")), now_us);
        }
        reply
    }

    /// Gives the time that a rule which is always on has for a VM.
    fn milliseconds(&self, vm: Option<Uuid>, of: impl Fn(&Effect) -> Option<u32>) -> Option<u32> {
        let rules = self.rules.iter().filter(|rule| rule.when.vm.is_none() || rule.when.vm == vm);
        rules.filter_map(|rule| of(&rule.effect)).next()
    }

    /// Answers through the cache, where one is on for that VM.
    fn handle_cached(
        &mut self,
        world: &mut World,
        request: &Request,
        operation: Operation,
        vm: Option<Uuid>,
        now_us: i64,
    ) -> Option<Reply> {
        let cache = vm.zip(self.cache_of(vm));
        let before = cache.and_then(|(vm, _)| {
            world.advance(now_us);
            world.vms.get(&vm).map(|record| routes::vm_reply(world, vm, record))
        });
        let reply = routes::handle(world, request, now_us);
        let (Some((vm, seconds)), Some(before)) = (cache, before) else { return reply };
        let frozen = self.frozen.entry(vm).or_default();
        match (operation, reply.as_ref().map_or(0, |reply| reply.status)) {
            (Operation::ReadVm, 200) => {
                frozen.retain(|frozen| frozen.until_us > now_us);
                let shown = frozen.first().map(|frozen| frozen.reply.clone());
                if self.is_turn_of_cache(vm) { shown.or(reply) } else { reply }
            }
            (Operation::Create | Operation::Delete, 204 | 303) => {
                match seconds {
                    Some(seconds) => {
                        frozen.push(Frozen {
                            until_us: now_us + i64::from(seconds) * 1_000_000,
                            reply: before,
                        });
                    }
                    None if operation == Operation::Delete || is_incremental(&request.body) => frozen.clear(),
                    None => frozen.push(Frozen { until_us: i64::MAX, reply: before }),
                }
                reply
            }
            _ => reply,
        }
    }

    /// Says whether the node that has the cache answers this read: each node in its turn.
    fn is_turn_of_cache(&mut self, vm: Uuid) -> bool {
        let has_cache = |rule: &&mut Rule| {
            matches!(rule.effect, Effect::Stale { .. }) && rule.when.vm.is_none_or(|of| of == vm)
        };
        self.rules.iter_mut().find(has_cache).is_some_and(|rule| {
            rule.seen = rule.seen.wrapping_add(1);
            rule.seen.is_multiple_of(rule.every.max(1))
        })
    }

    /// For how many seconds the cache that is on for a VM keeps what it has; the outer `None`: there is no cache.
    fn cache_of(&self, vm: Option<Uuid>) -> Option<Option<u32>> {
        self.rules.iter().find_map(|rule| match rule.effect {
            Effect::Stale { seconds } if rule.when.vm.is_none() || rule.when.vm == vm => Some(seconds),
            _ => None,
        })
    }
}

fn is_incremental(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("parent").is_some())
}

/// What a disturbance does to an answer, after the handlers.
fn disturb_reply(effect: &Effect, out: &mut Outgoing) {
    match effect {
        Effect::ActThenAnswer { status } => out.reply = Some(Reply::empty(*status)),
        Effect::ActThenDrop => {
            out.reply = None;
            out.reset = true;
        }
        Effect::HideEtag | Effect::WeakEtag => {
            let headers = out.reply.iter_mut().flat_map(|reply| &mut reply.headers);
            for (_, etag) in headers.filter(|(name, _)| *name == "etag") {
                *etag = if *effect == Effect::WeakEtag { format!("W/{etag}") } else { String::new() };
            }
            if let Some(reply) = &mut out.reply {
                reply.headers.retain(|(name, value)| *name != "etag" || !value.is_empty());
            }
        }
        Effect::Garble { body, content_type } => {
            if let Some(reply) = &mut out.reply {
                reply.body = body.clone().into_bytes();
                if let Some(content_type) = content_type {
                    reply.headers.retain(|(name, _)| *name != "content-type");
                    reply.headers.push(("content-type", content_type.clone()));
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
