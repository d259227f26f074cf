//! The rules by which requests and answers are disturbed, and what applies them between clients and FiFo's handlers: on the
//! way there, in their place, while they act, on the way back.

use super::message::{Reply, Request};
use super::routes::{self, Resource};
use super::world::World;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// What the connection has to do, after the handlers and the disturbances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The answer; `None` closes the connection without one.
    pub reply: Option<Reply>,
    pub reset: bool,
    pub delay: Duration,
    pub cut_after_bytes: Option<usize>,
    pub date_shift_s: i64,
    pub hides_date: bool,
}

impl From<Reply> for Outgoing {
    fn from(reply: Reply) -> Self {
        Self { reply: Some(reply), ..Self::default() }
    }
}

/// The disturbances that are set, and what caches and late requests need to remember.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub rules: Vec<Rule>,
    /// How many API nodes answer the requests by turns, each with caches of its own; 0 is one, too. Rules may be
    /// limited to one of them.
    pub nodes: u32,
    turn: u32,
    /// The VMs as each node's cache shows them, each reading until an instant.
    frozen: BTreeMap<(u32, Uuid), Vec<(i64, Reply)>>,
    late: Vec<Arrival>,
}

/// A write that is carried out after its connection broke off.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at_us: i64,
    pub request: Request,
    pub reply: Option<Reply>,
}

impl Faults {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Has the caches of all nodes show each VM as it is now, for ever: [`Effect::Stale`] reads from them.
    pub fn fill_caches(&mut self, world: &World) {
        for (&id, vm) in &world.vms {
            let frozen = (i64::MAX, routes::vm_reply(world, id, vm));
            for node in 0..self.nodes.max(1) {
                self.frozen.entry((node, id)).or_default().push(frozen.clone());
            }
        }
    }

    /// Answers a request as [`routes::handle`] does, disturbed.
    pub fn handle(&mut self, world: &mut World, request: &Request, now_us: i64) -> Outgoing {
        while self.arrive(world, now_us).is_some() {}
        let asked = self.next_node(request);
        let rules = self.rules.iter_mut();
        let struck: Vec<Effect> =
            rules.filter_map(|rule| rule.strikes(&asked).then(|| rule.effect.clone())).collect();
        let mut request = request.clone();
        if struck.contains(&Effect::DropBody) {
            request.body.clear();
        }
        if struck.contains(&Effect::ExpireTokens) {
            world.tokens.clear();
        }
        let mut out = Outgoing::default();
        let instead = struck.iter().find_map(|effect| self.instead(effect, &request, now_us));
        if let Some(reply) = &instead {
            (out.reset, out.reply) = (reply.is_none(), reply.clone());
        } else {
            let times = if struck.contains(&Effect::Twice) { 2 } else { 1 };
            for _ in 0..times {
                out.reply = self.act(world, &request, &asked, &struck, now_us);
            }
        }
        struck.iter().for_each(|effect| on_the_way_back(effect, &mut out, instead.is_none()));
        out
    }

    /// Carries out the earliest of the late writes that have arrived by an instant; `None` when none has.
    pub fn arrive(&mut self, world: &mut World, now_us: i64) -> Option<Arrival> {
        let arrived = self.late.iter().enumerate().filter(|(_, late)| late.at_us <= now_us);
        let (place, _) = arrived.min_by_key(|(_, late)| late.at_us)?;
        let mut arrival = self.late.remove(place);
        let asked = self.next_node(&arrival.request);
        arrival.reply = self.act(world, &arrival.request, &asked, &[], arrival.at_us);
        Some(arrival)
    }

    fn next_node(&mut self, request: &Request) -> Asked {
        let node = self.turn % self.nodes.max(1);
        self.turn = self.turn.wrapping_add(1);
        Asked::of(request, node)
    }

    /// Returns what an effect answers in place of FiFo, if it is of that kind; the inner `None` is a broken connection.
    fn instead(&mut self, effect: &Effect, request: &Request, now_us: i64) -> Option<Option<Reply>> {
        match effect {
            Effect::Drop => Some(None),
            Effect::ActLate { ms } => {
                let after_us = i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
                let at_us = now_us.saturating_add(after_us);
                self.late.push(Arrival { at_us, request: request.clone(), reply: None });
                Some(None)
            }
            Effect::RefuseConditions if request.header("if-match").is_some() => Some(Some(Reply::empty(412))),
            Effect::Answer { status, retry_after_s, location } => {
                let mut reply = Reply::empty(*status);
                reply.headers.extend(retry_after_s.map(|seconds| ("retry-after", seconds.to_string())));
                reply.headers.extend(location.clone().map(|location| ("location", location)));
                Some(Some(reply))
            }
            _ => None,
        }
    }

    /// Has FiFo act on a request, through its caches.
    fn act(
        &mut self,
        world: &mut World,
        request: &Request,
        asked: &Asked,
        struck: &[Effect],
        now_us: i64,
    ) -> Option<Reply> {
        world.advance(now_us);
        let is_stale = |effect: &Effect| matches!(effect, Effect::Stale { .. });
        let is_write = matches!(asked.operation, Operation::Create | Operation::Delete);
        let written = asked.vm.filter(|_| is_write && self.rules.iter().any(|rule| is_stale(&rule.effect)));
        let before = written.and_then(|vm| Some((vm, routes::vm_reply(world, vm, world.vms.get(&vm)?))));
        let mut reply = routes::handle(world, request, now_us);
        match (before, reply.as_ref().map(|reply| reply.status)) {
            (Some((vm, before)), Some(204 | 303)) => self.written(vm, &before, request, asked, now_us),
            (_, Some(200)) if struck.iter().any(is_stale) => reply = self.cached(asked, now_us).or(reply),
            _ => {}
        }
        if let Some((vm, backup)) = asked.vm.zip(asked.backup)
            && struck.contains(&Effect::TakeNewest)
        {
            take_newest(world, vm, backup, now_us);
        }
        reply
    }

    /// Remembers in each cache what that goes on to show after a write.
    fn written(&mut self, vm: Uuid, before: &Reply, request: &Request, asked: &Asked, now_us: i64) {
        let is_incremental =
            || serde_json::from_slice::<Value>(&request.body).is_ok_and(|body| body.get("parent").is_some());
        let evicts = asked.operation == Operation::Delete || is_incremental();
        for node in 0..self.nodes.max(1) {
            let stale = self.rules.iter().find_map(|rule| match rule.effect {
                Effect::Stale { seconds }
                    if rule.when.vm.is_none_or(|of| of == vm)
                        && rule.when.node.is_none_or(|at| at == node) =>
                {
                    Some(seconds)
                }
                _ => None,
            });
            let frozen = self.frozen.entry((node, vm)).or_default();
            match stale {
                None => {}
                Some(None) if evicts && node == asked.node => frozen.clear(),
                Some(seconds) => {
                    let until_us =
                        seconds.map_or(i64::MAX, |seconds| now_us + i64::from(seconds) * 1_000_000);
                    frozen.push((until_us, before.clone()));
                }
            }
        }
    }

    fn cached(&mut self, asked: &Asked, now_us: i64) -> Option<Reply> {
        let frozen = self.frozen.get_mut(&(asked.node, asked.vm?))?;
        frozen.retain(|(until_us, _)| *until_us > now_us);
        frozen.first().map(|(_, reply)| reply.clone())
    }
}

/// Deletes the newest backup of a VM, where that one is no longer there that a request named.
fn take_newest(world: &mut World, vm: Uuid, named: Uuid, now_us: i64) {
    let Some(backups) = world.vms.get(&vm).map(|vm| &vm.backups) else { return };
    let newest = backups.iter().max_by_key(|(id, record)| (record.timestamp, **id)).map(|(id, _)| *id);
    if let Some(newest) = newest.filter(|_| !backups.contains_key(&named)) {
        world.delete_cloud(vm, newest, now_us);
    }
}

/// Does what an effect does to an answer, some of it only to FiFo's own.
fn on_the_way_back(effect: &Effect, out: &mut Outgoing, is_fifos: bool) {
    match (effect, &mut out.reply) {
        (Effect::HideDate, _) => out.hides_date = true,
        (Effect::ShiftDate { seconds }, _) => out.date_shift_s += seconds,
        (Effect::Delay { ms }, _) => out.delay += Duration::from_millis(*ms),
        (Effect::Cut { after_bytes }, _) => out.cut_after_bytes = Some(*after_bytes),
        _ if !is_fifos => {}
        (Effect::ActThenDrop, reply) => (*reply, out.reset) = (None, true),
        (Effect::ActThenAnswer { status }, reply) => *reply = Some(Reply::empty(*status)),
        (Effect::HideEtag, Some(reply)) => reply.headers.retain(|(name, _)| *name != "etag"),
        (Effect::WeakEtag, Some(reply)) => {
            let etags = reply.headers.iter_mut().filter(|(name, _)| *name == "etag");
            etags.for_each(|(_, etag)| *etag = format!("W/{etag}"));
        }
        (Effect::Garble { body, content_type }, Some(reply)) => {
            reply.body = body.clone().into_bytes();
            if let Some(content_type) = content_type {
                reply.headers.retain(|(name, _)| *name != "content-type");
                reply.headers.push(("content-type", content_type.clone()));
            }
        }
        _ => {}
    }
}

/// A disturbance and when it strikes.
///
/// As JSON: `{"when": {"operation": "create"}, "skip": 1, "times": 2, "effect": {"answer": {"status": 503}}}`. Several
/// rules may strike the same request; where they cannot all, the first in the list does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    pub when: Matcher,
    #[serde(default)]
    pub skip: u32,
    /// Strikes at every so-manieth after that; at each where left out.
    #[serde(default = "one")]
    pub every: u32,
    /// How often it strikes at most; without end where left out.
    #[serde(default)]
    pub times: Option<u32>,
    pub effect: Effect,
    #[serde(default)]
    pub seen: u32,
    #[serde(default)]
    pub struck: u32,
}

fn one() -> u32 {
    1
}

impl Rule {
    pub fn new(effect: Effect) -> Self {
        Self { when: Matcher::default(), skip: 0, every: 1, times: None, effect, seen: 0, struck: 0 }
    }

    pub fn on(self, operation: Operation) -> Self {
        Self { when: Matcher { operation: Some(operation), ..self.when }, ..self }
    }

    pub fn of_vm(self, vm: Uuid) -> Self {
        Self { when: Matcher { vm: Some(vm), ..self.when }, ..self }
    }

    /// Limits it to one API node, see [`Faults::nodes`](super::Faults::nodes).
    pub fn at_node(self, node: u32) -> Self {
        Self { when: Matcher { node: Some(node), ..self.when }, ..self }
    }

    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    fn strikes(&mut self, asked: &Asked) -> bool {
        let Matcher { operation, vm, node } = self.when;
        if operation.is_some_and(|wanted| wanted != asked.operation)
            || vm.is_some() && vm != asked.vm
            || node.is_some_and(|wanted| wanted != asked.node)
            || !self.effect.concerns(asked.operation)
        {
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

/// Which requests a rule looks at: those that agree with all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matcher {
    pub operation: Option<Operation>,
    pub vm: Option<Uuid>,
    /// The API node that answers, counted from 0.
    pub node: Option<u32>,
}

struct Asked {
    operation: Operation,
    vm: Option<Uuid>,
    backup: Option<Uuid>,
    node: u32,
}

impl Asked {
    fn of(request: &Request, node: u32) -> Self {
        let resource = Resource::of(request.path());
        let operation = match (request.method.as_str(), resource) {
            ("POST", Some(Resource::Token)) => Operation::SignIn,
            ("GET", Some(Resource::Vms)) => Operation::List,
            ("GET", Some(Resource::Vm(_))) => Operation::ReadVm,
            ("POST", Some(Resource::Backups(_))) => Operation::Create,
            ("DELETE", Some(Resource::Backup(..))) => Operation::Delete,
            _ => Operation::Other,
        };
        let uuid = |id: &str| Uuid::try_parse(id).ok();
        let (vm, backup) = match resource {
            Some(Resource::Vm(vm) | Resource::Backups(vm)) => (uuid(vm), None),
            Some(Resource::Backup(vm, backup)) => (uuid(vm), uuid(backup)),
            _ => (None, None),
        };
        Self { operation, vm, backup, node }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    SignIn,
    List,
    ReadVm,
    Create,
    Delete,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    // ---- On the way to FiFo
    /// As some proxies do with a DELETE's. A POST without one starts a full backup with an empty comment.
    DropBody,
    ExpireTokens,

    // ---- In place of FiFo: nothing is done
    Answer {
        status: u16,
        #[serde(default)]
        retry_after_s: Option<u32>,
        #[serde(default)]
        location: Option<String>,
    },
    RefuseConditions,
    Drop,
    /// Breaks the connection off, and does what was asked only after `ms`, its condition (`if-match`) included: the
    /// request was in transit for so long. A later request makes it arrive.
    ActLate {
        ms: u64,
    },

    // ---- While FiFo acts
    /// Delivers the request twice, and passes the second answer on.
    Twice,
    /// Has a delete from storage take the VM's newest backup along, which FiFo does not do.
    TakeNewest,
    /// Answers a read of a single VM from the node's cache, which shows the VM from before a write: the whole of the
    /// write is hidden, and with it whatever the upload does later. The list is never stale.
    ///
    /// Each node has a cache of its own, and only a write that it handles itself clears it. Without `seconds` it is stale
    /// for ever after a full backup, until the next incremental one or delete of that VM clears it.
    Stale {
        #[serde(default)]
        seconds: Option<u32>,
    },

    // ---- On the way back
    ActThenDrop,
    ActThenAnswer {
        status: u16,
    },
    /// Replaces the answer's body, and its content type where one is given.
    Garble {
        body: String,
        #[serde(default)]
        content_type: Option<String>,
    },
    HideEtag,
    /// Makes the `etag` a weak one, as a proxy does that changes bodies.
    WeakEtag,
    HideDate,
    ShiftDate {
        seconds: i64,
    },
    Delay {
        ms: u64,
    },
    Cut {
        after_bytes: usize,
    },
}

impl Effect {
    fn concerns(&self, operation: Operation) -> bool {
        match self {
            Self::Stale { .. } => operation == Operation::ReadVm,
            Self::TakeNewest => operation == Operation::Delete,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
