//! FiFo's handlers, in the order in which they look at a request.
//!
//! The order shows: 503 comes before everything, 405 before 401, 401 before 403, 403 before it is known whether the VM
//! exists, 406 before 404, 412 before 415.

use super::backups::BackupRequest;
use super::message::{Framing, Reply, Request, form_value};
use super::vm::{Record, Vm};
use super::world::{ApiStyle, EmptyMaps, Shape, TOKEN_LIFE_S, User, UserStore, World};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use uuid::Uuid;

/// A text of 31 bytes in MessagePack: its length, then its characters.
const MSGPACK_TEXT: &[u8] = b"\xbfsend `accept: application/json`";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    Connection,
    Token,
    Session,
    Vms,
    Vm(&'a str),
    Backups(&'a str),
    Backup(&'a str, &'a str),
}

impl<'a> Resource<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix("/api/")?.split('/');
        if !matches!(parts.next()?, "3" | "2" | "0.2.0") {
            return None;
        }
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        Some(match parts[..] {
            ["cloud", "connection"] => Self::Connection,
            ["oauth", "token"] => Self::Token,
            ["sessions", _token] => Self::Session,
            ["vms"] => Self::Vms,
            ["vms", vm] => Self::Vm(vm),
            ["vms", vm, "backups"] => Self::Backups(vm),
            ["vms", vm, "backups", backup] => Self::Backup(vm, backup),
            _ => return None,
        })
    }

    fn methods(self, style: ApiStyle) -> &'static [&'static str] {
        match self {
            Self::Connection | Self::Vms | Self::Vm(_) => &["GET"],
            // Bearer tokens cannot be looked up. pyfi asks all the same, and signs in again when it is refused.
            Self::Session => &[],
            Self::Token => &["POST"],
            Self::Backups(_) => &["GET", "POST"],
            // A create's `location` leads to the backup in 2015, so that it can be read there; later to the VM.
            Self::Backup(..) if style == ApiStyle::V2 => &["GET", "DELETE"],
            Self::Backup(..) => &["DELETE"],
        }
    }
}

/// Answers a request as FiFo does at an instant. `None` is a connection that is closed without an answer.
pub fn handle(world: &mut World, request: &Request, now_us: i64) -> Option<Reply> {
    world.advance(now_us);
    if !world.backend_up {
        return Some(Reply::empty(503));
    }
    let Some(resource) = Resource::of(request.path()) else { return Some(Reply::empty(404)) };
    if request.method != "HEAD" && !resource.methods(world.shape.style).contains(&request.method.as_str()) {
        return Some(Reply::empty(405));
    }
    if resource == Resource::Token && request.method == "POST" {
        return Some(sign_in(world, request, now_us));
    }
    let style = world.shape.style;
    let user = if resource == Resource::Connection {
        User { password: String::new(), permissions: Vec::new() }
    } else {
        let Some(user) = signed_in(world, request, now_us) else {
            let scheme = if style == ApiStyle::V2 { "x-snarl-token" } else { "authorization" };
            return Some(Reply::empty(401).with_header("www-authenticate", scheme));
        };
        user.clone()
    };
    if !allowed(&user, style, request, resource) {
        return Some(Reply::empty(403));
    }
    match (accepted(request.header("accept")), style) {
        (Accepted::Json, _) => Some(json_reply(world, &user, request, resource, now_us)),
        (Accepted::Nothing, _) => Some(Reply::empty(406)),
        (Accepted::Msgpack, ApiStyle::V2) => {
            let mut reply = json_reply(world, &user, request, resource, now_us);
            // Our client always asks for JSON, so the body is only a text that says so.
            reply.body = MSGPACK_TEXT.to_vec();
            let types = reply.headers.iter_mut().filter(|(name, _)| *name == "content-type");
            types.for_each(|(_, value)| "application/x-msgpack".clone_into(value));
            Some(reply)
        }
        (Accepted::Msgpack, ApiStyle::V3) => None,
    }
}

fn sign_in(world: &mut World, request: &Request, now_us: i64) -> Reply {
    let form = |name: &str| form_value(&request.body, name).unwrap_or_default();
    let user = form("username");
    let is_known = world.users.get(&user).is_some_and(|known| known.password == form("password"));
    let refusal = match world.user_store {
        _ if form("grant_type") != "password" => {
            Some(("unsupported_grant_type", "The grant type is not supported."))
        }
        UserStore::ServerError => Some(("server_error", "timeout")),
        UserStore::TemporarilyUnavailable => {
            Some(("temporarily_unavailable", "The server is currently unable to handle the request."))
        }
        UserStore::Up if !is_known => {
            Some(("access_denied", "The resource owner or authorization server denied the request."))
        }
        UserStore::Up => None,
    };
    if let Some((error, description)) = refusal {
        let body = json!({"error": error, "error_description": description});
        return Reply::empty(400).with_body("application/json", body.to_string().into_bytes());
    }
    let token = world.sign_in(&user, now_us);
    let granted = json!({
        "access_token": token, "token_type": "bearer", "expires_in": TOKEN_LIFE_S, "scope": ["*"],
    });
    Reply::empty(200)
        .with_body("application/json", granted.to_string().into_bytes())
        .with_header("cache-control", "no-store")
}

fn signed_in<'a>(world: &'a World, request: &Request, now_us: i64) -> Option<&'a User> {
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let token = match world.shape.style {
        ApiStyle::V2 => request.header("x-snarl-token").or(bearer),
        ApiStyle::V3 => bearer,
    };
    world.user_of(token?, now_us).filter(|_| world.user_store == UserStore::Up)
}

fn allowed(user: &User, style: ApiStyle, request: &Request, resource: Resource<'_>) -> bool {
    match (request.method.as_str(), resource) {
        ("HEAD", _) => false,
        (_, Resource::Connection | Resource::Token | Resource::Session) => true,
        (_, Resource::Vms) => user.may(&["cloud", "vms", "list"]),
        (_, Resource::Vm(vm)) | ("GET", Resource::Backup(vm, _)) => user.may(&["vms", vm, "get"]),
        ("POST", Resource::Backups(vm)) => user.may(&["vms", vm, "backup"]),
        (_, Resource::Backups(vm)) => style == ApiStyle::V2 && user.may(&["vms", vm, "get"]),
        (_, Resource::Backup(vm, _)) => user.may(&["vms", vm, "backup_delete"]),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    Json,
    Msgpack,
    Nothing,
}

/// Looks for JSON without parameters, or for something that MessagePack satisfies. JSON wins, whatever the quality.
fn accepted(accept: Option<&str>) -> Accepted {
    let ranges =
        accept.unwrap_or("*/*").split(',').map(|range| range.split(";q=").next().unwrap_or_default().trim());
    let ranges: Vec<&str> = ranges.collect();
    if ranges.contains(&"application/json") {
        return Accepted::Json;
    }
    let is_msgpack = |range: &&str| ["*/*", "application/*", "application/x-msgpack"].contains(range);
    if ranges.iter().any(is_msgpack) { Accepted::Msgpack } else { Accepted::Nothing }
}

/// An answer after the content type was settled on: with it, whether or not there is a body.
fn reply(status: u16, body: Vec<u8>) -> Reply {
    Reply::empty(status).with_body("application/json", body).with_header("vary", "accept")
}

fn show(value: &Value) -> Reply {
    reply(200, value.to_string().into_bytes())
}

fn json_reply(
    world: &mut World,
    user: &User,
    request: &Request,
    resource: Resource<'_>,
    now_us: i64,
) -> Reply {
    let (id, backup_id) = match resource {
        Resource::Connection if world.shape.style == ApiStyle::V2 => {
            return show(&json!({"sniffle": 1, "snarl": 1, "howl": 1}));
        }
        Resource::Connection => return show(&json!({"sniffle": 1, "snarl": 1})),
        Resource::Vms => return list(world, user, request),
        Resource::Token | Resource::Session => return reply(405, Vec::new()),
        Resource::Vm(vm) | Resource::Backups(vm) => (vm, None),
        Resource::Backup(vm, backup) => (vm, Some(backup)),
    };
    if id.len() != 36 {
        return reply(500, Vec::new());
    }
    let found = Uuid::try_parse(id).ok().and_then(|id| Some((id, world.vms.get(&id)?)));
    let whole = found.map(|(id, vm)| vm_reply(world, id, vm));
    let etag = whole.as_ref().and_then(|whole| whole.header("etag")).unwrap_or_default().to_owned();
    let backup = found.zip(backup_id).and_then(|((_, vm), backup)| {
        let backup = Uuid::try_parse(backup).ok()?;
        Some((backup, vm.backups.get(&backup)?))
    });
    let exists = found.is_some() && backup_id.is_some() == backup.is_some();
    let holds = |wanted: &str| wanted == "*" || wanted.split(',').any(|one| one.trim() == etag);
    if request.header("if-match").is_some_and(|wanted| !exists || !holds(wanted)) {
        return reply(412, Vec::new());
    }
    let shown = |id: &Uuid, record: &Record| {
        let mut shown = record_json(record, world.shape);
        shown["uuid"] = json!(id);
        shown
    };
    match (request.method.as_str(), resource, found, backup) {
        // The only request that reaches the coordinator without the VM being there, and fails there.
        ("POST", _, found, _) => create(world, request, id, found.map(|(id, _)| id), now_us),
        ("DELETE", _, Some((vm, _)), Some((backup, _))) => delete(world, request, vm, backup, now_us),
        ("GET", Resource::Backup(..), _, Some((id, record))) => {
            show(&shown(&id, record)).with_header("etag", etag)
        }
        ("GET", Resource::Backups(_), Some((_, vm)), _) => {
            let records = vm.backups.iter().rev().map(|(id, record)| shown(id, record));
            show(&records.collect()).with_header("etag", etag)
        }
        ("GET", Resource::Vm(_), ..) => whole.unwrap_or_else(|| reply(404, Vec::new())),
        _ => reply(404, Vec::new()),
    }
}

pub(super) fn vm_reply(world: &World, id: Uuid, vm: &Vm) -> Reply {
    let shown = show(&vm_json(id, vm, world.shape, None));
    let etag = etag(&shown.body);
    shown.with_header("etag", etag)
}

fn create(world: &mut World, request: &Request, id: &str, vm: Option<Uuid>, now_us: i64) -> Reply {
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type != "application/json" {
        return reply(415, Vec::new());
    }
    let accepted = order(&request.body).zip(vm).map(|(order, vm)| world.create_backup(vm, &order, now_us));
    let Some(Ok(backup)) = accepted else { return reply(500, Vec::new()) };
    let version = request.path().split('/').nth(2).unwrap_or_default();
    let location = match world.shape.style {
        ApiStyle::V2 => format!("/api/{version}/vms/{id}/backups/{backup}"),
        ApiStyle::V3 => format!("/api/{version}/vms/{id}"),
    };
    reply(303, Vec::new()).with_header("location", location)
}

/// Reads what a create asks for. No body, `{}` and `[]` (which is the same in FiFo) ask for a full backup without a
/// comment; a value of the wrong kind, `null` above all, is not understood.
fn order(body: &[u8]) -> Option<BackupRequest> {
    let body = match serde_json::from_slice(body) {
        _ if body.is_empty() => json!({}),
        Ok(Value::Array(items)) if items.is_empty() => json!({}),
        body => body.ok().filter(Value::is_object)?,
    };
    let is_odd =
        |key: &str, is_right: fn(&Value) -> bool| body.get(key).is_some_and(|value| !is_right(value));
    if is_odd("xml", Value::is_boolean) || is_odd("parent", Value::is_string) {
        return None;
    }
    serde_json::from_value(body).ok()
}

/// Deletes: from the hypervisor if the body says exactly that, in any other case everything.
fn delete(world: &mut World, request: &Request, vm: Uuid, backup: Uuid, now_us: i64) -> Reply {
    let body = serde_json::from_slice::<Value>(&request.body);
    if body.is_ok_and(|body| body == json!({"location": "hypervisor"})) {
        let status = if world.delete_local(vm, backup, now_us).is_ok() { 204 } else { 500 };
        return reply(status, Vec::new());
    }
    world.delete_cloud(vm, backup, now_us);
    reply(204, Vec::new())
}

/// The fields of a VM that FiFo did not have in 2015.
const NEWER_FIELDS: [&str; 7] =
    ["created_at", "created_by", "creating", "deleting", "docker", "fw_rules", "vm_type"];

/// Shows a VM: whole, or only the fields that were asked for. One that is left without any is an empty array.
pub(super) fn vm_json(uuid: Uuid, vm: &Vm, shape: Shape, only: Option<&[String]>) -> Value {
    let shows = |key: &str| {
        only.is_none_or(|only| only.iter().any(|field| field == key))
            && (shape.style == ApiStyle::V3 || !NEWER_FIELDS.contains(&key))
    };
    let fields = vm.fields.iter().filter(|(key, _)| shows(key));
    let mut shown: Map<String, Value> =
        fields.map(|(key, value)| (key.clone(), plain(value, shape.empty_maps))).collect();
    if shows("uuid") {
        shown.entry("uuid").or_insert_with(|| json!(uuid));
    }
    if shows("backups") {
        shown.entry("backups").or_insert_with(|| {
            let backups = vm.backups.iter();
            let backups = backups.map(|(id, record)| (id.to_string(), record_json(record, shape)));
            map_json(backups.collect(), shape.empty_maps)
        });
    }
    map_json(shown, if only.is_some() { EmptyMaps::Array } else { shape.empty_maps })
}

/// Shows a backup's record. In 2015 it has the names of its files, one size, and one SHA-1 once all files are whole.
pub(super) fn record_json(record: &Record, shape: Shape) -> Value {
    let mut shown = json!(record);
    if let Some(shown) = shown.as_object_mut() {
        shown.retain(|_, value| !value.is_null());
    }
    if let Some(files) = record.files.as_ref().filter(|_| shape.style == ApiStyle::V2) {
        shown["files"] = files.keys().cloned().collect();
        shown["size"] = json!(files.values().map(|file| file.size).sum::<u64>());
        let whole: Option<Vec<_>> = files.values().map(|file| file.sha1.as_ref()).collect();
        if let Some(sha1) = whole.as_deref().and_then(<[_]>::first) {
            shown["sha1"] = json!(sha1);
        }
    }
    shown
}

/// The ETag of a VM shown like that: strong, and another one whenever anything at all shows differently.
pub(super) fn etag(vm_json: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha1::digest(vm_json)[..16]))
}

/// A free-form value, with its empty maps as the style has them.
fn plain(value: &Value, empty_maps: EmptyMaps) -> Value {
    match value {
        Value::Object(map) => {
            let map = map.iter().map(|(key, value)| (key.clone(), plain(value, empty_maps)));
            map_json(map.collect(), empty_maps)
        }
        Value::Array(items) => items.iter().map(|item| plain(item, empty_maps)).collect(),
        scalar => scalar.clone(),
    }
}

fn map_json(map: Map<String, Value>, empty_maps: EmptyMaps) -> Value {
    if map.is_empty() && empty_maps == EmptyMaps::Array { json!([]) } else { Value::Object(map) }
}

/// What a full list is reckoned to take, for each VM and for each of its backups.
const VM_MS: usize = 10;
const BACKUP_MS: usize = 1;

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
    let (mut body, mut taken_ms, mut is_cut) = (Vec::new(), 0, false);
    for (id, vm) in &world.vms {
        if !user.may(&["vms", &id.to_string(), "get"]) {
            continue;
        }
        taken_ms += VM_MS + BACKUP_MS * vm.backups.len();
        is_cut = limit_ms.is_some_and(|limit_ms| taken_ms as u64 > limit_ms);
        if is_cut {
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

fn asked(request: &Request, name: &str) -> Option<String> {
    let from_header = || request.header(&format!("x-{name}")).map(str::to_owned);
    request.query(name).or_else(from_header)
}

#[cfg(test)]
mod tests;
