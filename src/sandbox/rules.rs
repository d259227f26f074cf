//! The rules by which the sandbox disturbs requests and answers.

use super::message::Request;
use super::routes::Resource;
use serde::{Deserialize, Serialize};
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

    #[must_use]
    pub fn on(self, operation: Operation) -> Self {
        Self { when: Matcher { operation: Some(operation), ..self.when }, ..self }
    }

    #[must_use]
    pub fn of_vm(self, vm: Uuid) -> Self {
        Self { when: Matcher { vm: Some(vm), ..self.when }, ..self }
    }

    /// Limits it to one API node, see [`Faults::nodes`](super::Faults::nodes).
    #[must_use]
    pub fn at_node(self, node: u32) -> Self {
        Self { when: Matcher { node: Some(node), ..self.when }, ..self }
    }

    #[must_use]
    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    pub(super) fn strikes(&mut self, asked: &Asked) -> bool {
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

/// What a request is about, and the node that answers it.
pub(super) struct Asked {
    pub(super) operation: Operation,
    pub(super) vm: Option<Uuid>,
    pub(super) backup: Option<Uuid>,
    pub(super) node: u32,
}

impl Asked {
    pub(super) fn of(request: &Request, node: u32) -> Self {
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

/// What a rule does, by the phase of the exchange.
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
    /// Says whether it means anything for a kind of request; if not, its rule does not count it.
    fn concerns(&self, operation: Operation) -> bool {
        match self {
            Self::Stale { .. } => operation == Operation::ReadVm,
            Self::TakeNewest => operation == Operation::Delete,
            _ => true,
        }
    }
}
