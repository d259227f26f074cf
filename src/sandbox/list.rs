//! The list of VMs.

use super::message::{Framing, Reply, Request};
use super::shape::{ApiStyle, VmView};
use super::users::User;
use super::world::World;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

/// Answers with the VMs a user may see: their UUIDs, or what was asked for of each.
///
/// From 2016 on the list is streamed: each element brings the comma or bracket before it, and the end of the
/// connection is the end of the body. A list without elements is therefore `]`.
pub(super) fn list(world: &World, user: &User, request: &Request) -> Reply {
    let full = matches!(asked(request, "full-list").as_deref(), Some("true" | "True"));
    let fields = asked(request, "full-list-fields");
    let fields: Option<Vec<String>> = fields.map(|fields| fields.split(',').map(str::to_owned).collect());
    let visible = Visible { world, user, full, fields: fields.as_deref() };
    let mut body = serde_json::to_vec(&visible).unwrap_or_default();
    let reply = Reply::empty(200);
    let reply = match world.shape.style {
        ApiStyle::V2 => reply,
        ApiStyle::V3 => {
            if body == b"[]" {
                body = b"]".to_vec();
            }
            Reply { framing: Framing::UntilClose, ..reply }
        }
    };
    reply.with_body("application/json", body).with_header("vary", "accept")
}

/// A parameter from the query or, as old clients send it, from a header.
fn asked(request: &Request, name: &str) -> Option<String> {
    let from_header = || request.header(&format!("x-{name}")).map(str::to_owned);
    request.query(name).map(String::from).or_else(from_header)
}

struct Visible<'a> {
    world: &'a World,
    user: &'a User,
    full: bool,
    fields: Option<&'a [String]>,
}

impl Serialize for Visible<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut elements = serializer.serialize_seq(None)?;
        for (uuid, vm) in &self.world.vms {
            if !self.user.may(&["vms", &uuid.to_string(), "get"]) {
                continue;
            }
            if self.full {
                let view = VmView { uuid: *uuid, vm, shape: self.world.shape, only: self.fields };
                elements.serialize_element(&view)?;
            } else {
                elements.serialize_element(uuid)?;
            }
        }
        elements.end()
    }
}
