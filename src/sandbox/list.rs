//! The list of VMs.

use super::json::VmJson;
use super::message::{Framing, Reply, Request};
use super::users::User;
use super::world::{ApiStyle, Vm, World};
use uuid::Uuid;

/// What a full list is reckoned to take, for each VM and for each of its backups.
const VM_US: u64 = 10_000;
const BACKUP_US: u64 = 1_000;

/// Answers with the VMs a user may see: their UUIDs, or what was asked for of each.
///
/// From 2016 on the list is streamed: each element brings the comma or bracket before it, and the end of the
/// connection is the end of the body. A list without elements is therefore `]`, and one that takes too long ends behind
/// an element, without its last bracket.
pub(super) fn list(world: &World, user: &User, request: &Request) -> Reply {
    let full = matches!(asked(request, "full-list").as_deref(), Some("true" | "True"));
    let fields = asked(request, "full-list-fields");
    let fields: Option<Vec<String>> = fields.map(|fields| fields.split(',').map(str::to_owned).collect());
    let mut elements = Vec::new();
    let mut is_whole = true;
    let limit_us = world.list_limit_ms.filter(|_| full && world.shape.style == ApiStyle::V3);
    let limit_us = limit_us.map(|limit_ms| limit_ms.saturating_mul(1_000));
    let mut taken_us: u64 = 0;
    for (uuid, vm) in &world.vms {
        if !user.may(&["vms", &uuid.to_string(), "get"]) {
            continue;
        }
        taken_us = taken_us.saturating_add(takes_us(vm));
        if limit_us.is_some_and(|limit_us| taken_us > limit_us) {
            is_whole = false;
            break;
        }
        elements.push(element(world, *uuid, vm, full, fields.as_deref()));
    }
    let mut body = match (elements.is_empty(), world.shape.style) {
        (true, ApiStyle::V3) => Vec::new(),
        _ => [b"[".as_slice(), &elements.join(b",".as_slice())].concat(),
    };
    if is_whole {
        body.push(b']');
    }
    let framing = match world.shape.style {
        ApiStyle::V2 => Framing::Length,
        ApiStyle::V3 => Framing::UntilClose,
    };
    let reply = Reply { framing, ..Reply::empty(200) };
    reply.with_body("application/json", body).with_header("vary", "accept")
}

fn takes_us(vm: &Vm) -> u64 {
    let backups = u64::try_from(vm.backups.len()).unwrap_or(u64::MAX);
    VM_US.saturating_add(BACKUP_US.saturating_mul(backups))
}

fn element(world: &World, uuid: Uuid, vm: &Vm, full: bool, fields: Option<&[String]>) -> Vec<u8> {
    let view = VmJson { uuid, vm, shape: world.shape, only: fields };
    let json = if full { serde_json::to_vec(&view) } else { serde_json::to_vec(&uuid) };
    json.unwrap_or_default()
}

/// A parameter from the query or, as old clients send it, from a header.
fn asked(request: &Request, name: &str) -> Option<String> {
    let from_header = || request.header(&format!("x-{name}")).map(str::to_owned);
    request.query(name).map(String::from).or_else(from_header)
}
