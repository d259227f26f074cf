//! What must hold for every cloud, over thousands of generated ones.

use super::frame::{audit, frame_broken};
use super::generators::{Cloud, clouds, fresh_id};
use crate::inventory::Inventory;
use crate::plan::{Action, DeleteLocal, NoteCode, Plan, Request, Status, VmPlan, confirm, plan, projection};
use crate::policy::{Policies, Policy};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

/// Tries a property on that many clouds: always the same ones, so that a run says the same thing everywhere, and a
/// failure comes again without a file that remembers it.
pub(crate) fn for_clouds(cases: u32, property: impl Fn(Cloud) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, b"every cloud has a silver lining!");
    if let Err(failure) = TestRunner::new_with_rng(config, rng).run(&clouds(), property) {
        panic!("{failure}");
    }
}

pub(crate) fn planned(cloud: &Cloud, now: DateTime<Utc>) -> Result<Plan, TestCaseError> {
    plan_of(cloud.policies.clone(), &cloud.inventory, cloud.request(now))
}

fn plan_of(policies: Vec<Policy>, inventory: &Inventory, request: Request) -> Result<Plan, TestCaseError> {
    let policies = Policies::new(policies);
    let plan = plan(&policies, inventory, request);
    prop_assert_eq!(audit(&plan, &policies, inventory, request), Vec::<String>::new());
    prop_assert_eq!(plan.summary.fault, 0);
    prop_assert_eq!(frame_broken(&plan, &policies, inventory), Vec::<String>::new());
    Ok(plan)
}

fn bytes(plan: &Plan) -> Vec<u8> {
    serde_json::to_vec(plan).unwrap()
}

#[test]
fn any_cloud_has_a_plan_that_the_audit_lets_pass_and_input_in_any_order_gives_its_bytes() {
    for_clouds(2_000, |cloud| {
        let plan = planned(&cloud, cloud.now)?;
        let mut policies = cloud.policies.clone();
        policies.reverse();
        let inventory = Inventory {
            endpoint: cloud.inventory.endpoint.clone(),
            vms: cloud.inventory.vms.iter().rev().map(|(&id, vm)| (id, rebuilt_backwards(vm))).collect(),
            unreadable: cloud.inventory.unreadable.iter().rev().cloned().collect(),
        };
        let other = plan_of(policies, &inventory, cloud.request(cloud.now))?;
        prop_assert_eq!(String::from_utf8(bytes(&other)), String::from_utf8(bytes(&plan)));
        Ok(())
    });
}

#[test]
fn every_plan_is_as_its_schema_says() {
    let schema = crate::plan::schema().to_value();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for_clouds(400, |cloud| {
        let mut document: Value = serde_json::from_slice(&bytes(&planned(&cloud, cloud.now)?)).unwrap();
        prop_assert!(validator.is_valid(&document), "{:#}", document);
        for place in objects(&document, String::new()) {
            let mut strange = document.clone();
            strange.pointer_mut(&place).unwrap()["strange"] = Value::Null;
            prop_assert!(!validator.is_valid(&strange), "a strange field in {:?}", place);
        }
        document["format"] = "fifo-retain.plan/2".into();
        prop_assert!(!validator.is_valid(&document));
        Ok(())
    });
}

fn rebuilt_backwards(vm: &crate::inventory::Vm) -> crate::inventory::Vm {
    let mut vm = vm.clone();
    vm.backups = vm.backups.values().rev().cloned().collect();
    vm
}

#[test]
fn once_carried_out_a_plan_leaves_nothing_to_do() {
    for_clouds(2_000, |cloud| {
        let first = planned(&cloud, cloud.now)?;
        let mut after = cloud.clone();
        let mut second = first.clone();
        // A finer tier that has not failed yet is made before a coarser one that has: one backup a plan and tier.
        let tiers_max = cloud.policies.iter().map(|policy| policy.tiers.len()).max().unwrap_or(0);
        for round in 0..=tiers_max {
            for (n, planned) in second.vms.iter().enumerate() {
                if let Some(vm) = planned.uuid.and_then(|id| after.inventory.vms.get_mut(&id)) {
                    let new = fresh_id((tiers_max - round) * 100 + n);
                    *vm = projection::executed(vm, planned.due_actions(), new, cloud.now);
                }
            }
            second = planned(&after, cloud.now)?;
        }
        for (before, after) in first.vms.iter().zip(&second.vms) {
            prop_assert_eq!(before.uuid, after.uuid);
            prop_assert!(
                after.due_actions().is_empty(),
                "first {before:#?}\nthen {:#?}",
                after.due_actions()
            );
            let created = before.due_actions().iter().any(|action| matches!(action, Action::Create(_)));
            // Blocked is left of a coarser tier for which there was no parent, or whose attempts were given up; waiting of
            // one that has failed.
            let at_rest = match after.status {
                Status::UpToDate | Status::Blocked => true,
                Status::Waiting => after.note(NoteCode::RetryLater).is_some(),
                _ => false,
            };
            prop_assert!(!created || at_rest, "{after:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_plan_holds_exactly_until_it_says() {
    for_clouds(2_000, |cloud| {
        let first = planned(&cloud, cloud.now)?;
        let decided =
            |at: DateTime<Utc>| -> Result<Vec<VmPlan>, TestCaseError> { Ok(planned(&cloud, at)?.vms) };
        match first.valid_until {
            Some(until) => {
                prop_assert!(until > cloud.now);
                let span_us = (until - cloud.now).num_microseconds().unwrap();
                for part in [span_us - 1, span_us / 2, span_us.min(61_000_000) - 1, span_us / 100 * 97] {
                    let between = cloud.now + TimeDelta::microseconds(part);
                    prop_assert_eq!(&decided(between)?, &first.vms, "until {}, and at {}", until, between);
                }
                prop_assert_ne!(&decided(until)?, &first.vms, "at {}", until);
            }
            None => {
                for hours in [1, 25, 24 * 40, 24 * 800] {
                    let later = cloud.now + TimeDelta::hours(hours);
                    prop_assert_eq!(&decided(later)?, &first.vms, "for ever, and at {}", later);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_plan_comes_back_from_its_json_and_nothing_strange_does() {
    for_clouds(300, |cloud| {
        let plan = planned(&cloud, cloud.now)?;
        let json = bytes(&plan);
        let back: Plan = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(&serde_json::to_vec(&back).unwrap(), &json);
        let confirmed = confirm(&back, &plan);
        let due = plan.vms.into_iter().filter(|vm| !vm.due_actions().is_empty());
        prop_assert_eq!(confirmed.vms, due.collect::<Vec<_>>());
        let whole: Value = serde_json::from_slice(&json).unwrap();
        for place in objects(&whole, String::new()) {
            let mut strange = whole.clone();
            strange.pointer_mut(&place).unwrap()["strange"] = Value::Null;
            prop_assert!(serde_json::from_value::<Plan>(strange).is_err(), "a strange field in {:?}", place);
        }
        Ok(())
    });
}

/// Lists the JSON pointers to one object of each kind: of an array's elements the first and the last.
fn objects(value: &Value, at: String) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| objects(value, format!("{at}/{name}")))
            .chain([at.clone()])
            .collect(),
        Value::Array(items) => {
            let ends = [0, items.len().saturating_sub(1)];
            ends.iter()
                .filter_map(|&n| items.get(n).map(|item| objects(item, format!("{at}/{n}"))))
                .flatten()
                .collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn the_generated_clouds_hold_whatever_a_plan_can_be() {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    let seen: RefCell<BTreeMap<String, u32>> = RefCell::default();
    for_clouds(400, |cloud| {
        let mut seen = seen.borrow_mut();
        let plan = planned(&cloud, cloud.now)?;
        for vm in &plan.vms {
            *seen.entry(format!("{:?}", vm.status)).or_default() += 1;
            for action in &vm.actions {
                let kind = match action {
                    Action::Create(create) => format!("{:?}", create.kind),
                    Action::DeleteLocal(DeleteLocal { backup: None, .. }) => "delete new".to_owned(),
                    Action::DeleteLocal(delete) => format!("delete {}", delete.after_create),
                    Action::DeleteCloud(_) => "prune".to_owned(),
                };
                *seen.entry(kind).or_default() += 1;
            }
            for note in &vm.notes {
                *seen.entry(format!("note {:?}", note.code)).or_default() += 1;
            }
        }
        Ok(())
    });
    let seen = seen.into_inner();
    let rare: Vec<_> = seen.iter().filter(|&(_, &count)| count < 3).collect();
    assert!(rare.is_empty(), "{rare:?}");
    // Every status and every kind of note; creates of both types; deletes at once, after a create, of the new backup; deletes
    // from storage.
    assert_eq!(seen.len(), 7 + 21 + 2 + 3 + 1, "{seen:#?}");
}
