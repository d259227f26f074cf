//! The list of VMs.

use super::list_stream::{Asked, ListStream};
use super::message::{Framing, PIECE_BYTES, Reply, Request};
use super::users::User;
use super::world::{ApiStyle, World};

/// Answers with the VMs a user may see: their UUIDs, or what was asked for of each.
///
/// From 2016 on the list is streamed, and the end of the connection is the end of the body. Of a synthetic cloud it is
/// really written while it is sent; any other, and those of 2015, which have a length, are made in one piece.
pub(super) fn list(world: &World, user: &User, request: &Request) -> Reply {
    let full = matches!(asked(request, "full-list").as_deref(), Some("true" | "True"));
    let fields = asked(request, "full-list-fields");
    let fields = fields.map(|fields| fields.split(',').map(str::to_owned).collect());
    let framing = match world.shape.style {
        ApiStyle::V2 => Framing::Length,
        ApiStyle::V3 => Framing::UntilClose,
    };
    let streamed = world.is_synthetic() && framing == Framing::UntilClose;
    let mut list = ListStream::new(world, user, Asked { full, fields });
    let mut body = Vec::new();
    list.write(world, &mut body, if streamed { PIECE_BYTES } else { usize::MAX });
    let reply = Reply { framing, rest: (!list.has_ended()).then_some(list), ..Reply::empty(200) };
    reply.with_body("application/json", body).with_header("vary", "accept")
}

/// A parameter from the query or, as old clients send it, from a header.
fn asked(request: &Request, name: &str) -> Option<String> {
    let from_header = || request.header(&format!("x-{name}")).map(str::to_owned);
    request.query(name).map(String::from).or_else(from_header)
}
