//! Applies the rules between clients and FiFo's handlers.

use super::message::{Reply, Request};
use super::routes::{self, Resource};
use super::rules::{Effect, Operation, Rule};
use super::world::World;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

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
    pub request: Request,
    /// The answer, which is never sent; `None` until the request has arrived.
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
            Some(effect) => self.answer_instead(effect, request, now_us, &mut out),
            None => {
                let vm = vm.and_then(|vm| Uuid::try_parse(vm).ok());
                let user_store = world.user_store;
                for effect in &struck {
                    if let Effect::UserStore(store) = effect {
                        world.user_store = *store;
                    }
                }
                let named = resource.and_then(Resource::backup).zip(vm);
                out.reply = self.handle_raced(world, request, operation, vm, now_us);
                world.user_store = user_store;
                if let Some((backup, vm)) = named.filter(|_| struck.contains(&Effect::TakeNewest)) {
                    take_newest(world, vm, backup, now_us);
                }
                for effect in &struck {
                    disturb_reply(effect, &mut out);
                }
            }
        }
        out
    }

    /// Applies an effect that keeps the request from the handlers, at least for now.
    fn answer_instead(&mut self, effect: &Effect, request: Request, now_us: i64, out: &mut Outgoing) {
        match effect {
            Effect::RefuseConditions => out.reply = Some(Reply::empty(412)),
            Effect::ActLate { ms } => {
                let after_us = i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
                self.late.push(Arrival { at_us: now_us.saturating_add(after_us), request, reply: None });
                out.reset = true;
            }
            Effect::Answer { status, retry_after_s, location } => {
                let mut reply = Reply::empty(*status);
                reply.headers.extend(retry_after_s.map(|seconds| ("retry-after", seconds.to_string())));
                reply.headers.extend(location.clone().map(|location| ("location", location)));
                out.reply = Some(reply);
            }
            _ => out.reset = true,
        }
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
        let race = self.standing(vm, |effect| match effect {
            Effect::Race { ms } => Some(*ms),
            _ => None,
        });
        let Some((ms, vm)) = race.zip(vm).filter(|_| is_write) else {
            let reply = self.handle_cached(world, &request, operation, vm, now_us);
            let kept = self.standing(vm, |effect| match effect {
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

    /// Returns the setting of the first rule for a VM whose effect is always on.
    fn standing<T>(&self, vm: Option<Uuid>, setting: impl Fn(&Effect) -> Option<T>) -> Option<T> {
        let rules = self.rules.iter().filter(|rule| rule.when.vm.is_none() || rule.when.vm == vm);
        rules.filter_map(|rule| setting(&rule.effect)).next()
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
        // For how many seconds after a write the cache serves the state from before it; without a limit where it is `None`.
        let cache = vm.zip(self.standing(vm, |effect| match effect {
            Effect::Stale { seconds } => Some(*seconds),
            _ => None,
        }));
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
}

/// The ETags that VMs had before they were last written to, and when that was.
#[derive(Clone, Debug, Default)]
struct Race(BTreeMap<Uuid, (String, i64)>);

impl Race {
    /// Takes the condition from a write that was in transit when another one to the same VM was done.
    fn loosen(&self, request: &mut Request, vm: Uuid, ms: u32, now_us: i64) {
        let Some((etag, at_us)) = self.0.get(&vm) else { return };
        let is_near = now_us.saturating_sub(*at_us) <= i64::from(ms) * 1_000;
        if is_near && request.header("if-match") == Some(etag) {
            request.headers.retain(|(name, _)| name != "if-match");
        }
    }

    /// Records a write that was done. One that was done in the race leaves the first one's ETag in force.
    fn written(&mut self, vm: Uuid, etag_before: Option<&str>, at_us: i64) {
        if let Some(etag) = etag_before
            && self.0.get(&vm).is_none_or(|(_, last_us)| *last_us != at_us)
        {
            self.0.insert(vm, (etag.to_owned(), at_us));
        }
    }
}

/// The lists that were answered last, by who asked and for what, and when each was made.
#[derive(Clone, Debug, Default)]
struct ListCache(BTreeMap<(String, String), (i64, Reply)>);

impl ListCache {
    /// Returns the list that was made last if it is not older than `ms`, else the new one.
    fn through(&mut self, request: &Request, new: Reply, ms: u32, now_us: i64) -> Reply {
        if new.status != 200 {
            return new;
        }
        let who = request.header("authorization").or(request.header("x-snarl-token")).unwrap_or_default();
        let full = request.header("x-full-list").unwrap_or_default();
        let key = (who.to_owned(), format!("{}#{full}", request.target));
        match self.0.get(&key) {
            Some((made_us, old)) if now_us.saturating_sub(*made_us) <= i64::from(ms) * 1_000 => old.clone(),
            _ => {
                self.0.insert(key, (now_us, new.clone()));
                new
            }
        }
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
                reply.rest = None;
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
