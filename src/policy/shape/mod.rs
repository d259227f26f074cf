//! The JSON Schema of a policy, by which editors complete and check while somebody types.
//!
//! The reader ([`super::document`]) walks its own tree, since serde loses the place of a mistake; so the schema is made
//! of types of its own. Tests hold the two together: the same fields, the same words, the same defaults, and the same
//! verdict over every example and every broken policy that is wrong by its shape.

mod tidy;
mod words;

#[cfg(test)]
mod tests;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::Value;
use std::collections::BTreeMap;
use words::{Comment, Day, Duration, Name, OneOrMany, Schedule, Size, Text, Uuid};

/// Gives the JSON Schema (2020-12) of a policy document.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(tidy::Tidy);
    settings.into_generator().into_root_schema_for::<PolicyShape>()
}

/// One policy: which VMs get which backups, and when. A file may hold several, separated by `---`.
#[derive(JsonSchema)]
#[schemars(rename = "Policy", title = "fifo-retain policy", deny_unknown_fields)]
#[expect(dead_code, reason = "the schema is made of these fields; nothing is read into them")]
struct PolicyShape {
    /// The version of this format.
    #[schemars(with = "Value", extend("const" = 1))]
    version: (),
    /// Its name; no other policy of the run may have it.
    policy: Name,
    /// What it is for, in your own words.
    #[schemars(example = &"Monthly full, weekly and daily incrementals.")]
    description: Option<Text>,
    /// Of several policies that match a VM the one with the highest priority counts. Two with the same highest priority
    /// are a conflict: nothing is done to the VM, and both are told.
    #[schemars(extend("default" = 0))]
    priority: Option<i64>,
    /// Which VMs it is for. Every key must match; a list matches if one of its values does.
    #[schemars(example = serde_json::json!({"metadata": {"fifo.backup": 1}}), example = serde_json::json!({"all": true}))]
    select: SelectorShape,
    /// Which of those it is not for.
    #[schemars(extend("not" = { "required": ["all"] }), example = serde_json::json!({"alias": "*-scratch"}))]
    exclude: Option<SelectorShape>,
    /// The IANA time zone in which schedules are read and times are shown.
    #[schemars(extend("default" = "UTC"), example = &"Europe/Berlin")]
    timezone: Option<Text>,
    /// The kinds of backup it asks for, coarsest first: none comes more rarely than the one before it. The first one must
    /// be full.
    #[schemars(
        length(min = 1, max = 32),
        extend("prefixItems" = [{ "$ref": "#/$defs/Tier", "properties": { "type": { "const": "full" } } }])
    )]
    tiers: Vec<TierShape>,
    /// What to do when an incremental backup has no parent on the hypervisor.
    #[schemars(extend("default" = "full"))]
    missing_parent: Option<MissingParentShape>,
    /// How long after its begin a backup that has not ended counts as stuck, and so as failed.
    #[schemars(extend("default" = "12h"))]
    stuck_after: Option<Duration>,
    /// A completed full backup smaller than this is hollow: a failed export that FiFo calls completed.
    #[schemars(extend("default" = "64KiB"))]
    min_full_size: Option<Size>,
    /// How a failed backup is tried again.
    retry: Option<RetryShape>,
    /// How old the newest restorable backup may be, for `status`. Left out: the longest gap of the tier that comes most
    /// often, and two hours.
    #[schemars(example = &"26h")]
    max_age: Option<Duration>,
    /// Whether expired backups may be deleted from storage, when the command asks for it too.
    #[schemars(extend("default" = false))]
    prune: Option<bool>,
    /// A stop with a reason and an end: planned and shown, and not carried out.
    suspend: Option<SuspendShape>,
}

/// One kind of backup that a policy asks for.
#[derive(JsonSchema)]
#[schemars(
    rename = "Tier",
    deny_unknown_fields,
    extend("if" = { "properties": { "type": { "const": "full" } } }),
    extend("then" = { "properties": { "from": false } })
)]
#[expect(dead_code, reason = "the schema is made of these fields; nothing is read into them")]
struct TierShape {
    /// Its name; no other tier of the policy may have it.
    #[schemars(example = &"monthly", example = &"weekly", example = &"daily")]
    name: Name,
    /// When it is due, as five-field cron: minute, hour, day of month, month, day of week.
    schedule: Schedule,
    /// What its backups are.
    r#type: KindShape,
    /// The tiers whose newest backup an incremental one may be taken from: its own or coarser ones. Left out: itself and
    /// every coarser one.
    #[schemars(length(min = 1), extend("uniqueItems" = true), example = ["monthly"])]
    from: Option<Vec<Text>>,
    /// How many of the newest restorable ones stay stored. Left out: for ever.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    keep: Option<u32>,
    /// How many of the newest restorable ones stay on the hypervisor beyond what increments need, for a quick rollback.
    #[schemars(range(min = 0, max = 1000), extend("default" = 0))]
    keep_local: Option<u32>,
    /// The comment that its new backups carry; a backup's tier is known by it alone, to the letter. Left out: the name.
    comment: Option<Comment>,
    /// Further comments whose backups count as this tier's, to the letter: the one from before a rename, or those of other
    /// scripts. No other tier of the policy has any of them.
    #[schemars(length(min = 1), extend("uniqueItems" = true), example = ["nightly"])]
    also: Option<Vec<Comment>>,
    /// The time over which its VMs' due times are spread, each by a fixed share from its UUID. Shorter than the shortest
    /// gap of the schedule. Left out: all at once.
    #[schemars(example = &"4h")]
    spread: Option<Duration>,
}

/// What a tier's backups are.
#[derive(JsonSchema)]
#[schemars(rename = "Kind", rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema is made of these words; nothing is read into them")]
enum KindShape {
    /// Complete in themselves.
    Full,
    /// The difference to a parent on the hypervisor.
    Incremental,
}

/// What to do when an incremental backup has no parent on the hypervisor.
#[derive(JsonSchema)]
#[schemars(rename = "MissingParent", rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema is made of these words; nothing is read into them")]
enum MissingParentShape {
    /// Take a full backup under the same tier.
    Full,
    /// Take none, and say so.
    Block,
}

/// How a failed backup is tried again.
#[derive(JsonSchema)]
#[schemars(rename = "Retry", deny_unknown_fields)]
#[expect(dead_code, reason = "the schema is made of these fields; nothing is read into them")]
struct RetryShape {
    /// How many attempts there may be until the next backup is due, the first one included.
    #[schemars(range(min = 1, max = 100), extend("default" = 3))]
    attempts: Option<u32>,
    /// How long after the begin of an attempt the next one may start.
    #[schemars(extend("default" = "1h"))]
    backoff: Option<Duration>,
}

/// A stop with a reason and an end.
#[derive(JsonSchema)]
#[schemars(rename = "Suspend", deny_unknown_fields)]
#[expect(dead_code, reason = "the schema is made of these fields; nothing is read into them")]
struct SuspendShape {
    /// Why, for whoever wonders where the backups are.
    #[schemars(example = &"storage move")]
    reason: Text,
    /// The day on which backups begin again, in the policy's time zone.
    until: Day,
    /// The VMs that it is for, by UUID or alias pattern. Left out: all of the policy's.
    #[schemars(example = ["web-1"])]
    vms: Option<OneOrMany<Text>>,
}

/// Which VMs are meant. Every key must match; a list matches if one of its values does.
#[derive(JsonSchema)]
#[schemars(
    rename = "Selector",
    deny_unknown_fields,
    extend("minProperties" = 1),
    extend("if" = { "required": ["all"] }),
    extend("then" = { "maxProperties": 1 })
)]
#[expect(dead_code, reason = "the schema is made of these fields; nothing is read into them")]
struct SelectorShape {
    /// Every VM, said in so many words. Stands alone.
    #[schemars(extend("const" = true))]
    all: Option<bool>,
    /// UUIDs of VMs.
    uuid: Option<OneOrMany<Uuid>>,
    /// Patterns over the whole alias: `*`, `?`, `[a-z]`, `{a,b}`, upper and lower case told apart.
    #[schemars(example = &"web-*")]
    alias: Option<OneOrMany<Text>>,
    /// UUIDs of organisations.
    owner: Option<OneOrMany<Text>>,
    /// UUIDs of packages.
    package: Option<OneOrMany<Text>>,
    /// UUIDs of datasets.
    dataset: Option<OneOrMany<Text>>,
    /// UUIDs of hypervisors.
    hypervisor: Option<OneOrMany<Text>>,
    /// States, such as `running`.
    #[schemars(example = &"running")]
    state: Option<OneOrMany<Text>>,
    /// Paths into the metadata, with dots between the names, and the values that match; `"*"` is "is set".
    #[schemars(
        extend("minProperties" = 1),
        extend("propertyNames" = { "pattern": r"^[^.]+(\.[^.]+)*$" }),
        example = serde_json::json!({"fifo.backup": 1})
    )]
    metadata: Option<BTreeMap<String, OneOrMany<words::Scalar>>>,
    /// At least one of these must match.
    #[schemars(length(min = 1))]
    any: Option<Vec<SelectorShape>>,
}
