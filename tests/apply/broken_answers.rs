//! Answers that are broken: nothing panics, nothing is deleted, and the VMs that can be read go on.

use crate::cloud::{Cloud, mid_chain, vm_uuid};
use fifo_retain::plan::Status;
use fifo_retain::sandbox::{Effect, Operation, Rule};
use serde_json::{Value, json};

const NIGHT: &str = "2026-11-18T01:00:30Z";

/// Two VMs for which a create and a delete are due.
fn two_due() -> Cloud {
    let cloud = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-2"), 1).0;
    mid_chain(cloud, 2).0
}

/// Replaces a field of the first VM's record by something else.
fn break_field(cloud: &Cloud, field: &str, value: Value) {
    cloud.wire.state().world.vms.get_mut(&vm_uuid(1)).unwrap().fields.insert(field.to_owned(), value);
}

#[tokio::test(start_paused = true)]
async fn a_broken_vm_is_left_alone_and_the_other_goes_on() {
    let id = "aaaaaaaa-0000-4000-8000-000000000001";
    let broken = [
        ("backups", json!("none")),
        ("backups", json!(7)),
        ("backups", json!(null)),
        ("backups", json!(["x"])),
        ("backups", json!({"not-a-uuid": {"comment": "daily"}})),
        ("backups", json!({id: "daily"})),
        ("backups", json!({id: {"comment": 5, "timestamp": 1, "state": "completed", "local": true}})),
        ("backups", json!({id: {"comment": "daily", "timestamp": "yesterday", "local": true}})),
        ("backups", json!({id: {"comment": "daily", "timestamp": 1, "files": 3, "local": true}})),
        ("backups", json!({id: {"comment": "daily", "timestamp": 1, "parent": "", "local": true}})),
        ("backups", json!({id: {"comment": "daily", "timestamp": 1, "local": "yes"}})),
        ("alias", json!(null)),
        ("state", json!(["running"])),
        ("hypervisor", json!(5)),
        ("metadata", json!("fifo")),
    ];
    for (field, value) in broken {
        let cloud = two_due();
        break_field(&cloud, field, value.clone());
        let (plan, inventory) = cloud.plan().await;
        let unreadable: Vec<_> = plan.vms.iter().filter(|vm| vm.status == Status::Unreadable).collect();
        assert_eq!(unreadable.len(), 1, "{field}: {value}");
        let message = unreadable[0].notes[0].to_string();
        assert!(message.contains(field), "{field}: {value}: {message}");
        let tally = cloud.execute(&plan, &inventory).await.tally();
        assert_eq!((tally.created, tally.deleted_local, tally.failed), (1, 1, 0), "{field}: {value}");
        let asked = cloud.wire.state().asked.clone();
        let at_it =
            asked.iter().any(|asked| asked.method != "GET" && asked.target.contains(&vm_uuid(1).to_string()));
        assert!(!at_it, "{field}: {value}: it was written to");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_while_a_plan_is_carried_out_deletes_nothing_on_trust() {
    for body in ["]", "[]", "<html>", "[{\"uuid\":\""] {
        let cloud = two_due();
        let (plan, inventory) = cloud.plan().await;
        let garble =
            |operation| Rule::new(Effect::Garble { body: body.to_owned(), content_type: None }).on(operation);
        cloud.wire.state().faults.rules.extend([garble(Operation::List), garble(Operation::ReadVm)]);
        let report = cloud.execute(&plan, &inventory).await;
        assert_eq!((cloud.asked("POST"), cloud.asked("DELETE")), (0, 0), "{body:?} {report:?}");
        assert_eq!(report.tally().created, 0);
    }
}
