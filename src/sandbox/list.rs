//! The list of VMs.

use super::json::vm_json;
use super::message::{Framing, Reply, Request};
use super::users::User;
use super::vm::Vm;
use super::world::{ApiStyle, World};

/// What a full list is reckoned to take, for each VM and for each of its backups.
const VM_US: u64 = 10_000;
const BACKUP_US: u64 = 1_000;

/// Answers with the VMs a user may see: their UUIDs, or what was asked for of each.
///
/// Each element brings the comma or bracket before it. A list without elements is therefore `]` from 2016 on, and one
/// that takes too long ends behind an element, without its last bracket. From 2016 on the end of the connection is the
/// end of the body.
pub(super) fn list(world: &World, user: &User, request: &Request) -> Reply {
    let is_old = world.shape.style == ApiStyle::V2;
    let full = matches!(asked(request, "full-list").as_deref(), Some("true" | "True"));
    let fields = asked(request, "full-list-fields");
    let fields: Option<Vec<String>> = fields.map(|fields| fields.split(',').map(str::to_owned).collect());
    let limit_ms = world.list_limit_ms.filter(|_| full && !is_old);
    let limit_us = limit_ms.map_or(u64::MAX, |limit_ms| limit_ms.saturating_mul(1_000));
    let (mut body, mut taken_us, mut is_cut) = (Vec::new(), 0_u64, false);
    for (id, vm) in &world.vms {
        if !user.may(&["vms", &id.to_string(), "get"]) {
            continue;
        }
        taken_us = taken_us.saturating_add(takes_us(vm));
        if taken_us > limit_us {
            is_cut = true;
            break;
        }
        body.push(if body.is_empty() { b'[' } else { b',' });
        // Writing to memory cannot fail.
        let _ = if full {
            serde_json::to_writer(&mut body, &vm_json(*id, vm, world.shape, fields.as_deref()))
        } else {
            serde_json::to_writer(&mut body, id)
        };
    }
    if is_old && body.is_empty() {
        body.push(b'[');
    }
    if !is_cut {
        body.push(b']');
    }
    let framing = if is_old { Framing::Length } else { Framing::UntilClose };
    let reply = Reply { framing, ..Reply::empty(200) };
    reply.with_body("application/json", body).with_header("vary", "accept")
}

/// A parameter from the query or, as old clients send it, from a header.
fn asked(request: &Request, name: &str) -> Option<String> {
    let from_header = || request.header(&format!("x-{name}")).map(str::to_owned);
    request.query(name).map(String::from).or_else(from_header)
}

fn takes_us(vm: &Vm) -> u64 {
    let backups = u64::try_from(vm.backups.len()).unwrap_or(u64::MAX);
    VM_US.saturating_add(BACKUP_US.saturating_mul(backups))
}
