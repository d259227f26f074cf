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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    pub(super) fn strikes(&mut self, request: &Request, operation: Operation, vm: Option<&str>) -> bool {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The VM it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<Uuid>,
}

impl Matcher {
    pub(super) fn matches(&self, request: &Request, operation: Operation, vm: Option<&str>) -> bool {
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
    SignIn,
    /// Reading the list of VMs.
    List,
    ReadVm,
    Create,
    Delete,
    Other,
}

impl Operation {
    pub(super) fn of(request: &Request, resource: Option<Resource<'_>>) -> Self {
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Answers with a status, and nothing is done.
    Answer {
        status: u16,
        /// The `retry-after` that goes with it, in seconds.
        #[serde(default)]
        retry_after_s: Option<u32>,
        /// The `location` that goes with it.
        #[serde(default)]
        location: Option<String>,
    },
    /// Does what was asked, and then answers with a status and no body all the same.
    ActThenAnswer { status: u16 },
    /// Breaks the connection off, and nothing is done.
    Drop,
    /// Does what was asked, and breaks the connection off: the answer is lost.
    ActThenDrop,
    /// Breaks the connection off, and does what was asked only later, its condition (`if-match`) included: the request
    /// was in transit for so long. A later request makes it arrive.
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
    /// Has a delete from storage take the VM's newest backup along, which FiFo does not do.
    TakeNewest,
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
        body: String,
        /// Its content type; the right one where left out.
        #[serde(default)]
        content_type: Option<String>,
    },
}
