//! The rules by which the sandbox disturbs requests and answers.

use super::message::Request;
use super::routes::Resource;
use super::users::UserStore;
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

    /// Makes it look only at what one API node answers, see [`Faults::nodes`](super::Faults::nodes).
    #[must_use]
    pub fn at_node(mut self, node: u32) -> Self {
        self.when.node = Some(node);
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
    pub(super) fn strikes(&mut self, asked: &Asked) -> bool {
        if !self.when.matches(asked) || !self.effect.concerns(asked.operation) {
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
    pub operation: Option<Operation>,
    /// The VM it is about.
    pub vm: Option<Uuid>,
    /// The API node that answers it, counted from 0.
    pub node: Option<u32>,
}

impl Matcher {
    fn matches(&self, asked: &Asked) -> bool {
        self.operation.is_none_or(|wanted| wanted == asked.operation)
            && self.vm.is_none_or(|wanted| asked.vm == Some(wanted))
            && self.node.is_none_or(|wanted| asked.node == wanted)
    }
}

/// What a request is about, and who answers it.
pub(super) struct Asked {
    pub(super) operation: Operation,
    pub(super) vm: Option<Uuid>,
    /// The backup that its path names.
    pub(super) backup: Option<Uuid>,
    pub(super) node: u32,
}

impl Asked {
    pub(super) fn of(request: &Request, node: u32) -> Self {
        let uuid = |id: &str| Uuid::try_parse(id).ok();
        let (vm, backup) = match Resource::of(request.path()) {
            Some(Resource::Vm(vm) | Resource::Backups(vm)) => (uuid(vm), None),
            Some(Resource::Backup(vm, backup)) => (uuid(vm), uuid(backup)),
            _ => (None, None),
        };
        Self { operation: Operation::of(request), vm, backup, node }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    SignIn,
    /// Reading the list of VMs.
    List,
    ReadVm,
    Create,
    Delete,
    Other,
}

impl Operation {
    fn of(request: &Request) -> Self {
        match (request.method.as_str(), Resource::of(request.path())) {
            ("POST", Some(Resource::Token)) => Self::SignIn,
            ("GET", Some(Resource::Vms)) => Self::List,
            ("GET", Some(Resource::Vm(_))) => Self::ReadVm,
            ("POST", Some(Resource::Backups(_))) => Self::Create,
            ("DELETE", Some(Resource::Backup(..))) => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// What a rule does, by the phase of the exchange at which it comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    // ---- On the way to FiFo
    /// Drops the body of the request, as some proxies do with a DELETE's. A POST without one starts a full backup with
    /// an empty comment.
    DropBody,
    /// Makes every token given out so far worthless, before the request is looked at.
    ExpireTokens,

    // ---- In place of FiFo: nothing is done
    /// Answers with a status.
    Answer {
        status: u16,
        /// The `retry-after` that goes with it, in seconds.
        #[serde(default)]
        retry_after_s: Option<u32>,
        /// The `location` that goes with it.
        #[serde(default)]
        location: Option<String>,
    },
    /// Answers 412 to whatever has a condition.
    RefuseConditions,
    /// Breaks the connection off.
    Drop,
    /// Breaks the connection off, and does what was asked only later, its condition (`if-match`) included: the request
    /// was in transit for so long. A later request makes it arrive.
    ActLate {
        /// How much later, in milliseconds.
        ms: u64,
    },

    // ---- While FiFo acts
    /// Delivers the request twice, and passes the second answer on.
    Twice,
    /// Has the user store behave like that while the request is looked at.
    UserStore(UserStore),
    /// Judges `if-match` and acts on it apart, as FiFo does: for so long after a write to a VM, another one that names
    /// the ETag from before is done as well.
    Race {
        /// For how long, in milliseconds.
        ms: u32,
    },
    /// Has a delete from storage take the VM's newest backup along, which FiFo does not do.
    TakeNewest,
    /// Answers a read of a single VM from the node's cache, which shows the VM from before a write: the whole of the
    /// write is hidden, and with it whatever the upload does later. The list is never stale.
    ///
    /// Each node has a cache of its own, and only a write that it handles itself clears it.
    Stale {
        /// For how long after each write, in seconds. Left out: for ever after a full backup, until the next
        /// incremental one or delete of that VM clears it.
        #[serde(default)]
        seconds: Option<u32>,
    },
    /// Answers a list from a cache, as FiFo of 2015 does.
    StaleList {
        /// For how long a list is served again, in milliseconds.
        ms: u32,
    },

    // ---- On the way back
    /// Breaks the connection off: the answer is lost.
    ActThenDrop,
    /// Answers with a status and no body, whatever FiFo has answered.
    ActThenAnswer { status: u16 },
    /// Puts something else in place of the answer's body.
    Garble {
        body: String,
        /// Its content type; the right one where left out.
        #[serde(default)]
        content_type: Option<String>,
    },
    /// Leaves the `etag` header out.
    HideEtag,
    /// Makes the `etag` a weak one, as a proxy does that changes bodies.
    WeakEtag,
    /// Leaves the `date` header out.
    HideDate,
    /// Has the `date` header off.
    ShiftDate {
        /// By so many seconds.
        seconds: i64,
    },
    /// Answers late.
    Delay {
        /// How late, in milliseconds.
        ms: u64,
    },
    /// Breaks the connection off within the answer's body.
    Cut {
        /// After so many bytes of it.
        after_bytes: usize,
    },
}

impl Effect {
    /// Says whether it means anything for a kind of request; if not, its rule does not count it.
    fn concerns(&self, operation: Operation) -> bool {
        match self {
            Self::Stale { .. } => operation == Operation::ReadVm,
            Self::StaleList { .. } => operation == Operation::List,
            Self::Race { .. } => matches!(operation, Operation::Create | Operation::Delete),
            Self::TakeNewest => operation == Operation::Delete,
            _ => true,
        }
    }
}
